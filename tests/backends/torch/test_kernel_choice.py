"""Which step a static decoder takes, and what happens where Triton does not run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.torch.inference import kernel_choice, static_step
from pegasus.backends.torch.inference.static_weights import prepare
from pegasus.errors import BackendMissing, BadSetting, NotOffered

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
INPUTS = torch.tensor(json.loads((GOLDEN / "generation-basic.json").read_text())["inputs"])


def load(kernels: str | None = None, **fields: Any) -> Any:
    model = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model", **fields)
    model.static_memory, model.static_kernels = True, kernels
    return model


@pytest.fixture
def failing(monkeypatch):
    """Kernels that note a new place and then do not compile, and a table of modules that has them."""

    def take(weights, memory, span, count):
        memory.seen_RKM.fill_(True)
        raise RuntimeError("Failed to find a compiler.\nSet CC.")

    name = "pegasus.backends.torch.inference.kernels"
    module = type(sys)(f"{name}.step")
    module.take = take
    monkeypatch.setitem(sys.modules, f"{name}.step", module)
    monkeypatch.setattr(
        sys.modules.get(name) or __import__(name, fromlist=["x"]), "step", module, raising=False
    )
    monkeypatch.setattr(kernel_choice, "find_spec", lambda name: name)
    monkeypatch.setenv("TRITON_INTERPRET", "1")


def test_on_a_cpu_nobody_asks_for_kernels():
    model = load()
    model.generate(INPUTS[:1], max_length=4)
    assert model._memories.choice == kernel_choice.Choice(None, "torch")


def test_a_name_that_is_none():
    with pytest.raises(BadSetting, match="static_kernels: 'cuda' is not known: say torch or triton"):
        load("cuda").generate(INPUTS)


def test_triton_is_asked_for_and_absent(monkeypatch):
    monkeypatch.setattr(kernel_choice, "find_spec", lambda name: None)
    with pytest.raises(BackendMissing, match="pip install triton"):
        load("triton").generate(INPUTS)


def test_triton_is_asked_for_without_a_gpu(monkeypatch, failing):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(NotOffered, match="the model is on cpu"):
        load("triton").generate(INPUTS)


def test_triton_is_asked_for_and_cannot(monkeypatch, failing):
    with pytest.raises(NotOffered, match="float64"):
        load("triton", torch_dtype=torch.float64).generate(INPUTS)
    monkeypatch.setattr(kernel_choice, "WIDEST", 4)
    with pytest.raises(NotOffered, match="8 numbers, more than 4"):
        load("triton").generate(INPUTS)


def test_triton_is_asked_for_and_fails(failing):
    with pytest.raises(NotOffered, match=r"RuntimeError: Failed to find a compiler\.\)"):
        load("triton").generate(INPUTS)


def test_nobody_asked_and_it_fails(monkeypatch, failing):
    """PyTorch's operations go on from where the step began, with one warning for all that follow."""
    monkeypatch.setattr(kernel_choice, "AUTO", "triton")
    assert kernel_choice.choose(load(), prepare(load())).name == "torch"  # not on a CPU
    monkeypatch.setattr(kernel_choice, "AUTO_DEVICE", "cpu")
    model = load()
    with pytest.warns(UserWarning, match="Failed to find a compiler") as warned:
        found = model.generate(INPUTS, num_beams=3)
    assert len(warned) == 1
    assert found.tolist() == load("torch").generate(INPUTS, num_beams=3).tolist()
    assert model.generate(INPUTS, num_beams=3).tolist() == found.tolist()
    monkeypatch.setattr(kernel_choice, "WIDEST", 4)
    assert kernel_choice.choose(load(), model._memories.weights).take() is static_step.take


def test_a_full_device_is_no_reason_to_change(monkeypatch, failing):
    def take(*given):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(sys.modules["pegasus.backends.torch.inference.kernels.step"], "take", take)
    monkeypatch.setattr(kernel_choice, "AUTO", "triton")
    monkeypatch.setattr(kernel_choice, "AUTO_DEVICE", "cpu")
    with pytest.raises(torch.OutOfMemoryError):
        load().generate(INPUTS)


def test_another_choice_is_seen(failing):
    model = load("torch")
    found = model.generate(INPUTS)
    model.static_kernels = "triton"
    with pytest.raises(NotOffered):
        model.generate(INPUTS)
    model.static_kernels = None
    assert model.generate(INPUTS).tolist() == found.tolist()
