"""From files to a model: the two verbs whole, on a tiny model and a small vocabulary."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pegasus import AutoTokenizer, PegasusForCausalLM, PegasusForConditionalGeneration, PegasusTokenizerFast
from pegasus.cli.app import main
from pegasus.data.prepare import prepare
from pegasus.errors import BadSetting
from pegasus.training.finetune import finetune, read_finetune_job
from pegasus.training.jobs import FinetuneJob, PretrainJob, make_job, merge
from pegasus.training.journal import read_journal
from pegasus.training.pretrain import pretrain, read_pretrain_job
from pegasus.training.toml import to_toml

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "tests" / "fixtures" / "tokenizer-small" / "spiece.model"
SHAPE = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "max_position_embeddings": 64,
}  # fmt: skip
WORDS = [
    "the",
    "mayor",
    "of",
    "a",
    "small",
    "town",
    "said",
    "that",
    "no",
    "new",
    "houses",
    "will",
    "be",
    "built",
    "near",
    "the",
    "old",
    "river",
    "in",
    "this",
    "year",
]


def sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randrange(4, 9))).capitalize() + "."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Pairs, running text, a tokenizer, shards."""
    place = tmp_path_factory.mktemp("corpus")
    chance = random.Random(2)
    documents = [" ".join(sentence(chance) for _ in range(6)) for _ in range(40)]
    with (place / "pairs.jsonl").open("w") as pairs:
        for document in documents:
            pairs.write(json.dumps({"document": document, "summary": document.split(". ")[0] + "."}) + "\n")
    tokenizer = PegasusTokenizerFast(str(SMALL), model_max_length=64)
    tokenizer.save_pretrained(place / "tokenizer")
    prepare([place / "pairs.jsonl"], tokenizer, place / "shards")
    return place


@pytest.fixture
def tables(corpus, tmp_path):
    """The tables of a small fine-tuning."""
    return {
        "output": str(tmp_path / "out"),
        "model": {"tokenizer": str(corpus / "tokenizer"), "config": SHAPE},
        "data": {
            "train": [str(corpus / "pairs.jsonl")], "validation": [str(corpus / "pairs.jsonl")],
            "validation_limit": 6, "max_source": 40, "max_target": 12,
        },
        "run": {
            "steps": 6, "batch": 4, "accumulate": 2, "log_every": 1, "measure_every": 3, "save_every": 2,
        },
        "optim": {"rate": 0.02, "schedule": "constant", "warmup_steps": 2},
        "objective": {"label_smoothing": 0.1},
        "placement": {"device": "cpu"},
    }  # fmt: skip


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_fine_tuned_folder_is_a_checkpoint_like_any_other(tables):
    lines = []
    job = make_job(FinetuneJob, tables)
    outcome = finetune(job, lambda line, passing: lines.append(line))
    assert (outcome.ending, outcome.step) == ("done", 6)
    model = PegasusForConditionalGeneration.from_pretrained(outcome.model)
    tokenizer = AutoTokenizer.from_pretrained(outcome.model)
    ids = model.generate(**tokenizer("The mayor said.", return_tensors="pt"), max_length=5)
    assert ids.shape[1] <= 5
    assert model.generation_config.max_length == 12
    assert read_finetune_job(Path(job.output) / "job.toml") == job
    assert any("validation loss" in line for line in lines)
    losses = [e["loss"] for e in read_journal(Path(job.output) / "journal.jsonl") if e["event"] == "train"]
    assert losses[-1] < losses[0]
    assert PegasusForConditionalGeneration.from_pretrained(outcome.best)


