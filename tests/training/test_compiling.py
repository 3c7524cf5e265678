"""Compiled layers: the losses of plain ones, and a number of compilations that no length adds to."""

from __future__ import annotations

import shutil

import pytest
import torch

from pegasus.backends.contract.learning import Objective, OptimSettings, Placement
from pegasus.backends.learning.alone import Alone
from pegasus.backends.torch.learning import compiling
from pegasus.backends.torch.learning.engine import TorchEngine
from pegasus.errors import NotOffered

# PyTorch's compiler asks tensors for a gradient, and hides the warning of it, where it is none of ours.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor:UserWarning",
    "ignore:.torch.jit.script_method. is deprecated:DeprecationWarning",
)


@pytest.fixture(autouse=True)
def forget():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def engine(tiny, compiled, packed=False, fields=None):
    return TorchEngine(
        tiny.model(**(fields or {})),
        OptimSettings(rate=1e-2, schedule="constant", warmup_steps=0),
        Objective(label_smoothing=0.1),
        Placement(device="cpu", compile=compiled, packing=packed),
        Alone(),
    )


def losses(tiny, *settings, count=8):
    """Of updates with batches that all have other shapes."""
    one = engine(tiny, *settings)
    batches = [tiny.batch(i, rows=3 + i % 3, source=9 + i, target=5 + i % 4) for i in range(count)]
    return one, [one.step([batch]).loss for batch in batches]


def test_losses_are_the_same_and_neither_lengths_nor_layers_add_a_compilation(tiny, monkeypatch):
    monkeypatch.setattr(compiling, "MAKER", "eager")
    _, wanted = losses(tiny, False, count=3)
    one, found = losses(tiny, True, count=3)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert one.compiler.graphs == 2  # two layers of each kind


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_dropout_stays_in_the_graph(packed, tiny, monkeypatch):
    monkeypatch.setattr(compiling, "MAKER", "aot_eager")
    rates = {"dropout": 0.3, "attention_dropout": 0.3, "activation_dropout": 0.3}
    one, still = engine(tiny, True, packed, rates), engine(tiny, False, packed)
    batches = [tiny.batch(i, rows=3 + i, source=8 + i) for i in range(5)]
    assert all(abs(one.step([batch]).loss - still.step([batch]).loss) > 1e-3 for batch in batches[:3])
    # Sizes that are equal by chance in the first batch are taken to be one: a graph more may be needed.
    made = one.compiler.graphs
    assert made <= 4
    for batch in batches[3:]:
        one.step([batch])
    assert one.compiler.graphs == made


def test_nothing_is_compiled_unasked(tiny):
    assert engine(tiny, False).compiler is None


def test_a_missing_compiler_is_named(tiny, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NotOffered, match="needs a C\\+\\+ compiler"):
        engine(tiny, True)


def test_what_is_saved_has_the_names_of_plain_weights(tiny, monkeypatch):
    monkeypatch.setattr(compiling, "MAKER", "aot_eager")
    plain, compiled = engine(tiny, False), engine(tiny, True)
    assert list(compiled.model.state_dict()) == list(plain.model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("maker", ["aot_eager", "inductor"])
@pytest.mark.parametrize("packed", [False, True])
def test_kernels_of_the_compiler_give_the_same_losses(packed, maker, tiny, monkeypatch):
    if maker == "inductor" and shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(compiling, "MAKER", maker)
    plain, wanted = losses(tiny, False, packed)
    one, found = losses(tiny, True, packed)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert one.compiler.graphs == 2
    measured = one.measure(tiny.batch(1)).loss
    assert measured == pytest.approx(plain.measure(tiny.batch(1)).loss, rel=1e-4)
    assert one.compiler.graphs == 4  # without gradients they are others
