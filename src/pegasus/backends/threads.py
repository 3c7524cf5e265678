"""How many threads compute: as many as were asked for, if that makes sense, or one for each core."""

from __future__ import annotations

import logging
import operator
import os
from pathlib import Path
from typing import Any

from pegasus.errors import BadSetting

logger = logging.getLogger(__name__)


def processors() -> int:
    """How many processors this machine has."""
    return os.cpu_count() or 1


def threads_for(count: Any = None, name: str = "threads") -> int:
    """The number of threads that somebody asked for, or the usual one.

    Threads beyond the processors only wait for each other, and a system does not start any number of them.

    Args:
        count: what was asked for; None: ``usual_threads()``.
        name: what the asker calls it.

    Raises:
        BadSetting: it is no whole number, below 1, or more than this machine has processors.
    """
    if count is None:
        return usual_threads()
    most = processors()
    try:
        number = operator.index(count)
    except TypeError:
        number = 0
    if isinstance(count, bool) or not 1 <= number <= most:
        kind = "processor" if most == 1 else "processors"
        raise BadSetting(
            f"{name} must be a whole number from 1 to {most}, as this machine has {most} {kind}; "
            f"found {count!r}."
        )
    return number


def usual_threads() -> int:
    """OMP_NUM_THREADS, or the cores that this process may use; two threads of one core count as one.

    Where it says more than there are processors, which may be meant for other programs, those are all.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isascii() and asked.isdigit() and asked.strip("0"):
        most = processors()
        if len(asked) > 9 or int(asked) > most:
            logger.warning(
                "OMP_NUM_THREADS=%.20s: this machine has %d, so many threads compute", asked, most
            )
            return most
        return int(asked)
    # Windows and macOS have no affinity to ask for.
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else processors()
    shared = Path("/sys/devices/system/cpu/smt/active")
    paired = shared.is_file() and shared.read_text().strip() == "1"
    return max(1, count // 2 if paired else count)
