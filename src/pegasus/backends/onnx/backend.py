"""ONNX Runtime as the floors above see it: inference of exported folders, on a CPU."""

from __future__ import annotations

from pathlib import Path

from pegasus.backends.onnx.model import OnnxModel
from pegasus.errors import BadSetting

models: dict[str, type] = {"conditional": OnnxModel}


def unavailable() -> str | None:
    """It computes everywhere."""
    return None


def best_device() -> str:
    """The CPU."""
    return "cpu"


def open_model(
    folder: Path, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> OnnxModel:
    """Open an exported folder.

    Args:
        folder: with ``encoder.onnx`` and ``decoder.onnx``.
        device: "auto" or "cpu".
        dtype: "auto": numbers are kept as they were exported.
        threads: how many threads compute; None leaves it to ONNX Runtime.

    Raises:
        BadSetting: another device, or a dtype.
        CheckpointNotFound: it is no exported folder.
    """
    if device not in ("auto", "cpu"):
        raise BadSetting(f"ONNX files are run on a CPU here and the device is {device!r}: set it to cpu.")
    if dtype != "auto":
        raise BadSetting(
            f"the numbers of {folder} are as they were exported, not {dtype}: leave dtype at 'auto'."
        )
    return OnnxModel.from_folder(folder, threads)
