"""JAX as the floors above see it: a model on its device, and everything that learning needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from pegasus.backends.contract.learning import Engine, Objective, OptimSettings, Placement, Ranks
from pegasus.backends.jax.devices import device_named
from pegasus.backends.jax.model.flax_classes import FlaxPegasusForConditionalGeneration, FlaxPegasusModel
from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.spec.config import PegasusConfig

models: dict[str, Any] = {"bare": FlaxPegasusModel, "conditional": FlaxPegasusForConditionalGeneration}
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
    place = device_named(device)
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


# -- learning: its modules are imported when they are needed, which summarizing never does ----------------


def fresh(kind: str, config: PegasusConfig, initial: str, seed: int) -> Any:
    """A model with weights of its own: drawn as the "authors" or as "transformers"."""
    from pegasus.backends.jax.model import weights

    if kind not in models:
        raise BadSetting(f"the JAX backend has no {kind} model: take conditional, or learn with torch")
    model = models[kind](config, seed=seed, _do_init=initial != "authors")
    if initial == "authors":
        leaves = weights.leaves(config, model.kind)
        drawn = weights.draw(config, leaves, model.key, initial=initial)
        model._is_initialized = True
        model.params = weights.nested(drawn)
    return model


def join(placement: Placement) -> Ranks:
    """This process alone, with all of its devices."""
    from pegasus.backends.jax.learning import engine

    return engine.join(placement)


def engine(
    model: Any,
    optim: OptimSettings,
    objective: Objective,
    placement: Placement,
    ranks: Ranks,
    teacher: Any = None,
) -> Engine:
    """An engine that teaches this model, perhaps by a teacher."""
    from pegasus.backends.jax.learning.engine import JaxEngine

    return JaxEngine(model, optim, objective, placement, ranks, teacher)
