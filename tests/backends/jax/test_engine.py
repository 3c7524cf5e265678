"""Learning on JAX: the updates of the PyTorch engine, several devices, and going on bit by bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from engines_of_tests import batch, config, engine, exported

from pegasus import PegasusForConditionalGeneration
from pegasus.backends import load_learning_backend
from pegasus.backends.contract.learning import (
    DistillationSettings,
    LoraSettings,
    Objective,
    OptimSettings,
    Placement,
)
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointMismatch, NotOffered


def test_frozen_parts_and_means_of_batches(start, tmp_path):
    objective = {"frozen": ("encoder", "embeddings"), "normalize": "batches", "parts": ("target",)}
    ours, theirs = (engine(one, start, {}, dict(objective)) for one in ("jax", "torch"))
    for each in (ours, theirs):
        each.step([batch(0), batch(1, rows=2)])
    first = PegasusForConditionalGeneration.from_pretrained(start).state_dict()
    mine, other = exported(ours, tmp_path / "mine"), exported(theirs, tmp_path / "other")
    for key, weight in other.items():
        torch.testing.assert_close(mine[key], weight, atol=5e-5, rtol=5e-5, msg=key)
        moves = (
            "decoder." in key
            and not key.endswith(("k_proj.bias", "positions.weight"))
            and "embed" not in key
        )
        assert torch.equal(mine[key], first[key]) != moves, key


def small_matrices(theirs: Any) -> dict[str, torch.Tensor]:
    return {
        name.replace(".summary.weight", ""): one.detach()
        for name, one in theirs.model.named_parameters()
        if "lora_" in name
    }


def test_lora(start, tmp_path):
    """From the same small matrices the updates of peft; the export is merged, the rest untouched."""
    pytest.importorskip("peft")
    settings = {"lora": LoraSettings(rank=2, targets=("q_proj", "fc1"))}
    ours, theirs = (engine(one, start, {"name": "adamw"}, dict(settings)) for one in ("jax", "torch"))
    first = small_matrices(theirs)
    assert len(ours.weights) == len(first) == 2 * 5
    for path, one in ours.weights.items():
        other = first[".".join(path)]
        assert one.shape == tuple(other.shape)[::-1]
        bound = one.shape[0] ** -0.5
        assert (np.abs(one).max() <= bound and np.asarray(one).any()) == (path[-1] == "lora_A")
        ours.weights[path] = jax.numpy.asarray(other.numpy().T)
    for step in range(4):
        found, expected = ours.step([batch(step)]), theirs.step([batch(step)])
        assert found.loss == pytest.approx(expected.loss, rel=2e-5)
        assert found.norm == pytest.approx(expected.norm, rel=2e-4)
    ours.save(tmp_path / "state")
    mine, other = exported(ours, tmp_path / "mine"), exported(theirs, tmp_path / "other")
    before = PegasusForConditionalGeneration.from_pretrained(start).state_dict()
    for key, weight in other.items():
        torch.testing.assert_close(mine[key], weight, atol=5e-5, rtol=5e-5, msg=key)
        assert torch.equal(mine[key], before[key]) != ("q_proj.weight" in key or "fc1.weight" in key), key
    again = engine("jax", start, {"name": "adamw"}, dict(settings))
    again.load(tmp_path / "state")
    assert again.step([batch(9)]).loss == ours.step([batch(9)]).loss
    drops = {"lora": LoraSettings(rank=2, targets=("fc1",), dropout=0.5)}
    wet = engine("jax", start, {}, drops)
    path = ("model", "encoder", "layers", "0", "fc1", "lora_B")
    wet.weights[path] = wet.weights[path] + 1.0
    measured = wet.measure(batch(0)).loss
    assert abs(wet.step([batch(0)]).loss - measured) > 1e-4


@pytest.mark.parametrize("width", [16, 24])
def test_a_teacher(width, start, tmp_path):
    """Logits, states and attentions compared as by PyTorch, with a teacher as wide, or wider and deeper."""
    torch.manual_seed(8)
    shape = {"d_model": width, "decoder_layers": 2, "encoder_attention_heads": 2 if width == 16 else 4}
    PegasusForConditionalGeneration(config(**shape)).save_pretrained(tmp_path / "teacher")
    ways = DistillationSettings(logits=0.7, hidden_states=0.3, attentions=0.2)
    objective = Objective(parts=("target",), target_weight=0.5, distillation=ways)
    place, optim = Placement(device="cpu"), OptimSettings(rate=1e-2, schedule="constant", warmup_steps=0)
    found = {}
    for name in ("jax", "torch"):
        backend = load_learning_backend(name)
        load = backend.models["conditional"].from_pretrained
        student, teacher = load(start), load(tmp_path / "teacher")
        one = backend.engine(student, optim, objective, place, backend.join(place), teacher)
        steps = [one.step([batch(2 * step), batch(2 * step + 1, rows=2)]) for step in range(3)]
        sums = [(step.loss, step.norm, *step.sums.values()) for step in steps]
        found[name] = (sums, one.measure(batch(9)).loss)
    np.testing.assert_allclose(found["jax"][0], found["torch"][0], rtol=2e-4)
    assert found["jax"][1] == pytest.approx(found["torch"][1], rel=1e-4)
    backend = load_learning_backend("jax")
    student = backend.models["conditional"].from_pretrained(start)
    with pytest.raises(BadSetting, match="needs a teacher"):
        backend.engine(student, optim, objective, place, backend.join(place))


def test_going_on_gives_the_same_bits(start, tmp_path):
    """With dropout, after other random numbers were drawn."""
    objective = {"fields": {"dropout": 0.3, "attention_dropout": 0.1}}
    whole = engine("jax", start, {"name": "adamw"}, dict(objective))
    for step in range(4):
        if step == 2:
            whole.save(tmp_path / "state")
        whole.step([batch(step)])
    again = engine("jax", start, {"name": "adamw"}, dict(objective))
    again.load(tmp_path / "state")
    for step in (2, 3):
        again.step([batch(step)])
    one, other = exported(whole, tmp_path / "one"), exported(again, tmp_path / "other")
    assert all(torch.equal(one[key], other[key]) for key in one)
    dry = engine("jax", start, {"name": "adamw"}, {})
    assert (
        abs(dry.step([batch(0)]).loss - engine("jax", start, {}, dict(objective)).step([batch(0)]).loss)
        > 1e-3
    )
    with pytest.raises(CheckpointMismatch, match="optimizer 'adamw'"):
        engine("jax", start, {}, {}).load(tmp_path / "state")
    with pytest.raises(CheckpointCorrupt, match="no saved run"):
        again.load(tmp_path)


def test_an_update_that_is_not_finite_is_skipped(start, tmp_path):
    one = engine("jax", start, {}, {})
    path = ("model", "decoder", "layer_norm", "scale")
    kept = one.weights[path]
    one.weights[path] = kept * np.inf
    assert one.step([batch(0)]).skipped
    one.weights[path] = kept
    state = exported(one, tmp_path)
    first = PegasusForConditionalGeneration.from_pretrained(start).state_dict()
    assert all(torch.equal(state[key], first[key]) for key in first)


SEVERAL = """
import json, sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from pathlib import Path
from test_engine import batch, engine
found = {"devices": jax.device_count()}
for spread in ("ddp", "fsdp", "tensor"):
    one = engine("jax", Path(sys.argv[2]), {}, {"label_smoothing": 0.1}, spread=spread)
    losses = [one.step([batch(step, rows=3), batch(step + 9)]).loss for step in range(3)]
    table = one.weights["model", "shared", "embedding"]
    shares = sorted({one.data.shape for one in table.addressable_shards})
    found[spread] = {"losses": losses, "sum": float(np.abs(np.asarray(table)).sum()), "shares": shares}
    wide = one.weights["model", "encoder", "layers", "0", "fc1", "kernel"]
    found[spread]["wide"] = sorted({one.data.shape for one in wide.addressable_shards})
