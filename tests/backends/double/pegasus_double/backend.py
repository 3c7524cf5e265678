"""The double as the floors above see it."""

from __future__ import annotations

from pathlib import Path

from pegasus.errors import BadSetting
from pegasus_double.model import DoubleModel

models = {"conditional": DoubleModel}


def unavailable() -> None:
    """It computes everywhere."""


def best_device() -> str:
    return "cpu"


def open_model(
    folder: Path, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> DoubleModel:
    if device not in ("auto", "cpu"):
        raise BadSetting(f"the double computes on a CPU, not on {device!r}: set the device to cpu.")
    if dtype not in ("auto", "float32"):
        raise BadSetting(f"the double computes in float64, not in {dtype!r}: leave the dtype out.")
    return DoubleModel.from_pretrained(folder)
