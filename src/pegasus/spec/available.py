"""Whether a package that scripts ask about is installed, and the constants that they import beside that."""

from __future__ import annotations

import enum
import importlib.util

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "pytorch_model.bin"
TF2_WEIGHTS_NAME = TF_WEIGHTS_NAME = "tf_model.h5"
SPIECE_UNDERLINE = "▁"


class TensorType(enum.StrEnum):
    """What ``return_tensors`` may be."""

    PYTORCH = "pt"
    TENSORFLOW = "tf"
    NUMPY = "np"
    JAX = "jax"


class IntervalStrategy(enum.StrEnum):
    """How often something is done in training."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"


class SchedulerType(enum.StrEnum):
    """The names that ``get_scheduler`` knows."""

    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_RESTARTS = "cosine_with_restarts"
    POLYNOMIAL = "polynomial"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    INVERSE_SQRT = "inverse_sqrt"
    REDUCE_ON_PLATEAU = "reduce_lr_on_plateau"


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def is_torch_available() -> bool:
    """Whether PyTorch is installed."""
    return _installed("torch")


def is_tf_available() -> bool:
    """Whether TensorFlow is installed."""
    return _installed("tensorflow")


def is_flax_available() -> bool:
    """Whether JAX and Flax are installed."""
    return _installed("jax") and _installed("flax")


def is_sentencepiece_available() -> bool:
    """Whether sentencepiece is installed; this package needs it."""
    return _installed("sentencepiece")


def is_tokenizers_available() -> bool:
    """Whether tokenizers is installed; this package needs it."""
    return _installed("tokenizers")


def is_safetensors_available() -> bool:
    """Whether safetensors is installed."""
    return _installed("safetensors")


def is_datasets_available() -> bool:
    """Whether datasets is installed."""
    return _installed("datasets")