print(json.dumps(found))
"""


def test_two_devices_equal_one(start):
    """Rows over two devices, with all weights on each or half of each, or layers: the same update."""

    def run(devices: int) -> dict[str, Any]:
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = {**os.environ, "XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        command = [sys.executable, "-c", SEVERAL, str(Path(__file__).parent), str(start)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    one, two = run(1), run(2)
    assert (one["devices"], two["devices"]) == (1, 2)
    assert two["ddp"]["wide"] == [[16, 24]]
    assert two["fsdp"]["wide"] == [[8, 24]]
    assert two["tensor"]["wide"] == [[16, 12]]
    for spread in ("ddp", "fsdp", "tensor"):
        np.testing.assert_allclose(two[spread]["losses"], one["ddp"]["losses"], rtol=1e-5)
        assert two[spread]["sum"] == pytest.approx(one["ddp"]["sum"], rel=1e-5)


def test_precisions_and_gradient_checkpointing(start):
    """Products of 16 bits around float32 weights; activations computed again change nothing."""
    exact, rough, half, again = (
        engine("jax", start, {}, {}, **place)
        for place in (
            {},
            {"precision": "bfloat16"},
            {"precision": "float16"},
            {"gradient_checkpointing": True},
        )
    )
    found = [each.step([batch(0)]) for each in (exact, rough, half, again)]
    assert found[1].loss == pytest.approx(found[0].loss, rel=1e-2)
    assert found[1].loss != found[0].loss
    assert found[2].norm == pytest.approx(found[0].norm, rel=1e-2)  # its gradients were scaled
    assert found[3].loss == pytest.approx(found[0].loss, rel=1e-6)
    assert {str(one.dtype) for one in jax.tree.leaves(rough.weights)} == {"float32"}


def test_fresh_weights():
    """Of the authors: embeddings of deviation D^-0.5, matrices by Glorot's rule; padding is 0."""
    backend = load_learning_backend("jax")
    model = backend.fresh("conditional", config(d_model=64, init_std=0.02), "authors", 1)
    table = np.asarray(model.params["model"]["shared"]["embedding"])
    assert table[1:].std() == pytest.approx(1 / 8, rel=0.1)
    assert not table[0].any()
    kernel = np.asarray(model.params["model"]["encoder"]["layers"]["0"]["fc1"]["kernel"])
    bound = (6 / (64 + 24)) ** 0.5
    assert 0.9 * bound < np.abs(kernel).max() <= bound
    usual = backend.fresh("conditional", config(d_model=64, init_std=0.02), "transformers", 1)
    assert np.asarray(usual.params["model"]["shared"]["embedding"])[1:].std() == pytest.approx(
        0.02, rel=0.1
    )


def test_what_is_refused(start, monkeypatch):
    with pytest.raises(BadSetting, match="no layer is called"):
        engine("jax", start, {}, {"lora": LoraSettings(targets=("middle",))})
    with pytest.raises(NotOffered, match="tensor"):
        engine("torch", start, {}, {}, spread="tensor")
    for name in ("packing", "compile"):
        with pytest.raises(NotOffered, match=f"placement.{name}: leave it out"):
            engine("jax", start, {}, {}, **{name: True})
    with pytest.raises(BadSetting, match="weight_decay"):
        engine("jax", start, {"weight_decay": 0.1}, {})
    with pytest.raises(BadSetting, match="nothing is left"):
        engine("jax", start, {}, {"frozen": ("encoder", "decoder", "embeddings")})
    with pytest.raises(BadSetting, match="labels"):
        engine("jax", start, {}, {}).measure({"input_ids": batch(0)["input_ids"]})
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(NotOffered, match="torchrun"):
        engine("jax", start, {}, {})
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(NotOffered, match="another launcher"):
        engine("jax", start, {}, {})