def test_characters_that_the_vocabulary_lacks_are_told_before_it_begins(tables, tmp_path):
    rows = [
        {"document": "The mayor of Łódź said no.", "summary": "The mayor."},
        {"document": "The houses of 北京 will be new.", "summary": "Houses in 北京."},
        {"document": "The town will be small.", "summary": "A town."},
    ]
    file = tmp_path / "odd.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changed = {"data": {"train": [str(file)], "validation": []}, "run": {"steps": 3, "measure_every": 0}}
    lines = []
    finetune(make_job(FinetuneJob, merge(tables, changed)), lambda line, passing: lines.append(line))
    told = [line for line in lines if "vocabulary lacks" in line]
    assert [line.split(" hold")[0] for line in told] == ["2 of 3 sources", "1 of 3 targets"]
    assert told[0].endswith("for example Łódź, 北京")
    assert "validation" not in told[0]


def test_a_run_in_two_parts_is_the_run_in_one(tables, tmp_path):
    whole = finetune(make_job(FinetuneJob, tables))
    parts = merge(tables, {"output": str(tmp_path / "parts")})
    finetune(make_job(FinetuneJob, merge(parts, {"run": {"steps": 4}})))
    again = finetune(make_job(FinetuneJob, parts))
    assert again.step == 6
    assert digest(again.model) == digest(whole.model)


def test_packed_batches_counted_in_tokens_go_on_padded_or_not(tables, tmp_path):
    counted = {"run": {"batch_tokens": 200}, "placement": {"packing": True}}
    still = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0)
    counted["model"] = {"config": SHAPE | still}
    whole, parts = merge(tables, counted), merge(tables, {**counted, "output": str(tmp_path / "parts")})
    assert finetune(make_job(FinetuneJob, whole)).ending == "done"
    finetune(make_job(FinetuneJob, merge(parts, {"run": {"steps": 4}})))
    finetune(make_job(FinetuneJob, merge(parts, {"placement": {"packing": False}})))
    one, other = (read_journal(Path(table["output"]) / "journal.jsonl") for table in (whole, parts))
    one, other = (
        {line["step"]: line["loss"] for line in lines if line["event"] == "train"} for lines in (one, other)
    )
    assert len(one) == 6
    assert other == pytest.approx(one, rel=1e-5)


def test_other_data_or_another_seed_cannot_go_on(tables):
    finetune(make_job(FinetuneJob, merge(tables, {"run": {"steps": 2}})))
    with pytest.raises(BadSetting, match="seed"):
        finetune(make_job(FinetuneJob, merge(tables, {"run": {"seed": 9}})))


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optim": {"rate": 0.5}}, "optim.rate was 0.02 and is 0.5"),
        ({"data": {"max_target": 8}}, "data.max_target was 12 and is 8"),
        ({"run": {"batch": 2}}, "run.batch was 4 and is 2"),
        ({"objective": {"label_smoothing": 0.2}}, "objective.label_smoothing was 0.1 and is 0.2"),
        ({"model": {"config": {"dropout": 0.3}}}, "model.config.dropout was None and is 0.3"),
        ({"run": {"log_every": 2}}, "run.log_every was 1 and is 2"),  # nothing is left to be done
        ({"run": {"keep": 7}}, "run.keep was 2 and is 7"),
    ],
)
def test_another_job_in_the_folder_of_a_finished_run_is_refused(tables, change, named):
    finetune(make_job(FinetuneJob, tables))
    before = listing(Path(tables["output"]))
    with pytest.raises(BadSetting) as problem:
        finetune(make_job(FinetuneJob, merge(tables, change)))
    assert named in str(problem.value)
    assert listing(Path(tables["output"])) == before


def test_a_pre_training_does_not_go_on_in_the_folder_of_a_fine_tuning(tables, corpus):
    finetune(make_job(FinetuneJob, merge(tables, {"run": {"steps": 2, "measure_every": 0}})))
    other = {key: tables[key] for key in ("output", "model", "placement")}
    job = make_job(PretrainJob, {**other, "data": {"shards": str(corpus / "shards")}, "run": {"steps": 2}})
    with pytest.raises(BadSetting, match="another kind of job"):
        pretrain(job)


