"""Jobs on every other backend beside the same on PyTorch: fine-tuning, pre-training, scores."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pegasus import PegasusConfig, PegasusForConditionalGeneration, PegasusTokenizerFast
from pegasus.cli.app import main
from pegasus.data.prepare import prepare
from pegasus.training.finetune import finetune
from pegasus.training.jobs import FinetuneJob, PretrainJob, make_job, merge
from pegasus.training.journal import read_journal
from pegasus.training.pretrain import pretrain

SMALL = Path(__file__).resolve().parents[2] / "fixtures" / "tokenizer-small" / "spiece.model"
WORDS = ("the", "mayor", "of", "a", "town", "said", "no", "new", "houses", "will", "be", "built", "here")


BACKENDS = pytest.mark.parametrize("backend", ["jax", "tensorflow"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, and a checkpoint that every job begins with."""
    folder, chance = tmp_path_factory.mktemp("jobs"), random.Random(2)
    with (folder / "pairs.jsonl").open("w") as pairs:
        for _ in range(30):
            sentences = [" ".join(chance.choices(WORDS, k=chance.randrange(4, 9))) for _ in range(6)]
            pairs.write(
                json.dumps({"document": ". ".join(sentences) + ".", "summary": sentences[0] + "."}) + "\n"
            )
    tokenizer = PegasusTokenizerFast(str(SMALL), model_max_length=64)
    tokenizer.save_pretrained(folder / "start")
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    sizes |= dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    sizes |= dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "d_model"), 16)
    torch.manual_seed(1)
    fields = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "dropout": 0.0, "init_std": 0.1}
    PegasusForConditionalGeneration(PegasusConfig(**sizes, **fields)).save_pretrained(folder / "start")
    return folder


def tables(place: Path, backend: str, output: str) -> dict[str, Any]:
    return {
        "output": str(place / output),
        "backend": backend,
        "model": {"start": str(place / "start")},
        "data": {"train": [str(place / "pairs.jsonl")], "max_source": 40, "max_target": 12},
        "run": {"steps": 50, "batch": 4, "log_every": 1, "save_every": 25, "measure_every": 0},
        "optim": {"rate": 0.01, "schedule": "constant", "warmup_steps": 5},
        "objective": {"label_smoothing": 0.1},
        "placement": {"device": "cpu"},
    }


def losses(output: Path) -> list[float]:
    return [event["loss"] for event in read_journal(output / "journal.jsonl") if event["event"] == "train"]


@pytest.fixture(scope="module")
def of_torch(place: Path) -> list[float]:
    """Losses of fifty steps on PyTorch."""
    finetune(make_job(FinetuneJob, tables(place, "torch", "torch")))
    return losses(place / "torch")


@pytest.mark.slow
@BACKENDS
def test_fifty_steps(backend, place, of_torch, capsys):
    """Losses of PyTorch within 1e-4; stopped after 25 and gone on: the same bits; the model summarizes."""
    whole = finetune(make_job(FinetuneJob, tables(place, backend, f"whole-{backend}")))
    found = losses(place / f"whole-{backend}")
    assert len(found) == len(of_torch) == 50
    np.testing.assert_allclose(found, of_torch, atol=1e-4, rtol=0)
    assert found[-1] < found[0] - 1
    parts = tables(place, backend, f"parts-{backend}")
    finetune(make_job(FinetuneJob, merge(parts, {"run": {"steps": 25}})))
    again = finetune(make_job(FinetuneJob, parts))
    one, other = (load_file(ending.model / "model.safetensors") for ending in (whole, again))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    text = place / "text.txt"
    text.write_text("The mayor of a small town said that no new houses will be built.\n")
    said = []
    for each in (backend, "torch"):
        arguments = ["summarize", "--backend", each, "--model", str(whole.model), "--device", "cpu"]
        assert main([*arguments, str(text)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].strip()


def pretrained(place: Path, backend: str) -> Path:
    tokenizer = PegasusTokenizerFast.from_pretrained(str(place / "start"))
    if not (place / "shards").is_dir():
        prepare([place / "pairs.jsonl"], tokenizer, place / "shards")
    output = place / f"pre-{backend}"
    table = {
        "output": str(output),
        "backend": backend,
        "model": {"start": str(place / "start")},
        "data": {"shards": str(place / "shards")},
        "run": {"steps": 5, "batch": 4, "log_every": 1, "save_every": 5},
        "example": {"max_input": 48, "max_target": 24, "words": {"ratio": 0.15}},
        "optim": {"rate": 0.01, "schedule": "constant", "warmup_steps": 2},
        "placement": {"device": "cpu"},
    }
    pretrain(make_job(PretrainJob, table))
    return output


@pytest.fixture(scope="module")
def pretrained_by_torch(place: Path) -> list[float]:
    """Losses of five steps of pre-training, from shards and with both losses, on PyTorch."""
    return losses(pretrained(place, "torch"))


@pytest.mark.slow
@BACKENDS
def test_pre_training(backend, place, pretrained_by_torch):
    output = pretrained(place, backend)
    found = losses(output)
    assert len(found) == 5
    np.testing.assert_allclose(found, pretrained_by_torch, atol=1e-4, rtol=0)
    assert {"loss_target", "loss_mlm"} <= read_journal(output / "journal.jsonl")[-1].keys()


@pytest.mark.slow
@BACKENDS
def test_evaluation(backend, place, capsys):
    """The command's scores are those of PyTorch."""
    found = []
    for each in (backend, "torch"):
        arguments = ["evaluate", "--backend", each, "--model", str(place / "start"), "--device", "cpu"]
        assert main([*arguments, "--limit", "4", "--json", "--data", str(place / "pairs.jsonl")]) == 0
        found.append(json.loads(capsys.readouterr().out)["scores"])
    assert len(found[0]) > 1
    assert found[0] == found[1]
