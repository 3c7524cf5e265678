"""Activation functions by the names that configurations have for them."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf


def _laplace(values: tf.Tensor) -> tf.Tensor:
    mean, deviation = 0.707107, 0.282095
    return 0.5 * (1 + tf.math.erf((values - mean) / (deviation * math.sqrt(2))))


def _gelu(values: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(values)


def _gelu_tanh(values: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(values, approximate=True)


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "relu": tf.nn.relu,
    "relu2": lambda values: tf.square(tf.nn.relu(values)),
    "relu6": tf.nn.relu6,
    "gelu": _gelu,
    "gelu_python": _gelu,
    "gelu_10": lambda values: tf.clip_by_value(_gelu(values), -10, 10),
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh"), _gelu_tanh),
    "quick_gelu": lambda values: values * tf.sigmoid(1.702 * values),
    **dict.fromkeys(("silu", "swish"), tf.nn.silu),
    "mish": lambda values: values * tf.tanh(tf.nn.softplus(values)),
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "laplace": _laplace,
    "linear": lambda values: values,
}
