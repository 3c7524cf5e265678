"""Memory that is free goes back to the system: a C library keeps it, in pieces that grow apart."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache

_SELDOM = 20.0  # seconds: looking through everything takes some milliseconds


class Trimmer:
    """Gives free memory back from time to time.

    Batches of ever other sizes leave holes between what is kept, as if a server grew without end.

    Args:
        trim: gives back what is free.
        clock: seconds.
    """

    def __init__(
        self, trim: Callable[[], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._trim, self._clock = trim or trim_heap, clock
        self._last = clock()

    def after_work(self) -> None:
        """Something was computed and its memory is free: give back, unless that was done a moment ago."""
        if self._clock() - self._last >= _SELDOM:
            self._trim()
            self._last = self._clock()


def trim_heap() -> None:
    """Give back what the C library holds and nobody uses, where it has a function for that."""
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl and macOS have not
