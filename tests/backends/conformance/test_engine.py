"""The battery of engines: what one update is, by the gradients that transformers found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pegasus import PegasusConfig
from pegasus.backends import BACKENDS, load_learning_backend
from pegasus.backends.contract.learning import Objective, OptimSettings, Placement

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
EXPECTED = load_file(GOLDEN / "model-relu.expected.safetensors")
CONFIG = json.loads((GOLDEN / "model-relu.json").read_text())["config"]
PAD = PegasusConfig(**CONFIG).pad_token_id
STILL = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
BATCH = {
    "input_ids": EXPECTED["input/input_ids"].astype(np.int32),
    "attention_mask": EXPECTED["input/attention_mask"].astype(np.int32),
    "labels": EXPECTED["input/labels"].astype(np.int32),
}
ADAM = OptimSettings(name="adamw", rate=1e-3, schedule="constant", warmup_steps=0)
#: Rows of the table that learn.
LEARNING = ["torch", "jax", "tensorflow"]


@pytest.fixture(scope="module", params=LEARNING)
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    pytest.importorskip(BACKENDS[request.param].needs)
    if request.param != "tensorflow":
        yield load_learning_backend(request.param)
        return
    import tensorflow as tf

    # Each engine would trace graphs for a step or two. `tests/backends/tensorflow` learns in graphs.
    tf.config.run_functions_eagerly(True)
    yield load_learning_backend(request.param)
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("relu")
    PegasusConfig(**{**CONFIG, **STILL}).save_pretrained(place)
    (place / "model.safetensors").write_bytes((GOLDEN / "model-relu.safetensors").read_bytes())
    return place


@pytest.fixture
def begin(backend: Any, folder: Path, tmp_path: Path) -> Any:
    """A function that opens the golden model with an engine; ``.weights(engine)`` reads what it exports."""
    placement = Placement(device="cpu")

    def start(optim: OptimSettings = ADAM, **objective: Any) -> Any:
        model = backend.models["conditional"].from_pretrained(folder)
        return backend.engine(model, optim, Objective(**objective), placement, backend.join(placement))

    def weights(engine: Any) -> dict[str, np.ndarray]:
        engine.export(tmp_path / "exported")
        return load_file(tmp_path / "exported" / "model.safetensors")

    start.weights = weights
    return start


def halves() -> list[dict[str, np.ndarray]]:
    return [{name: array[rows] for name, array in BATCH.items()} for rows in (slice(0, 1), slice(1, None))]


def test_a_measurement_is_the_loss_of_transformers(begin):
    engine = begin()
    before = begin.weights(engine)
    found = engine.measure(BATCH)
    assert found.mean("target") == pytest.approx(float(EXPECTED["labels/loss"]), rel=1e-5)
    assert found.counts["target"] == (BATCH["labels"] != -100).sum()
    for name, array in begin.weights(engine).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_the_first_step_of_adam_is_known_from_the_gradients(begin):
    """Every number moves by the rate times g / (|g| + eps): all gradients at once, and their signs."""
    engine = begin()
    before = begin.weights(engine)
    measures = engine.step([BATCH])
    after = begin.weights(engine)
    gradients = {
        key.removeprefix("labels/gradient/"): value.copy()
        for key, value in EXPECTED.items()
        if key.startswith("labels/gradient/")
    }
    assert len(gradients) > 40
    gradients["model.shared.weight"][PAD] = 0  # this row stays zero
    for name, gradient in gradients.items():
        if name not in after:
            continue
        wanted = before[name] - ADAM.rate * gradient / (np.abs(gradient) + ADAM.eps)
        clear = np.abs(gradient) > 1e-5  # below, the order of sums decides
        np.testing.assert_allclose(after[name][clear], wanted[clear], atol=2e-6, err_msg=name)
    norm = np.sqrt(sum(float((one.astype(float) ** 2).sum()) for one in gradients.values()))
    assert measures.norm == pytest.approx(norm, rel=1e-3)
    assert measures.rate == ADAM.rate
    assert not measures.skipped
    assert measures.loss == pytest.approx(float(EXPECTED["labels/loss"]), rel=1e-5)


def test_micro_batches_change_nothing(begin):
    """The mean is over all tokens of an update, whatever parts they come in."""
    whole, parts = begin(), begin()
    found = [whole.step([BATCH]), parts.step(halves())]
    assert found[0].counts == found[1].counts
    assert found[0].norm == pytest.approx(found[1].norm, rel=1e-4)
    expected = begin.weights(whole)
    for name, array in begin.weights(parts).items():
        # Where a gradient is nearly nothing its sign, and so a whole step, hangs on the order of sums.
        assert (np.abs(array - expected[name]) > 1e-5).mean() < 0.02, name


def test_a_gradient_is_cut_to_its_norm(begin):
    plain = OptimSettings(name="adafactor-absolute", rate=1e-3, schedule="constant", warmup_steps=0)
    free, cut = begin(plain), begin(replace(plain, clip_norm=1e-3))
    assert free.step([BATCH]).norm == pytest.approx(cut.step([BATCH]).norm, rel=1e-5), "measured before"


def test_what_is_frozen_stays(begin):
    engine = begin(frozen=("encoder", "embeddings"))
    before = begin.weights(engine)
    engine.step([BATCH])
    moved = {
        name for name, array in begin.weights(engine).items() if not np.array_equal(array, before[name])
    }
    assert moved
    assert all(name.startswith("model.decoder.") for name in moved)


def test_the_row_of_padding_stays_zero(begin):
    engine = begin()
    for _ in range(3):
        engine.step([BATCH])
    shared = begin.weights(engine)["model.shared.weight"]
    assert not shared[PAD].any()
    assert shared.any(axis=1).sum() == len(shared) - 1


def test_smoothing_is_of_learning_alone(begin):
    smooth, plain = begin(label_smoothing=0.3), begin()
    assert smooth.measure(BATCH).loss == pytest.approx(plain.measure(BATCH).loss)
    learned = [begin.weights(one)["model.shared.weight"] for one in (smooth, plain) if one.step([BATCH])]
    assert np.abs(learned[0] - learned[1]).max() > 1e-5


def test_a_run_goes_on_exactly(begin, tmp_path):
    """What is saved after two updates and loaded elsewhere takes the same third one."""
    one = begin()
    for _ in range(2):
        one.step([BATCH])
    (tmp_path / "state").mkdir()
    one.save(tmp_path / "state")
    one.step(halves())
    expected = begin.weights(one)
    other = begin()
    other.load(tmp_path / "state")
    other.step(halves())
    for name, array in begin.weights(other).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_what_is_exported_is_a_checkpoint(begin, backend, tmp_path):
    engine = begin()
    engine.step([BATCH])
    measured = engine.measure(BATCH).loss
    engine.export(tmp_path / "model")
    model = backend.models["conditional"].from_pretrained(tmp_path / "model")
    placement = Placement(device="cpu")
    again = backend.engine(model, ADAM, Objective(), placement, backend.join(placement))
    assert again.measure(BATCH).loss == pytest.approx(measured, rel=1e-6)


@pytest.mark.parametrize("initial", ["authors", "transformers"])
def test_fresh_weights_follow_their_seed(backend, tmp_path, initial):
    drawn = []
    for number, seed in enumerate((3, 3, 4)):
        model = backend.fresh("conditional", PegasusConfig(**CONFIG), initial, seed)
        model.save_pretrained(tmp_path / str(number))
        drawn.append(load_file(tmp_path / str(number) / "model.safetensors"))
    name = "model.encoder.layers.0.fc1.weight"
    np.testing.assert_array_equal(drawn[0][name], drawn[1][name])
    assert np.abs(drawn[0][name] - drawn[2][name]).max() > 1e-4
    assert not drawn[0]["model.shared.weight"][PAD].any()
    assert (drawn[0]["model.encoder.layer_norm.weight"] == 1).all()


def test_one_process_alone(backend):
    ranks = backend.join(Placement(device="cpu"))
    assert (ranks.rank, ranks.count) == (0, 1)
    assert ranks.total([1.5, 2.0]) == [1.5, 2.0]
    assert ranks.any(True)
    assert not ranks.any(False)
    ranks.wait()
    ranks.leave()
