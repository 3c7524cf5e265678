"""Which backend opens a folder: by its name, the device, the dtype and the kind of folder."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from pegasus.backends import load_backend, require_backend
from pegasus.backends.contract import InferenceModel
from pegasus.backends.threads import threads_for
from pegasus.checkpoint.files import is_exported, is_packed
from pegasus.errors import BadSetting

logger = logging.getLogger(__name__)

#: Where drivers of accelerators show themselves on Linux: NVIDIA, Windows' Linux, AMD, Intel.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/accel")


def open_model(
    folder: Path,
    *,
    backend: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
) -> InferenceModel:
    """Load the model in a folder with the backend that suits, and put it where it will run.

    Args:
        folder: a checkpoint, or a packed model.
        backend: one of ``backends.backend_names()``; None takes packed weights on a CPU and
            PyTorch elsewhere, also where the native library is not.
        device: a word of the backend's, such as "cpu", "cuda", "cuda:1", "mps"; "auto" takes an accelerator
            where there is one.
        dtype: on a CPU "auto" loses nothing (float32, or float16 where the files hold that), and "int8" is
            approximate; on an accelerator "auto" is bfloat16 where it computes in it, else float32.
        threads: how many threads compute on a CPU; None: as many as there are cores.

    Raises:
        BadSetting: there is no such backend or device here, they do not go together, or there are more
            threads than processors.
    """
    require_backend(backend)
    if threads is not None:
        threads = threads_for(threads)
    name = backend or choose(folder, device)
    _check(folder, name, backend, device, dtype)
    return load_backend(name).open_model(folder, device=device, dtype=dtype, threads=threads)


def choose(folder: Path, device: str) -> str:
    """The backend of a folder and a device, where nobody named one."""
    if is_packed(folder):
        return "packed"
    if is_exported(folder):
        return "onnx"
    if device == "cpu" or (device == "auto" and not _has_accelerator()):
        return _on_a_cpu()
    return "torch"


def _on_a_cpu() -> str:
    reason = load_backend("packed").unavailable()
    if reason is None:
        return "packed"
    logger.info("PyTorch computes, which is slower than the native library: %s", reason)
    return "torch"


def _check(folder: Path, name: str, asked: str | None, device: str, dtype: str) -> None:
    """Raise ``BadSetting`` for what does not go together, before anything is read."""
    if name == "packed":
        return
    if is_packed(folder):
        raise BadSetting(
            f"{folder} is packed, and the {name} backend reads checkpoints: leave the backend out, or "
            "give the checkpoint it was packed from."
        )
    if dtype == "int8" and asked is None:
        reason = load_backend("packed").unavailable()
        if reason is not None and device in ("auto", "cpu"):
            raise BadSetting(f"int8 is for the native library, and here {reason}. Or take another dtype.")
        raise BadSetting(
            f"int8 computes on a CPU and the device is {device!r}: set the device to cpu, or dtype."
        )


def _has_accelerator() -> bool:
    return _may_have_accelerator() and load_backend("torch").best_device() != "cpu"


def _may_have_accelerator() -> bool:
    """Whether it is worth loading PyTorch, which takes a second, to ask it for an accelerator."""
    if not sys.platform.startswith("linux"):
        return True
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    return not hidden and any(Path(driver).exists() for driver in _DRIVERS)
