"""The recipe of pegasus-mini at a size of seconds: made-up text, a tiny model, a teacher of it."""

from __future__ import annotations

import importlib.util
import json
import lzma
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pegasus import Summarizer
from pegasus.cli.app import main as pegasus
from pegasus.training.journal import read_journal
from pegasus.training.pseudo_labels import PseudoLabels

ROOT = Path(__file__).resolve().parents[2]
PAIRS = (
    "senate_headline", "scitldr", "gov_blog", "pubmedqa", "wiki_lead", "openstax", "tech_abstract",
    "billsum113", "qmsum", "mts_dialog", "meqsum",
)  # fmt: skip
TEXTS = (
    "wikipedia-0", "wikipedia-1", "wikipedia-2", "simple-wikipedia", "health", "news", "senate-releases",
    "government-web", "textbooks", "proposals-tech",
)  # fmt: skip
NOUNS = ("river", "garden", "teacher", "letter", "window", "market", "engine", "doctor", "bridge", "forest")
VERBS, KINDS = ("finds", "carries", "paints", "follows", "sells"), ("old", "small", "green", "quiet")
TINY = {
    "model.config.d_model": 32, "model.config.encoder_layers": 2, "model.config.decoder_layers": 1,
    "model.config.encoder_ffn_dim": 32, "model.config.decoder_ffn_dim": 32,
    "model.config.encoder_attention_heads": 2, "model.config.decoder_attention_heads": 2,
    "run.steps": 2, "run.batch": 4, "run.workers": 0, "run.save_every": 0, "optim.warmup_steps": 1,
}  # fmt: skip


def sentence(chance):
    one, other, third = chance.sample(NOUNS, 3)
    return f"The {chance.choice(KINDS)} {one} {chance.choice(VERBS)} the {other} beside a {third} today."


def write(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files as those of the data pack."""
    place, chance = tmp_path_factory.mktemp("data"), random.Random(0)
    for name in TEXTS:
        texts = ["\n".join(f"{sentence(chance)} {sentence(chance)}" for _ in range(7)) for _ in range(12)]
        rows = [{"id": f"{number}/0", "text": text} for number, text in enumerate(texts)]
        write(place / "pretrain" / f"{name}.jsonl.xz", rows)
    for name in PAIRS:
        for split, count in (("train", 8), ("validation", 2), ("test", 2)):
            texts = [" ".join(sentence(chance) for _ in range(7)) for _ in range(count)]
            rows = [{"document": text, "summary": text.split(". ")[1] + "."} for text in texts]
            write(place / name / f"{split}.jsonl.xz", rows)
    return place


@pytest.fixture
def make(monkeypatch, data, tmp_path):
    """Runs the script on the tiny data, its verbs within this process."""
    script = ROOT / "recipes" / "pegasus-mini" / "make.py"
    spec = importlib.util.spec_from_file_location("make_mini", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)

    def verb(self, *words):
        more = ["--processes", "1"] if words[0] == "prepare" else []
        assert pegasus([*words, *more, "--quiet"]) == 0, words

    monkeypatch.setattr(module.Maker, "verb", verb)
    shape = {"d_model": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    monkeypatch.setattr(module, "TEACHER", shape)
    monkeypatch.chdir(tmp_path)
    place = ["--work", str(tmp_path / "work"), "--data", str(data), "--pieces", "50", "--sample", "1"]

    def run(*words, **changes):
        sets = [f"{key}={value}" for key, value in {**TINY, **changes}.items()]
        module.main([*words, *place, *(word for one in sets for word in ("--set", one))])
        return tmp_path / "work"

    return run


def test_the_scale_of_a_cpu_ends_with_a_model_and_its_figures(make):
    work = make("--split", "validation")
    for run in ("pretrain-0", "pretrain-1", "pretrain-2", "finetune"):
        assert read_journal(work / run / "journal.jsonl")[-1]["step"] == 2
    model = Summarizer.from_pretrained(work / "pegasus-mini", device="cpu", check=False)
    assert model("The old bridge.").summary_tokens > 0
    assert sorted(path.name for path in (work / "scores").iterdir()) == [
        "gov_blog", "pubmedqa", "scitldr", "senate_headline", "wiki_lead",
    ]  # fmt: skip
    made = (work / "finetune" / "model" / "model.safetensors").stat().st_mtime_ns
    make("finetune", "export")  # what is done is passed over
    assert (work / "finetune" / "model" / "model.safetensors").stat().st_mtime_ns == made
    with pytest.raises(SystemExit):
        make("distill")


@pytest.mark.slow
def test_the_larger_scale_teaches_and_distils(make, monkeypatch):
    """So small a teacher babbles: here everything is learned from, whatever it wrote."""

    def targets(self, documents, *_):
        return (replace(pair, summaries=("The old bridge.",)) for pair, _ in self.read(documents))

    monkeypatch.setattr(PseudoLabels, "targets", targets)
    work = make("--scale", "gpu", "--split", "validation")
    losses = read_journal(work / "distill" / "journal.jsonl")[-1]
    assert {"loss_target", "loss_logits"} <= losses.keys()
    assert read_journal(work / "teacher-pretrain-2" / "journal.jsonl")[-1].keys() >= {"loss_mlm"}
    assert (work / "pegasus-mini" / "model.safetensors").is_file()
