"""Sizes that are compiled for: few of them, so that most calls find a program that is there already.

With sizes rounded up, the number of programs grows with the logarithm of the largest size.
"""

from __future__ import annotations

import numpy as np

#: The least numbers of source tokens and of places of a memory that are compiled for.
LEAST_SOURCE = 16
LEAST_PLACES = 32


def doubled(size: int, least: int = 1) -> int:
    """The first of ``least`` times 1, 2, 4, 8 ... that holds ``size``."""
    found = least
    while found < size:
        found *= 2
    return found


def stepped(size: int, least: int = LEAST_SOURCE) -> int:
    """As ``doubled``, with one size in between: 16, 24, 32, 48, 64, 96 ..."""
    found = doubled(size, least)
    between = found * 3 // 4
    return between if size <= between and between > least else found


def padded(array: np.ndarray, shape: tuple[int, ...], value: float = 0) -> np.ndarray:
    """An array with more of ``value`` behind each axis."""
    if array.shape == shape:
        return array
    wider: np.ndarray = np.full(shape, value, dtype=array.dtype)
    wider[tuple(slice(size) for size in array.shape)] = array
    return wider
