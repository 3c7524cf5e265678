"""The optimizers as functions of tensors: Adafactor as the authors ran it, AdamW, and Muon.

The formulas are those of the PyTorch backend, whose matrices are [out, in]; here they are [in, out], which
only Muon's factor for tall matrices notices. What is remembered of a weight is a dictionary of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pegasus.backends.contract.learning import OptimSettings
from pegasus.errors import BadSetting

State = dict[str, Any]
#: weight, gradient, state, rate, updates done → weight, state.
Rule = Callable[[Any, tf.Tensor, State, tf.Tensor, tf.Tensor], tuple[tf.Tensor, State]]

MOMENTUM = 0.95
_A, _B, _C, _ROUNDS = 3.4445, -4.7750, 2.0315, 5


@dataclass(frozen=True)
class Leaf:
    """What an optimizer must know of a weight: whether its rows are tokens, and its shape."""

    table: bool
    shape: tuple[int, ...]

    @property
    def turned(self) -> bool:
        """Whether Muon changes it: a matrix inside a layer."""
        return len(self.shape) == 2 and not self.table


def rule_for(leaf: Leaf, settings: OptimSettings) -> Rule:
    """How a weight is changed.

    Raises:
        BadSetting: the settings contradict each other.
    """
    if settings.name == "adafactor" and settings.weight_decay:
        raise BadSetting(
            f"weight_decay is {settings.weight_decay}, and the authors' Adafactor has none: set it to 0, "
            "or take adamw or adafactor-absolute"
        )
    decay = settings.weight_decay if len(leaf.shape) > 1 else 0.0
    match settings.name:
        case "adafactor":
            return _adafactor(relative=True, decay=0.0)
        case "adafactor-absolute":
            return _adafactor(relative=False, decay=decay)
        case "adamw":
            return _adam(settings.betas or (0.9, 0.999), settings.eps, decay, share=1.0)
        case "muon":
            if leaf.turned:
                return _muon(settings.weight_decay)
            others = 0.15 * settings.rate if settings.others_rate is None else settings.others_rate
            return _adam(settings.betas or (0.9, 0.98), settings.eps, 0.0, others / settings.rate)
    raise BadSetting(
        f"unknown optimizer {settings.name!r}: use adafactor, adafactor-absolute, adamw or muon"
    )


def state_shapes(leaf: Leaf, settings: OptimSettings) -> dict[str, tuple[int, ...]]:
    """What is remembered of a weight; zeros before its first update."""
    if settings.name.startswith("adafactor"):
        if len(leaf.shape) < 2:
            return {"full": leaf.shape}
        return {"row": leaf.shape[:-1], "column": leaf.shape[1:]}
    if settings.name == "muon" and leaf.turned:
        return {"momentum": leaf.shape}
    return {"first": leaf.shape, "second": leaf.shape}


def _size(values: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(values * values))


def _adafactor(relative: bool, decay: float) -> Rule:
    def change(weight: Any, slope: Any, state: State, rate: Any, updates: Any) -> tuple[Any, State]:
        keep = 1.0 - tf.pow(updates + 1.0, -0.8)
        square = slope * slope + 1e-30

        def blend(key: str, new: tf.Tensor) -> tf.Tensor:
            return keep * state[key] + (1 - keep) * new

        if "full" in state:
            known = {"full": blend("full", square)}
            update = slope * tf.math.rsqrt(known["full"])
        else:
            known = {
                "row": blend("row", tf.reduce_mean(square, -1)),
                "column": blend("column", tf.reduce_mean(square, -2)),
            }
            row = tf.math.rsqrt(known["row"] / tf.reduce_mean(known["row"]))
            update = slope * row[:, None] * tf.math.rsqrt(known["column"])[None]
        step = rate / tf.maximum(_size(update), 1.0)
        if relative:
            step = step * tf.maximum(_size(weight), 1e-3)
        return weight * (1 - rate * decay) - step * update, known

    return change


def _adam(betas: tuple[float, float], eps: float, decay: float, share: float) -> Rule:
    slow, slower = betas

    def change(weight: Any, slope: Any, state: State, rate: Any, updates: Any) -> tuple[Any, State]:
        count, rate = updates + 1.0, rate * share
        first = slow * state["first"] + (1 - slow) * slope
        second = slower * state["second"] + (1 - slower) * slope * slope
        size = tf.sqrt(second / (1 - tf.pow(slower, count))) + eps
        kept = weight * (1 - rate * decay)
        return kept - rate / (1 - tf.pow(slow, count)) * first / size, {"first": first, "second": second}

    return change


def _muon(decay: float) -> Rule:
    def change(weight: Any, slope: Any, state: State, rate: Any, updates: Any) -> tuple[Any, State]:
        momentum = MOMENTUM * state["momentum"] + (1 - MOMENTUM) * slope
        direction = (1 - MOMENTUM) * slope + MOMENTUM * momentum
        into, out = weight.shape
        step = rate * math.sqrt(max(1.0, out / into))
        moved = step * tf.cast(orthogonal(direction), slope.dtype)
        return weight * (1 - rate * decay) - moved, {"momentum": momentum}

    return change


def orthogonal(matrix: tf.Tensor) -> tf.Tensor:
    """The matrix with its singular values brought near 1, by Newton and Schulz in bfloat16."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = tf.cast(tf.transpose(matrix) if tall else matrix, tf.bfloat16)
    size = tf.cast(tf.sqrt(tf.reduce_sum(tf.cast(x, tf.float32) ** 2)), tf.bfloat16)
    x = x / tf.maximum(size, tf.cast(1e-7, tf.bfloat16))

    def product(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        """Of numbers of 16 bits, with their sums kept in 32."""
        return tf.matmul(tf.cast(one, tf.float32), tf.cast(other, tf.float32))

    for _ in range(_ROUNDS):
        square = tf.cast(product(x, tf.transpose(x)), tf.bfloat16)
        inner = tf.cast(_B * tf.cast(square, tf.float32) + _C * product(square, square), tf.bfloat16)
        x = tf.cast(_A * tf.cast(x, tf.float32) + product(inner, x), tf.bfloat16)
    return tf.transpose(x) if tall else x
