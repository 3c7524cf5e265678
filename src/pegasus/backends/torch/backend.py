"""PyTorch as the floors above see it: a model on its device, and everything that learning needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pegasus.backends.contract.exporting import Runtime
from pegasus.backends.contract.learning import Engine, Objective, OptimSettings, Placement, Ranks
from pegasus.backends.torch.model.causal import PegasusForCausalLM
from pegasus.backends.torch.model.heads import (
    PegasusForConditionalGeneration,
    PegasusModel,
)
from pegasus.backends.torch.raw import torch_dtype
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig

models: dict[str, type] = {
    "bare": PegasusModel,
    "conditional": PegasusForConditionalGeneration,
    "causal": PegasusForCausalLM,
}


# -- inference -------------------------------------------------------------------------------------------


def unavailable() -> str | None:
    """It computes everywhere."""
    return None


def best_device() -> str:
    """The first that is here of "cuda", "mps" and "cpu"."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def open_model(
    folder: Path, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> PegasusForConditionalGeneration:
    """Load the model in a folder and put it where it will run.

    Args:
        folder: a checkpoint.
        device: a PyTorch device; "auto" takes CUDA, then MPS, then the CPU.
        dtype: "auto" is bfloat16 on CUDA devices that compute in it, and float32 elsewhere; never float16.
        threads: how many threads compute on the CPU; None leaves it to PyTorch.

    Raises:
        BadSetting: there is no such device here, or no such dtype.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = _device(device)
    if dtype == "auto":
        # Older devices only pretend to, slowly.
        real = place.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = "bfloat16" if real else "float32"
    name = str(torch_dtype(dtype)).removeprefix("torch.")
    model: PegasusForConditionalGeneration = PegasusForConditionalGeneration.from_pretrained(
        folder, dtype=name
    )
    try:
        model.to(place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BadSetting(
            f"The model cannot be put on device {device!r}: {reason}. Use device='auto' or 'cpu'."
        ) from error
    model.eval()
    return model


def _device(device: str) -> torch.device:
    if device == "auto":
        device = best_device()
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise BadSetting(
            f"{device!r} is no device: use 'auto', 'cpu', 'cuda', 'cuda:0' or 'mps'."
        ) from error


def export(folder: Path, output: Path, to: Runtime, int8: bool = False) -> None:
    """Write a model for ONNX Runtime, or as archives of ``torch.export``; see ``ExportingBackend``."""
    if to == "onnx":
        from pegasus.backends.torch.export.onnx_files import quantize_onnx, require_packages, write_onnx

        require_packages(int8)
        write_onnx(open_model(folder, device="cpu", dtype="float32"), output, int8)
        if int8:
            quantize_onnx(output)
    else:
        from pegasus.backends.torch.export.archive import write_archives

        write_archives(open_model(folder, device="cpu", dtype="float32"), output)


# -- learning: its modules are imported when they are needed, which summarizing never does ----------------


def fresh(kind: str, config: PegasusConfig, initial: str, seed: int) -> Any:
    """A model with weights of its own: drawn as the "authors" or as "transformers"."""
    from pegasus.backends.torch.learning.initial import draw_as_authors

    torch.manual_seed(seed)
    model = models[kind](config)
    if initial == "authors":
        draw_as_authors(model)
    return model


def join(placement: Placement) -> Ranks:
    """The processes that ``torchrun`` started, or this one alone."""
    from pegasus.backends.torch.learning import ranks

    return ranks.join(placement)


def engine(
    model: Any,
    optim: OptimSettings,
    objective: Objective,
    placement: Placement,
    ranks: Ranks,
    teacher: Any = None,
) -> Engine:
    """An engine that teaches this model, from examples or from a teacher too."""
    from pegasus.backends.torch.learning.engine import TorchEngine

    return TorchEngine(model, optim, objective, placement, ranks, teacher)
