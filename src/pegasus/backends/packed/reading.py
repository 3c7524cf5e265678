"""What the summarizer asks: a model where it runs best, and where its decoder looked."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.backends import room
from pegasus.backends.packed.folder import is_packed
from pegasus.backends.packed.model import PackedModel
from pegasus.errors import BadSetting

logger = logging.getLogger(__name__)

#: Where drivers of accelerators show themselves on Linux: NVIDIA, Windows' Linux, AMD, Intel.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/accel")


def open_model(
    folder: Path, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> Any:
    """Load the model in a folder and put it where it will run.

    Args:
        folder: a checkpoint, or a packed model.
        device: a PyTorch device; "auto" takes CUDA, then MPS, then the CPU.
        dtype: on a CPU "auto" loses nothing (float32, or float16 where the files hold that), and "int8" is
            approximate; on a device "auto" is bfloat16 where it computes in it, else float32.
        threads: how many threads compute on a CPU; None: as many as there are cores.

    Returns:
        Packed weights on a CPU, the plain modules elsewhere.

    Raises:
        BadSetting: there is no such device here, or no such dtype.
    """
    if device == "cpu" or (device == "auto" and not _may_have_accelerator()) or is_packed(folder):
        return _open_packed(folder, device, dtype, threads)
    reading = room("torch", "reading")
    if device == "auto" and reading.best_device() == "cpu":
        return _open_packed(folder, device, dtype, threads)
    if dtype == "int8":
        raise BadSetting(
            f"int8 computes on a CPU and the device is {device!r}: set the device to cpu, or dtype."
        )
    if threads is not None:
        reading.use_threads(threads)
    return reading.open_model(folder, device=device, dtype=dtype)


def cross_attention(model: Any, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
    """Read a source and a summary of it once more, and return where the decoder looked.

    Args:
        model: what ``open_model`` returned.
        source: tokens of the source.
        summary: tokens of the summary, without the start token.

    Returns:
        float32 [summary tokens, source tokens], averaged over layers and heads; each row sums to 1.
    """
    if isinstance(model, PackedModel):
        return model.attend(source, summary)
    found: np.ndarray = room("torch", "reading").cross_attention(model, source, summary)
    return found


def _open_packed(folder: Path, device: str, dtype: str, threads: int | None) -> PackedModel:
    if device not in ("auto", "cpu"):
        raise BadSetting(
            f"{folder} is packed for a CPU and the device is {device!r}: set the device to cpu."
        )
    model = PackedModel.from_folder(folder, dtype=dtype, threads=threads)
    if model.dtype == "int8":
        logger.warning("int8 is approximate: words may differ from those of float32")
    return model


def _may_have_accelerator() -> bool:
    """Whether it is worth loading PyTorch, which takes a second, to ask it for an accelerator."""
    if not sys.platform.startswith("linux"):
        return True
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    return not hidden and any(Path(driver).exists() for driver in _DRIVERS)
