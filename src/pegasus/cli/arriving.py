"""Items in windows, as they arrive: what a pipe holds so far is summarized without waiting for its end."""

from __future__ import annotations

import os
import queue
import stat
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pegasus.cli.inputs import Input, Item

#: How long the first item of a window waits for company, in seconds.
_PATIENCE = 0.05
_END: Any = object()


def windows(items: Iterator[Item], most: int, inputs: Sequence[Input]) -> Iterator[list[Item]]:
    """Yield items in windows that are computed together.

    Args:
        items: the items.
        most: items of a window.
        inputs: where they come from. From files windows are full; from what comes bit by bit (a pipe, a
            terminal) a window is what has arrived.

    Raises:
        Exception: what `items` raises, after what came before it.
    """
    if any(_comes_bit_by_bit(each) for each in inputs):
        return _arrived(_read_ahead(items, most), most)
    return _full(items, most)


def _comes_bit_by_bit(each: Input) -> bool:
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode if each.path is None else Path(each.path).stat().st_mode
    except (OSError, ValueError, AttributeError):  # nothing there, closed, or no file at all
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _full(items: Iterator[Item], most: int) -> Iterator[list[Item]]:
    while window := list(islice(items, most)):
        yield window


def _read_ahead(items: Iterator[Item], most: int) -> queue.Queue[Any]:
    """Read in a thread, at most one window ahead: reading from a pipe cannot be interrupted."""
    ahead: queue.Queue[Any] = queue.Queue(most)

    def read() -> None:
        try:
            for item in items:
                ahead.put(item)
        except BaseException as error:
            ahead.put(error)
        ahead.put(_END)

    threading.Thread(target=read, daemon=True, name="reading").start()
    return ahead


def _arrived(ahead: queue.Queue[Any], most: int) -> Iterator[list[Item]]:
    going = True
    while going:
        window: list[Item] = []
        failure: BaseException | None = None
        until = None
        while len(window) < most:
            try:
                found = ahead.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if found is _END or isinstance(found, BaseException):
                going, failure = False, None if found is _END else found
                break
            window.append(found)
            until = until or time.monotonic() + _PATIENCE
        if window:
            yield window
        if failure is not None:
            raise failure
