"""JAX as the floors above see it: a model on its device, and everything that learning needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from pegasus.backends.jax.model import FlaxPegasusForConditionalGeneration, FlaxPegasusModel
from pegasus.errors import BadSetting, UnsupportedArgument

models: dict[str, type] = {"bare": FlaxPegasusModel, "conditional": FlaxPegasusForConditionalGeneration}
_TYPES = ("float32", "bfloat16", "float16")


def unavailable() -> str | None:
    """It computes everywhere."""
    return None


def best_device() -> str:
    """What ``jax.devices()`` decides: "cpu", "gpu" or "tpu"."""
    return str(jax.default_backend())


def open_model(
    folder: Path, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> FlaxPegasusForConditionalGeneration:
    """Load the model in a folder and put it where it will run.

    Args:
        folder: a checkpoint.
        device: "cpu", "gpu", "tpu", or one of several, such as "gpu:1"; "auto" is the first of
            ``jax.devices()``.
        dtype: "auto" is bfloat16 on an accelerator and float32 on a CPU; never float16.
        threads: must be None: how many threads JAX computes with is settled when it starts.

    Raises:
        BadSetting: there is no such device here, or no such dtype.
        UnsupportedArgument: a number of threads.
    """
    if threads is not None:
        raise UnsupportedArgument(
            "threads cannot be set for JAX, which takes all the processors that the process may use: leave "
            "them out, or bind the process to some processors (on Linux by taskset)"
        )
    place = _device(device)
    if dtype == "auto":
        dtype = "float32" if place.platform == "cpu" else "bfloat16"
    if dtype not in _TYPES:
        raise BadSetting(
            f"the JAX backend does not compute in {dtype!r}: choose one of {', '.join(_TYPES)}."
        )
    with jax.default_device(place):
        model: FlaxPegasusForConditionalGeneration = FlaxPegasusForConditionalGeneration.from_pretrained(
            folder, dtype=jnp.dtype(dtype), torch_dtype=dtype
        )
    model.params = jax.device_put(model.params, place)
    return model


def _device(device: str) -> Any:
    if device == "auto":
        return jax.devices()[0]
    platform, _, number = device.partition(":")
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        here = ", ".join(sorted({one.platform for one in jax.devices()}))
        raise BadSetting(
            f"JAX has no device {device!r} here: use 'auto', or one of these platforms: {here}."
        ) from error
