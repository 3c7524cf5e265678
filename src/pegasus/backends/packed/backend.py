"""Packed weights as the floors above see them: inference on a CPU, without a framework."""

from __future__ import annotations

import logging
from pathlib import Path

from pegasus.backends import native
from pegasus.backends.packed.model import PackedModel
from pegasus.errors import BadSetting

logger = logging.getLogger(__name__)

models: dict[str, type] = {"conditional": PackedModel}


def unavailable() -> str | None:
    """Why the native library is not there; None where it is."""
    return native.reason()


def best_device() -> str:
    """The CPU."""
    return "cpu"


def open_model(
    folder: Path, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> PackedModel:
    """Open a packed folder, or pack a checkpoint while it is read.

    Args:
        folder: a packed model, or a checkpoint.
        device: "auto" or "cpu".
        dtype: see ``opening.open_weights``.
        threads: how many threads compute; None: as many as there are cores.

    Raises:
        BadSetting: another device, or no such dtype.
        NotOffered: the native library is not there; the message says what to do.
    """
    if device not in ("auto", "cpu"):
        raise BadSetting(
            f"{folder} is packed for a CPU and the device is {device!r}: set the device to cpu."
        )
    model = PackedModel.from_folder(folder, dtype=dtype, threads=threads)
    if model.dtype == "int8":
        logger.warning("int8 is approximate: words may differ from those of float32")
    return model
