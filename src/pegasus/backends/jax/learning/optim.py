"""The optimizers as functions of arrays: Adafactor as the authors ran it, AdamW, and Muon.

The formulas are those of the PyTorch backend, whose matrices are [out, in]; here they are [in, out], which
only Muon's factor for tall matrices notices. What is remembered of a weight is a dictionary of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from pegasus.backends.contract.learning import OptimSettings
from pegasus.errors import BadSetting

State = dict[str, jax.Array]
#: weight, gradient, state, rate, updates done → weight, state.
Rule = Callable[[jax.Array, jax.Array, State, jax.Array, jax.Array], tuple[jax.Array, State]]

MOMENTUM = 0.95
_A, _B, _C, _ROUNDS = 3.4445, -4.7750, 2.0315, 5


@dataclass(frozen=True)
class Leaf:
    """What an optimizer must know of a weight.

    Attributes:
        kind: that of ``spec.parameters``.
        table: whether its rows are tokens.
        axes: how many.
    """

    kind: str
    table: bool
    axes: int


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
    decay = settings.weight_decay if leaf.axes > 1 else 0.0
    match settings.name:
        case "adafactor":
            return _adafactor(relative=True, decay=0.0)
        case "adafactor-absolute":
            return _adafactor(relative=False, decay=decay)
        case "adamw":
            return _adam(settings.betas or (0.9, 0.999), settings.eps, decay, share=1.0)
        case "muon":
            if leaf.axes == 2 and not leaf.table:
                return _muon(settings.weight_decay)
            others = 0.15 * settings.rate if settings.others_rate is None else settings.others_rate
            return _adam(settings.betas or (0.9, 0.98), settings.eps, 0.0, others / settings.rate)
    raise BadSetting(
        f"unknown optimizer {settings.name!r}: use adafactor, adafactor-absolute, adamw or muon"
    )


def fresh_state(leaf: Leaf, weight: jax.Array, settings: OptimSettings) -> State:
    """What is remembered of a weight before its first update."""
    shape = weight.shape
    if settings.name.startswith("adafactor"):
        if leaf.axes < 2:
            return {"full": jnp.zeros(shape)}
        return {"row": jnp.zeros(shape[:-1]), "column": jnp.zeros(shape[1:])}
    if settings.name == "muon" and leaf.axes == 2 and not leaf.table:
        return {"momentum": jnp.zeros(shape)}
    return {"first": jnp.zeros(shape), "second": jnp.zeros(shape)}


def update_all(
    rules: Mapping[Any, Rule], weights: Any, gradients: Any, states: Any, rate: Any, updates: Any
) -> tuple[Any, Any]:
    """Change every weight."""
    changed = {
        path: rule(weights[path], gradients[path], states[path], rate, updates)
        for path, rule in rules.items()
    }
    return {path: one[0] for path, one in changed.items()}, {path: one[1] for path, one in changed.items()}


def _adafactor(relative: bool, decay: float) -> Rule:
    def change(weight: Any, slope: Any, state: State, rate: Any, updates: Any) -> tuple[Any, State]:
        keep = 1.0 - (updates + 1.0) ** -0.8
        square = slope * slope + 1e-30

        def blend(key: str, new: jax.Array) -> jax.Array:
            return keep * state[key] + (1 - keep) * new

        if slope.ndim < 2:
            known = {"full": blend("full", square)}
            update = slope * jax.lax.rsqrt(known["full"])
        else:
            known = {"row": blend("row", square.mean(-1)), "column": blend("column", square.mean(-2))}
            row = jax.lax.rsqrt(known["row"] / known["row"].mean())
            update = slope * row[:, None] * jax.lax.rsqrt(known["column"])[None]
        step = rate / jnp.maximum(jnp.sqrt((update * update).mean()), 1.0)
        if relative:
            step = step * jnp.maximum(jnp.sqrt((weight * weight).mean()), 1e-3)
        return weight * (1 - rate * decay) - step * update, known

    return change


def _adam(betas: tuple[float, float], eps: float, decay: float, share: float) -> Rule:
    slow, slower = betas

    def change(weight: Any, slope: Any, state: State, rate: Any, updates: Any) -> tuple[Any, State]:
        count, rate = updates + 1.0, rate * share
        first = slow * state["first"] + (1 - slow) * slope
        second = slower * state["second"] + (1 - slower) * slope * slope
        size = jnp.sqrt(second / (1 - slower**count)) + eps
        kept = weight * (1 - rate * decay)
        return kept - rate / (1 - slow**count) * first / size, {"first": first, "second": second}

    return change


def _muon(decay: float) -> Rule:
    def change(weight: Any, slope: Any, state: State, rate: Any, updates: Any) -> tuple[Any, State]:
        momentum = MOMENTUM * state["momentum"] + (1 - MOMENTUM) * slope
        direction = (1 - MOMENTUM) * slope + MOMENTUM * momentum
        into, out = weight.shape
        step = rate * math.sqrt(max(1.0, out / into))
        return weight * (1 - rate * decay) - step * orthogonal(direction).astype(weight.dtype), {
            "momentum": momentum
        }

    return change


def orthogonal(matrix: jax.Array) -> jax.Array:
    """The matrix with its singular values brought near 1, by Newton and Schulz in bfloat16."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.astype(jnp.bfloat16)
    size = jnp.sqrt((x.astype(jnp.float32) ** 2).sum()).astype(jnp.bfloat16)
    x = x / jnp.maximum(size, 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        inner = (
            _B * square.astype(jnp.float32)
            + _C * jnp.matmul(square, square, preferred_element_type=jnp.float32)
        ).astype(jnp.bfloat16)
        x = (_A * x.astype(jnp.float32) + jnp.matmul(inner, x, preferred_element_type=jnp.float32)).astype(
            jnp.bfloat16
        )
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
