"""What the feed-forward layers may use, by the names of transformers 4.34."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


def _laplace(values: jax.Array) -> jax.Array:
    mean, deviation = 0.707107, 0.282095
    return 0.5 * (1 + lax.erf((values - mean) / (deviation * math.sqrt(2))))


_gelu = partial(nn.gelu, approximate=False)
_gelu_tanh = partial(nn.gelu, approximate=True)

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "relu2": lambda values: jnp.square(nn.relu(values)),
    "relu6": nn.relu6,
    "gelu": _gelu,
    "gelu_python": _gelu,
    "gelu_10": lambda values: jnp.clip(_gelu(values), -10, 10),
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh"), _gelu_tanh),
    "quick_gelu": lambda values: values * nn.sigmoid(1.702 * values),
    **dict.fromkeys(("silu", "swish"), nn.silu),
    "mish": lambda values: values * jnp.tanh(nn.softplus(values)),
    "tanh": jnp.tanh,
    "sigmoid": nn.sigmoid,
    "laplace": _laplace,
    "linear": lambda values: values,
}
