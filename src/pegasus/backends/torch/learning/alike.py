"""Weights of one shape, which an optimizer changes together: on a GPU it is launches that take the time.

The parts of weights that are spread over processes by rows (FSDP2) are those that are here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

#: Numbers that are worth a launch: 256 MiB in float32.
LARGE = 2**26


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def alike(weights: Sequence[Tensor], together: int | None = None) -> Iterator[list[Tensor]]:
    """Weights of one shape, dtype and device, in lists.

    Every process makes the same lists, whatever rows it holds.

    Args:
        weights: in any order.
        together: numbers of the weights of a list at most; one weight may have more. None: ``LARGE`` on a
            GPU, and one weight at a time on a CPU, where that saves memory and costs nothing.
    """
    groups: dict[tuple[torch.Size, torch.dtype, torch.device, bool], list[Tensor]] = {}
    for weight in weights:
        key = weight.shape, weight.dtype, weight.device, isinstance(weight, DTensor)
        groups.setdefault(key, []).append(weight)
    for group in groups.values():
        usual = 0 if group[0].device.type == "cpu" else LARGE
        count = max(1, (usual if together is None else together) // max(1, group[0].numel()))
        for start in range(0, len(group), count):
            yield group[start : start + count]
