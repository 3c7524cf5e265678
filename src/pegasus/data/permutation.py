"""An order of any number of rows that is computed where it is looked at, and stored nowhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_ROUNDS = 4


def permuted(places: Ints, size: int, key: tuple[int, ...]) -> Ints:
    """Return which row stands at each of these places of a shuffled order.

    A Feistel network: a number's two halves are mixed into each other in turn, which can be undone and so
    gives each row once. It works on powers of four; what falls outside is sent through again.

    Args:
        places: numbers from 0 to `size` - 1.
        size: how many rows there are.
        key: the numbers that choose the order.
    """
    bits = max((size - 1).bit_length() + 1, 2) // 2
    keys = np.random.default_rng(list(key)).integers(0, 2**63, _ROUNDS, np.uint64)
    rows = _mixed(places.astype(np.uint64), bits, keys)
    while (outside := rows >= size).any():
        rows[outside] = _mixed(rows[outside], bits, keys)
    return rows.astype(np.int64)


def _mixed(
    numbers: npt.NDArray[np.uint64], bits: int, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    half, low = np.uint64(bits), np.uint64((1 << bits) - 1)
    left, right = numbers >> half, numbers & low
    for key in keys:
        mixed = (right + key) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        left, right = right, left ^ ((mixed >> np.uint64(32)) & low)
    return (left << half) | right
