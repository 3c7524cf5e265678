"""Dropout with a mask for every number (transformers), or with one shared along some axes (the authors).

The authors' code keeps memory low by sharing: along the positions of a text for states and feed-forward
activations, along texts and heads for attention probabilities. The expectation is the same, the noise of
training is not.

On a CPU, PyTorch draws each number of a mask for itself and keeps it in four bytes. Here four come out of
every draw of 64 bits, which takes three fifths of the time, and each is kept in one byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

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
    steps = round(rate * _STEPS)
    if values.device.type != "cpu" or not 0 < steps < _STEPS:
        return functional.dropout(values, p=rate)
    dropped: Tensor = _Dropped.apply(values, steps)
    return dropped


class _Dropped(torch.autograd.Function):
    """Dropout by 16 random bits a number; the rate is rounded to a 65,536th."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, steps: int) -> Tensor:  # type: ignore[override]
        count = values.numel()
        bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
        gone = (bits.view(torch.int16)[:count] < steps - _STEPS // 2).view(values.shape)
        ctx.save_for_backward(gone)
        ctx.scale = _STEPS / (_STEPS - steps)
        return values.masked_fill(gone, 0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (gone,) = ctx.saved_tensors
        return grads[0].masked_fill(gone, 0).mul_(ctx.scale), None
