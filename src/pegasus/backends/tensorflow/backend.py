"""TensorFlow as the floors above see it: a model on its device, and everything that learning needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from pegasus.backends.contract.learning import Engine, Objective, OptimSettings, Placement, Ranks
from pegasus.backends.tensorflow.devices import device_named, set_threads
from pegasus.backends.tensorflow.model.tf_classes import TFPegasusForConditionalGeneration, TFPegasusModel
from pegasus.errors import BadSetting, NotOffered
from pegasus.spec.config import PegasusConfig

models: dict[str, Any] = {"bare": TFPegasusModel, "conditional": TFPegasusForConditionalGeneration}
_TYPES = ("float32", "bfloat16", "float16")


def unavailable() -> str | None:
    """It computes everywhere."""
    return None


def best_device() -> str:
    """The first accelerator that TensorFlow sees, or "cpu"."""
    return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"


def open_model(
    folder: Path, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> TFPegasusForConditionalGeneration:
    """Load the model in a folder and put it where it will run.

    Args:
        folder: a checkpoint.
        device: "cpu", "gpu", "tpu", or one of several, such as "gpu:1"; "auto" is ``best_device()``.
        dtype: "auto" is bfloat16 on an accelerator and float32 on a CPU; never float16.
        threads: how many threads compute on a CPU; None: as many as there are cores.

    Raises:
        BadSetting: there is no such device here, or no such dtype, or TensorFlow computes already with
            another number of threads.
    """
    set_threads(threads)
    place = device_named(best_device() if device == "auto" else device)
    if dtype == "auto":
        dtype = "float32" if "CPU" in place else "bfloat16"
    if dtype not in _TYPES:
        raise BadSetting(
            f"the TensorFlow backend does not compute in {dtype!r}: choose one of {', '.join(_TYPES)}."
        )
    with tf.device(place):
        model: TFPegasusForConditionalGeneration = TFPegasusForConditionalGeneration.from_pretrained(
            folder, dtype=dtype
        )
    return model


# -- learning: its modules are imported when they are needed, which summarizing never does ----------------


def fresh(kind: str, config: PegasusConfig, initial: str, seed: int) -> Any:
    """A model with weights of its own: drawn as the "authors" or as "transformers"."""
    if kind not in models:
        raise BadSetting(
            f"the TensorFlow backend has no {kind} model: take conditional, or learn with torch"
        )
    return models[kind](config, seed=seed, initial=initial)


def join(placement: Placement) -> Ranks:
    """This process alone, with all of its devices."""
    from pegasus.backends.tensorflow.learning import engine

    return engine.join(placement)


def engine(
    model: Any,
    optim: OptimSettings,
    objective: Objective,
    placement: Placement,
    ranks: Ranks,
    teacher: Any = None,
) -> Engine:
    """An engine that teaches this model.

    Raises:
        NotOffered: a teacher, whom nothing is learned of here.
    """
    if teacher is not None:
        raise NotOffered(
            "the TensorFlow backend compares with no teacher: take backend = 'torch', or pseudo-labels"
        )
    from pegasus.backends.tensorflow.learning.engine import TfEngine

    return TfEngine(model, optim, objective, placement, ranks)
