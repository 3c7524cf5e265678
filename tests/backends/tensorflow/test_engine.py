"""Learning on TensorFlow beside PyTorch: the same updates, exact resuming, two devices, precision, jobs."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pegasus import PegasusConfig, PegasusForConditionalGeneration, PegasusTokenizerFast
from pegasus.backends import load_learning_backend
from pegasus.backends.contract.learning import LoraSettings, Objective, OptimSettings, Placement
from pegasus.cli.app import main
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointMismatch, NotOffered
from pegasus.training.finetune import finetune
from pegasus.training.jobs import FinetuneJob, make_job, merge
from pegasus.training.journal import read_journal

SMALL = Path(__file__).resolve().parents[2] / "fixtures" / "tokenizer-small" / "spiece.model"
WORDS = ("the", "mayor", "of", "a", "town", "said", "no", "new", "houses", "will", "be", "built", "here")
VOCABULARY = 61
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adafactor": {},
    "adafactor-absolute": {"weight_decay": 0.1, "rate": 1e-3},
    "adamw": {"weight_decay": 0.1, "clip_norm": 0.5},
    "muon": {"weight_decay": 0.1},
}


def config(**fields: Any) -> PegasusConfig:
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    sizes |= dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    sizes |= dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 24)
    usual = {
        "vocab_size": VOCABULARY,
        "d_model": 16,
        "max_position_embeddings": 32,
        "scale_embedding": True,
    }
    usual |= {"activation_function": "relu", "dropout": 0.0, "init_std": 0.1}
    return PegasusConfig(**{**sizes, **usual, **fields})


def batch(seed: int, rows: int = 4) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    ids = chance.integers(4, VOCABULARY, (rows, 11)).astype(np.int32)
    labels = chance.integers(4, VOCABULARY, (rows, 6)).astype(np.int32)
    mask = np.ones_like(ids)
    for row in range(rows):
        length, kept = chance.integers(4, 12), chance.integers(1, 7)
        ids[row, length:], mask[row, length:], labels[row, kept:] = 0, 0, -100
    hidden = (chance.random(ids.shape) < 0.3) & (mask > 0)
    found = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {**found, "mlm_labels": np.where(hidden, ids, -100).astype(np.int32)}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights that every run begins with."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(3)
    PegasusForConditionalGeneration(config()).save_pretrained(folder)
    return folder


def engine(
    name: str, start: Path, optim: dict[str, Any], objective: dict[str, Any], **placement: Any
) -> Any:
    backend = load_learning_backend(name)
    place = Placement(**{"device": "cpu", **placement})
    fields = dict(objective.pop("fields", {}))
    model = backend.models["conditional"].from_pretrained(start, **fields)
    settings = {"rate": 1e-2, "schedule": "constant", "warmup_steps": 0, **optim}
    return backend.engine(
        model, OptimSettings(**settings), Objective(**objective), place, backend.join(place)
    )


def exported(engine: Any, folder: Path) -> dict[str, torch.Tensor]:
    engine.export(folder)
    return PegasusForConditionalGeneration.from_pretrained(folder).state_dict()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_updates_of_pytorch(name, start, tmp_path):
    """Four updates of two micro-batches with both losses: losses, norms and weights."""
    objective = {"label_smoothing": 0.1, "mlm_weight": 0.5}
    ours, theirs = (
        engine(one, start, {"name": name, **OPTIMIZERS[name]}, dict(objective))
        for one in ("tensorflow", "torch")
    )
    # Muon turns matrices in bfloat16, where a last bit is a part in 256.
    close = {"rel": 2e-3, "abs": 2e-3} if name == "muon" else {"rel": 2e-5, "abs": 1e-5}
    for step in range(4):
        batches = [batch(2 * step), batch(2 * step + 1, rows=2)]
        found, expected = ours.step(batches), theirs.step(batches)
        assert found.counts == expected.counts
        assert found.source_tokens == expected.source_tokens
        assert (found.rate, found.skipped) == (expected.rate, expected.skipped)
        assert found.loss == pytest.approx(expected.loss, **close)
        assert found.norm == pytest.approx(expected.norm, **close)
    assert ours.measure(batch(0)).loss == pytest.approx(theirs.measure(batch(0)).loss, **close)
    mine, other = exported(ours, tmp_path / "mine"), exported(theirs, tmp_path / "other")
    tolerance = 5e-3 if name == "muon" else 5e-5
    for key, weight in other.items():
        torch.testing.assert_close(mine[key], weight, atol=tolerance, rtol=tolerance, msg=key)
    assert not mine["model.shared.weight"][0].any()


def test_going_on_gives_the_same_bits(start, tmp_path):
    """With dropout of both kinds of mask, after other random numbers were drawn."""
    drawn = {"fields": {"dropout": 0.3, "attention_dropout": 0.1}, "dropout": "broadcast"}
    whole = engine("tensorflow", start, {"name": "adamw"}, dict(drawn))
    for step in range(4):
        if step == 2:
            whole.save(tmp_path / "state")
        whole.step([batch(step)])
    again = engine("tensorflow", start, {"name": "adamw"}, dict(drawn))
    again.load(tmp_path / "state")
    for step in (2, 3):
        again.step([batch(step)])
    one, other = exported(whole, tmp_path / "one"), exported(again, tmp_path / "other")
    assert all(torch.equal(one[key], other[key]) for key in one)
    with pytest.raises(CheckpointMismatch, match="optimizer 'adamw'"):
        engine("tensorflow", start, {}, {}).load(tmp_path / "state")
    with pytest.raises(CheckpointCorrupt, match="no saved run"):
        again.load(tmp_path)
    engine("torch", start, {"name": "adamw"}, {}).save(tmp_path / "torch")
    with pytest.raises(CheckpointMismatch, match="another backend"):
        again.load(tmp_path / "torch")


SEVERAL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import tensorflow as tf
devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[3])
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
tf.config.run_functions_eagerly(False)
import numpy as np
from pathlib import Path
from test_engine import batch, engine
one = engine("tensorflow", Path(sys.argv[2]), {}, {"label_smoothing": 0.1})
losses = [one.step([batch(step, rows=3), batch(step + 9)]).loss for step in range(3)]
one.export(Path(sys.argv[4]))
print(json.dumps({"replicas": one.strategy.num_replicas_in_sync, "losses": losses}))
"""