def test_the_same_job_again_changes_nothing_and_more_steps_go_on(tables):
    short = merge(tables, {"run": {"steps": 2}})
    finetune(make_job(FinetuneJob, short))
    assert finetune(make_job(FinetuneJob, short)).step == 2
    # How often something is written, and for how long, may change.
    longer = finetune(
        make_job(FinetuneJob, merge(tables, {"run": {"steps": 4, "save_every": 1, "log_every": 2}}))
    )
    assert longer.step == 4
    assert read_finetune_job(Path(tables["output"]) / "job.toml").run.steps == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "/proc/x"}, "output /proc/x cannot be written"),
        ({"output": "/dev/null/x"}, "output /dev/null/x cannot be"),
        ({"output": "x" * 300}, "cannot be"),
        ({"run": {"workers": 100_000}}, "100,000 worker processes are more than this machine can use"),
        ({"run": {"batch": 60_000}}, "an update has 120,000 rows"),
        ({"run": {"accumulate": 60_000}}, "an update has 240,000 rows"),
        ({"placement": {"device": "warp"}}, "there is no device 'warp'"),
        ({"placement": {"device": "cuda:x"}}, "there is no device 'cuda:x'"),
        (
            {"model": {"config": {"encoder_layer": 2}}},
            "unknown key model.config.encoder_layer: did you mean encoder_layers?",
        ),
        ({"model": {"config": {"dtype": "float16"}}}, "unknown key model.config.dtype"),
    ],
)
def test_what_the_machine_or_the_data_cannot_give_is_refused_in_words(tables, change, message):
    with pytest.raises(BadSetting) as problem:
        finetune(make_job(FinetuneJob, merge(tables, change)))
    assert message in str(problem.value)


def test_an_output_that_is_a_file_is_refused(tables, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadSetting, match="cannot be written"):
        finetune(make_job(FinetuneJob, merge(tables, {"output": str(tmp_path / "taken")})))


def test_the_run_evaluates_itself(tables):
    pytest.importorskip("rouge_score")
    changed = {
        "run": {"evaluate_every": 6, "best": "rougeL", "measure_every": 0},
        "evaluation": {"rows": 4},
    }
    outcome = finetune(make_job(FinetuneJob, merge(tables, changed)))
    events = [e for e in read_journal(outcome.model.parent / "journal.jsonl") if e["event"] == "evaluation"]
    assert [e["step"] for e in events] == [6]
    assert all(0 <= events[0][kind] <= 100 for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"))
    assert outcome.best is not None


def test_evaluating_needs_rows_to_evaluate(tables):
    with pytest.raises(BadSetting, match=r"data\.validation"):
        finetune(
            make_job(FinetuneJob, merge(tables, {"run": {"evaluate_every": 2}, "data": {"validation": []}}))
        )


def test_a_decoder_alone_is_fine_tuned_on_running_text(tables, tmp_path):
    changed = {"model": {"kind": "causal"}, "data": {"max_target": 16}}
    outcome = finetune(make_job(FinetuneJob, merge(tables, changed)))
    assert PegasusForCausalLM.from_pretrained(outcome.model).config.is_decoder


def test_pre_training_from_shards_and_then_fine_tuning(corpus, tables, tmp_path):
    shared = {key: tables[key] for key in ("model", "optim", "placement")}
    job = make_job(
        PretrainJob,
        {
            **shared, "output": str(tmp_path / "pre"), "data": {"shards": str(corpus / "shards")},
            "run": {"steps": 4, "batch": 4, "log_every": 1, "save_every": 2},
            "example": {"max_input": 48, "max_target": 24, "words": {"ratio": 0.15}},
        },
    )  # fmt: skip
    outcome = pretrain(job)
    assert read_pretrain_job(Path(job.output) / "job.toml") == job
    events = read_journal(Path(job.output) / "journal.jsonl")
    assert {"loss_target", "loss_mlm"} <= events[-1].keys()
    started = finetune(
        make_job(FinetuneJob, merge(tables, {"model": {"start": str(outcome.model), "config": {}}}))
    )
    fresh = finetune(make_job(FinetuneJob, merge(tables, {"output": str(tmp_path / "fresh")})))
    assert digest(started.model) != digest(fresh.model)


def test_a_fresh_model_needs_a_tokenizer_that_fits(tables):
    with pytest.raises(BadSetting, match=r"model\.tokenizer"):
        finetune(make_job(FinetuneJob, {**tables, "model": {}}))
    with pytest.raises(BadSetting, match="the model knows 50"):
        finetune(make_job(FinetuneJob, merge(tables, {"model": {"config": {"vocab_size": 50}}})))


def test_lora_learns_beside_frozen_weights_and_is_merged(tables, tmp_path):
    pytest.importorskip("peft")
    start = finetune(make_job(FinetuneJob, tables)).model
    changed = {
        "output": str(tmp_path / "lora"), "model": {"start": str(start), "config": {}},
        "objective": {"lora": {"rank": 2, "targets": ["q_proj", "v_proj"]}},
    }  # fmt: skip
    outcome = finetune(make_job(FinetuneJob, merge(tables, changed)))
    before = PegasusForConditionalGeneration.from_pretrained(start).state_dict()
    after = PegasusForConditionalGeneration.from_pretrained(outcome.model).state_dict()
    moved = {name for name in before if not (before[name] == after[name]).all()}
    assert moved
    assert all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in moved)


