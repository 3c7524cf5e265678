"""Starting a kernel: the one place where Triton is told to run something.

Tests put another function in the place of ``start`` to see what would be run, and compile it without a GPU.
"""

from __future__ import annotations

from typing import Any

import torch


def start(
    kernel: Any, grid: tuple[int, ...], *given: Any, warps: int = 4, stages: int = 2, **constants: Any
) -> None:
    """Runs a kernel once for each cell of a grid.

    Args:
        kernel: what ``triton.jit`` made.
        grid: how many programs, in up to three directions.
        given: tensors and numbers, in the kernel's order; the first is a tensor.
        warps: of 32 threads each, in a program.
        stages: how many turns ahead the loads of a loop run.
        constants: what the kernel is compiled for.
    """
    with torch.cuda.device_of(given[0]):
        kernel[grid](*given, num_warps=warps, num_stages=stages, **constants)


def power(number: int, least: int = 1) -> int:
    """The power of two that holds ``number``, and at least ``least``: sizes of blocks are powers of two."""
    return max(least, 1 << max(0, number - 1).bit_length())


def blocks(number: int, size: int) -> int:
    """How many blocks of a size hold ``number``."""
    return -(-number // size)
