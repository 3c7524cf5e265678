"""Dropout with a mask for every number (transformers), or with one shared along some axes (the authors).

The authors' code keeps memory low by sharing: along the positions of a text for states and feed-forward
activations, along texts and heads for attention probabilities. The expectation is the same, the noise of
training is not.

On a CPU, PyTorch draws each number of a mask for itself and keeps it in four bytes. Here four come out of
every draw of 64 bits, which takes three fifths of the time, and each is kept in one byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pegasus.backends.torch.compatibility.tracing import traced

_STEPS = 2**16


def dropout(values: Tensor, rate: float, training: bool, shared: Sequence[int] = ()) -> Tensor:
    """Set a share of the numbers to zero and scale up the rest, in training; else the values themselves.

    Args:
        values: any tensor.
        rate: the share.
        training: whether anything is done.
        shared: axes along which all numbers share one fate.
    """
    if not training or rate == 0:
        return values
    if shared:
        shape = [1 if axis in shared else size for axis, size in enumerate(values.shape)]
        return values * functional.dropout(values.new_ones(shape), p=rate)
    if rate == 1 or not takes_own_ways(values):
        return functional.dropout(values, p=rate)
    dropped: Tensor = _Dropped.apply(values, rate)
    return dropped


def takes_own_ways(values: Tensor) -> bool:
    """Whether what is written here for CPUs serves: not in a graph, which a compiler makes fast."""
    in_a_graph = traced(values) or torch.compiler.is_compiling()
    return not in_a_graph and bool(values.device.type == "cpu")


def relu_dropout(values: Tensor, rate: float) -> Tensor:
    """``dropout(relu(values))`` in training on a CPU, which keeps nothing but its own result.

    Args:
        values: overwritten.
        rate: above 0 and below 1.
    """
    dropped: Tensor = _ReluDropped.apply(values, rate)
    return dropped


def draw(shape: Sequence[int], rate: float) -> tuple[Tensor, float]:
    """Which numbers stay (1) and which go (0), and what those that stay are multiplied by.

    The rate is rounded to a 65,536th. Multiplying by whole numbers is several times as fast on a CPU as
    filling by a mask of truth values.
    """
    count, steps = math.prod(shape), min(round(rate * _STEPS), _STEPS - 1)
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16).ge_(steps - _STEPS // 2)[:count].to(torch.int8)
    return kept.view(shape), _STEPS / (_STEPS - steps)


class _Dropped(torch.autograd.Function):
    """Dropout by 16 random bits a number."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rate: float) -> Tensor:  # type: ignore[override]
        kept, ctx.scale = draw(values.shape, rate)
        ctx.save_for_backward(kept)
        return (values * ctx.scale).mul_(kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (grads[0] * ctx.scale).mul_(kept), None


class _ReluDropped(torch.autograd.Function):
    """Zero where relu or chance made it so, and only there: the result says all that the gradient needs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rate: float) -> Tensor:  # type: ignore[override]
        kept, ctx.scale = draw(values.shape, rate)
        found = values.mul_(ctx.scale).mul_(kept).relu_()
        ctx.mark_dirty(values)
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (found,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grads[0], found, 0).mul_(ctx.scale), None
