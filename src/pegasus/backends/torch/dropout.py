"""Dropout with a mask for every number (transformers), or with one shared along some axes (the authors).

The authors' code keeps memory low by sharing: along the positions of a text for states and feed-forward
activations, along texts and heads for attention probabilities. The expectation is the same, the noise of
training is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def dropout(values: Tensor, rate: float, training: bool, shared: Sequence[int] = ()) -> Tensor:
    """Set a share of the numbers to zero and scale up the rest, in training; else the values themselves.

    Args:
        values: any tensor.
        rate: the share.
        training: whether anything is done.
        shared: axes along which all numbers share one fate.
    """
    if not shared or not training or rate == 0:
        return functional.dropout(values, p=rate, training=training)
    shape = [1 if axis in shared else size for axis, size in enumerate(values.shape)]
    return values * functional.dropout(values.new_ones(shape), p=rate)
