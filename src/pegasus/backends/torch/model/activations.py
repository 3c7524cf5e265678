"""What the feed-forward layers may use, by the names of transformers 4.34."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def _gelu_clipped(x: Tensor) -> Tensor:
    return functional.gelu(x).clamp(-10, 10)


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _relu_squared(x: Tensor) -> Tensor:
    return functional.relu(x).square()


def _laplace(x: Tensor) -> Tensor:
    mean, deviation = 0.707107, 0.282095
    return 0.5 * (1 + torch.erf((x - mean) / (deviation * math.sqrt(2))))


def _same(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: Mapping[str, Activation] = {
    "relu": functional.relu,
    "relu2": _relu_squared,
    "relu6": functional.relu6,
    "gelu": functional.gelu,
    "gelu_python": functional.gelu,
    "gelu_10": _gelu_clipped,
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh"), _gelu_tanh),
    "quick_gelu": _quick_gelu,
    **dict.fromkeys(("silu", "swish"), functional.silu),
    "mish": functional.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "laplace": _laplace,
    "linear": _same,
}
