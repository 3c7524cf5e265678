"""Free memory is given back, and not too often."""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path

import numpy as np
import pytest

from pegasus.serving.memory import Trimmer, trim_heap


def test_memory_is_given_back_from_time_to_time():
    times, trimmed = iter([0.0, 1.0, 19.0, 20.0, 20.0, 39.0, 41.0, 41.0]), []
    trimmer = Trimmer(lambda: trimmed.append(True), lambda: next(times))
    counts = []
    for _ in range(5):
        trimmer.after_work()
        counts.append(len(trimmed))
    assert counts == [0, 0, 1, 1, 2]


def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_holes_in_the_heap_go_back_to_the_system():
    # Pieces below the size from which the library asks the system for each alone, with some kept between.
    pieces = [np.ones(12_000, np.uint8) for _ in range(8000)]
    kept = pieces[::40]
    full = held()
    del pieces
    trim_heap()
    assert full - held() > 60e6
    assert all(one.all() for one in kept)


def test_an_engine_room_gives_back_what_it_worked_with(serving):
    with serving() as one:
        trimmed = []
        one.server.room._engine._trimmer = Trimmer(
            lambda: trimmed.append(True), iter(range(0, 10_000, 25)).__next__
        )
        for _ in range(3):
            one.client.post("/v1/summarize", json={"document": "One two three four five."})
        assert len(trimmed) == 3