def test_two_devices_equal_one(start, tmp_path):
    """Rows are spread over two logical devices, three of them unevenly: the same updates."""

    def run(devices: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        place = tmp_path / str(devices)
        command = [sys.executable, "-c", SEVERAL, str(Path(__file__).parent), str(start)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        done = subprocess.run(
            [*command, str(devices), str(place)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1]), load_file(place / "model.safetensors")

    (one, weights), (two, others) = run(1), run(2)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    for name, array in weights.items():
        np.testing.assert_allclose(others[name], array, atol=1e-5, err_msg=name)


def test_precisions_and_computing_again(start, tmp_path):
    """Products of 16 bits around float32 weights; activations computed again change nothing."""
    places: list[dict[str, Any]] = [{}, {"gradient_checkpointing": True}]
    places += [{"precision": "bfloat16"}, {"precision": "float16"}]
    engines = [engine("tensorflow", start, {}, {}, **place) for place in places]
    exact, again, rough, half = (one.step([batch(0)]) for one in engines)
    assert again.loss == pytest.approx(exact.loss, rel=1e-6)
    assert again.norm == pytest.approx(exact.norm, rel=1e-5)
    assert rough.loss == pytest.approx(exact.loss, rel=2e-2)
    assert rough.loss != exact.loss
    assert half.norm == pytest.approx(exact.norm, rel=1e-2)  # its gradients were scaled
    assert {str(one.dtype.name) for one in engines[2].weights.values()} == {"float32"}
    last = engines[2].weights["model.decoder.layer_norm.weight"]
    last.assign(last * np.inf)
    before = engines[2].weights["model.shared.weight"].numpy()
    assert engines[2].step([batch(0)]).skipped
    np.testing.assert_array_equal(engines[2].weights["model.shared.weight"].numpy(), before)


def test_what_is_refused(start, monkeypatch):
    with pytest.raises(NotOffered, match="LoRA"):
        engine("tensorflow", start, {}, {"lora": LoraSettings()})
    with pytest.raises(NotOffered, match="spread"):
        engine("tensorflow", start, {}, {}, spread="fsdp")
    with pytest.raises(BadSetting, match="weight_decay"):
        engine("tensorflow", start, {"weight_decay": 0.1}, {})
    with pytest.raises(BadSetting, match="nothing is left"):
        engine("tensorflow", start, {}, {"frozen": ("encoder", "decoder", "embeddings")})
    with pytest.raises(BadSetting, match="labels"):
        engine("tensorflow", start, {}, {}).measure({"input_ids": batch(0)["input_ids"]})
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(NotOffered, match="torchrun"):
        engine("tensorflow", start, {}, {})


# -- a job, from files to a model that writes --------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, and a checkpoint that every job begins with."""
    folder, chance = tmp_path_factory.mktemp("jobs"), random.Random(2)
    with (folder / "pairs.jsonl").open("w") as pairs:
        for _ in range(30):
            sentences = [" ".join(chance.choices(WORDS, k=chance.randrange(4, 9))) for _ in range(6)]
            row = {"document": ". ".join(sentences) + ".", "summary": sentences[0] + "."}
            pairs.write(json.dumps(row) + "\n")
    tokenizer = PegasusTokenizerFast(str(SMALL), model_max_length=64)
    tokenizer.save_pretrained(folder / "start")
    torch.manual_seed(1)
    fields = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "scale_embedding": False}
    PegasusForConditionalGeneration(config(**fields)).save_pretrained(folder / "start")
    return folder


def tables(place: Path, backend: str, output: str) -> dict[str, Any]:
    return {
        "output": str(place / output),
        "backend": backend,
        "model": {"start": str(place / "start")},
        "data": {"train": [str(place / "pairs.jsonl")], "max_source": 40, "max_target": 12},
        "run": {"steps": 40, "batch": 4, "log_every": 1, "save_every": 20, "measure_every": 0},
        "optim": {"rate": 0.01, "schedule": "constant", "warmup_steps": 5},
        "objective": {"label_smoothing": 0.1},
        "placement": {"device": "cpu"},
    }


def losses(output: Path) -> list[float]:
    return [event["loss"] for event in read_journal(output / "journal.jsonl") if event["event"] == "train"]


def test_forty_steps(place, capsys):
    """Losses of PyTorch within 1e-4; stopped after 20 and gone on: the same bits; the model summarizes."""
    whole = finetune(make_job(FinetuneJob, tables(place, "tensorflow", "whole")))
    finetune(make_job(FinetuneJob, tables(place, "torch", "torch")))
    found, expected = losses(place / "whole"), losses(place / "torch")
    assert len(found) == len(expected) == 40
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    assert found[-1] < found[0] - 1
    parts = tables(place, "tensorflow", "parts")
    finetune(make_job(FinetuneJob, merge(parts, {"run": {"steps": 20}})))
    again = finetune(make_job(FinetuneJob, parts))
    one, other = (load_file(ending.model / "model.safetensors") for ending in (whole, again))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    text = place / "text.txt"
    text.write_text("The mayor of a small town said that no new houses will be built.\n")
    said = []
    for backend in ("tensorflow", "torch"):
        arguments = ["summarize", "--backend", backend, "--model", str(whole.model), "--device", "cpu"]
        assert main([*arguments, str(text)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].strip()
