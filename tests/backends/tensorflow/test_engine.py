"""Learning on TensorFlow beside PyTorch: the same updates, exact resuming, two devices, precision."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines_of_tests import batch, engine, exported
from safetensors.numpy import load_file

from pegasus.backends.contract.learning import LoraSettings
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointMismatch, NotOffered


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
    for name in ("packing", "compile"):
        with pytest.raises(NotOffered, match=f"placement.{name}: leave it out"):
            engine("tensorflow", start, {}, {}, **{name: True})
    with pytest.raises(BadSetting, match="weight_decay"):
        engine("tensorflow", start, {"weight_decay": 0.1}, {})
    with pytest.raises(BadSetting, match="nothing is left"):
        engine("tensorflow", start, {}, {"frozen": ("encoder", "decoder", "embeddings")})
    with pytest.raises(BadSetting, match="labels"):
        engine("tensorflow", start, {}, {}).measure({"input_ids": batch(0)["input_ids"]})
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(NotOffered, match="torchrun"):
        engine("tensorflow", start, {}, {})
