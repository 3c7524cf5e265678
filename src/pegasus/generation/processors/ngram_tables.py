"""Looking up what follows a run of tokens, in time that does not depend on how long a text has become."""

from __future__ import annotations

import copy
from functools import lru_cache

import numpy as np

_FOLD = 0x9E3779B97F4A7C15
_BITS = 5
_SPLIT = 1 << _BITS
#: The highest ten bits of a product say in which of 32 · 32 slots a key belongs.
_MIX, _HIGHEST = np.uint64(_FOLD), np.uint64(64 - 2 * _BITS)


@lru_cache(maxsize=64)
def _weights(width: int) -> np.ndarray:
    """What the tokens of a run are multiplied by; products and sums are taken modulo 2^64."""
    base = 1 << 21 if width <= 3 else _FOLD
    return np.array([pow(base, width - 1 - place, 1 << 64) for place in range(width)], dtype=np.uint64)


def keys_of(windows_NW: np.ndarray) -> np.ndarray:
    """One 64-bit number per run of tokens.

    Up to three tokens are packed, so equal numbers mean equal runs; longer runs are folded, and two
    different ones share a number once in 10^19.
    """
    keys_N: np.ndarray = (windows_NW + 1).astype(np.uint64) @ _weights(windows_NW.shape[1])
    return keys_N


class RunTable:
    """Fixed runs of tokens → values, looked up for many rows at once.

    Args:
        keys_N: one number per run (``keys_of``); a key may occur several times.
        values_N: what is kept for each.
    """

    def __init__(self, keys_N: np.ndarray, values_N: np.ndarray) -> None:
        order = np.argsort(keys_N, kind="stable")
        self._keys_N, self._values_N = keys_N[order], values_N[order]

    def find(self, keys_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All values under each key, as pairs (row, value)."""
        first_R = np.searchsorted(self._keys_N, keys_R, side="left")
        count_R = np.searchsorted(self._keys_N, keys_R, side="right") - first_R
        rows_N = np.repeat(np.arange(len(keys_R)), count_R)
        within_N = np.arange(len(rows_N)) - np.repeat(np.cumsum(count_R) - count_R, count_R)
        return rows_N, self._values_N[np.repeat(first_R, count_R) + within_N]


class _Growing:
    """An array that only grows; what is in it never changes, so many may share it."""

    def __init__(self, width: tuple[int, ...], dtype: type) -> None:
        self.array: np.ndarray = np.zeros((1024, *width), dtype=dtype)
        self.count = 0

    def append(self, rows: np.ndarray) -> int:
        """Adds rows and says where the first of them is."""
        first, self.count = self.count, self.count + len(rows)
        while self.count > len(self.array):
            self.array = np.concatenate([self.array, np.zeros_like(self.array)])
        self.array[first : self.count] = rows
        return first


class RowTables:
    """A table key → values for every row, carried along when rows are reordered or copied.

    Each table is a tree of two levels, 32 · 32 slots, of which only the root (32 numbers) belongs to a
    row: to copy a row is to copy its root, to add to it is to write one new block of 32. Values under
    one slot form a chain. Nothing is ever overwritten, so rows share what they have in common, and
    neither copying nor adding grows with what is stored.
    """

    def __init__(self, rows: int) -> None:
        self._blocks = _Growing((_SPLIT,), np.int64)
        self._keys = _Growing((), np.uint64)
        self._values = _Growing((), np.int64)
        self._before = _Growing((), np.int64)
        self._blocks.append(np.full((1, _SPLIT), -1))
        self._roots_RS = np.zeros((rows, _SPLIT), dtype=np.int64)
        self._rows_R = np.arange(rows)

    def fork(self) -> RowTables:
        """Tables that go on from here on their own."""
        return copy.copy(self)

    def reorder(self, parents_R: np.ndarray) -> None:
        """Row r carries on what was row ``parents_R[r]``."""
        self._roots_RS = self._roots_RS[parents_R]
        if len(parents_R) != len(self._rows_R):
            self._rows_R = np.arange(len(parents_R))

    def put(self, keys_R: np.ndarray, values_R: np.ndarray) -> None:
        """Adds one value under one key in each row, after a ``reorder``."""
        rows_R, (high_R, low_R) = self._rows_R, self._slots(keys_R)
        blocks_RS = self._blocks.array[self._roots_RS[rows_R, high_R]]
        self._before.append(blocks_RS[rows_R, low_R])
        self._values.append(values_R)
        blocks_RS[rows_R, low_R] = self._keys.append(keys_R) + rows_R
        self._roots_RS[rows_R, high_R] = self._blocks.append(blocks_RS) + rows_R

    def find(self, keys_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All values under one key in each row, as pairs (row, value)."""
        high_R, low_R = self._slots(keys_R)
        at_N = self._blocks.array[self._roots_RS[self._rows_R, high_R], low_R]
        rows_N = self._rows_R
        rows, values = [], []
        while (live := at_N >= 0).any():
            at_N, rows_N = at_N[live], rows_N[live]
            same = self._keys.array[at_N] == keys_R[rows_N]
            rows.append(rows_N[same])
            values.append(self._values.array[at_N[same]])
            at_N = self._before.array[at_N]
        return (np.concatenate(rows), np.concatenate(values)) if rows else (rows_N[:0], at_N[:0])

    @staticmethod
    def _slots(keys_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slots_R = ((keys_R * _MIX) >> _HIGHEST).view(np.int64)
        return slots_R >> _BITS, slots_R & (_SPLIT - 1)