# -- the command ---------------------------------------------------------------------------------------


def write(tables, path: Path) -> Path:
    path.write_text(to_toml(tables))
    return path


def test_the_command_names_what_it_does_not_know(tables, tmp_path, capsys):
    path = write(tables, tmp_path / "job.toml")
    assert main(["finetune", str(path), "--set", "run.stpes=3"]) == 2
    assert "unknown key run.stpes: did you mean steps?" in capsys.readouterr().err


def test_the_command_runs_a_job_and_says_where_the_model_is(tables, tmp_path, capsys):
    path = write(tables, tmp_path / "job.toml")
    assert main(["finetune", str(path), "--set", "run.steps=2", "--set", "run.measure_every=0"]) == 0
    said = capsys.readouterr().err
    assert "step 2/2  loss" in said
    assert f"the model is in {tables['output']}/model" in said


@pytest.mark.parametrize("what", ["model", "run", "checkpoint", "shards", "text"])
def test_inspect_shows_each_kind_of_thing(what, corpus, tables, tmp_path, capsys):
    folder = Path(tables["output"])
    if what in ("model", "run", "checkpoint"):
        finetune(make_job(FinetuneJob, merge(tables, {"run": {"steps": 2}})))
    text = tmp_path / "text.txt"
    text.write_text(
        "The mayor said no. New houses will be built. The old river is near the town. It is so."
    )
    thing, shown = {
        "model": (folder / "model", "every parameter is there"),
        "run": (folder, "whole, every checksum fits"),
        "checkpoint": (folder / "checkpoints" / "step-00000002", "rank-00000-of-00001.safetensors"),
        "shards": (corpus / "shards", "and writes"),
        "text": (text, "and writes"),
    }[what]
    assert main(["inspect", str(thing), "--tokenizer", str(corpus / "tokenizer")]) == 0
    assert shown in capsys.readouterr().out


def test_sigterm_saves_and_the_same_command_goes_on(tables, tmp_path):
    settings = {"run": {"steps": 400, "log_every": 1, "measure_every": 0, "save_every": 0}}
    path = write(merge(tables, settings), tmp_path / "job.toml")
    command = [sys.executable, "-m", "pegasus", "finetune", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    journal = Path(tables["output"]) / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline, "it never began"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert "stopped and saved after step" in said
    step = read_journal(journal)[-1]["step"]
    assert step < 400
    assert [p.name for p in (Path(tables["output"]) / "checkpoints").iterdir()] == [f"step-{step:08d}"]
    whole = merge(tables, {**settings, "output": str(tmp_path / "whole")})
    short = {"run": {"steps": step + 3}}
    again = finetune(make_job(FinetuneJob, merge(merge(tables, settings), short)))
    assert digest(again.model) == digest(finetune(make_job(FinetuneJob, merge(whole, short))).model)
