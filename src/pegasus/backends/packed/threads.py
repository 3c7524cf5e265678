"""How many threads compute where nobody says so."""

from __future__ import annotations

import os
from pathlib import Path


def usual_threads() -> int:
    """OMP_NUM_THREADS, or the cores that this process may use; two threads of one core count as one."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    # Windows and macOS have no affinity to ask for.
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared = Path("/sys/devices/system/cpu/smt/active")
    paired = shared.is_file() and shared.read_text().strip() == "1"
    return max(1, count // 2 if paired else count)
