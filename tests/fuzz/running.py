"""Running one case of a fuzzing in a process of its own: what it may do, and what is a fault.

A case is a call that must end in an answer or in one of our errors. Any other exception, a signal, a
minute without an end or two gigabytes of memory is a fault. The processes are copies of one that has
imported everything, so that a case costs milliseconds.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SECONDS, BYTES = 60, 2 << 30
#: Exit codes of the command: done, failed, partly, wrong use, stopped by the fuzzed setting itself.
CODES = (0, 1, 2, 3)
_FAULT = 99


@dataclass(frozen=True)
class Case:
    """Something to try.

    Attributes:
        name: how to do it again, in words.
        call: does it, and returns the exit code of a command, or None.
    """

    name: str
    call: Callable[[], int | None]


class Kind(Protocol):
    """A module with cases of one kind."""

    def prepare(self, place: Path) -> Path:
        """Make what all cases share, and import what they import."""
        ...

    def case(self, chance: random.Random, source: Path, place: Path) -> Case:
        """Draw a case."""
        ...


def run_cases(kind: Kind, name: str, seed: int, minutes: float, only: int | None = None) -> int:
    """Run cases until the time is over, or one; return how many faults there were, at most 99."""
    until, number, faults = time.monotonic() + 60 * minutes, only or 0, 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        place = Path(folder)
        source = kind.prepare(place)
        while time.monotonic() < until:
            case = kind.case(random.Random(f"{seed}-{number}"), source, place)
            if (fault := fault_of(case, place)) is not None:
                faults += 1
                print(f"{name} --seed {seed} --case {number}: {case.name}\n{fault.strip()}\n", flush=True)
            number += 1
            if only is not None:
                print(case.name, (place / "printed.txt").read_text(errors="replace"), sep="\n")
                break
    print(f"{number - (only or 0):,} cases, {faults} findings")
    return min(faults, 99)


def fault_of(case: Case, place: Path) -> str | None:
    """Try a case; what went wrong, or None.

    Args:
        case: is called in a process of its own.
        place: a folder for what it prints.
    """
    printed = place / "printed.txt"
    child = os.fork()
    if child == 0:
        _try(case, printed)
    began = time.monotonic()
    while True:
        done, status, _ = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - began > SECONDS:
            os.kill(child, signal.SIGKILL)
            os.wait4(child, 0)
            return f"no end after {SECONDS} s"
        time.sleep(0.005)
    text = printed.read_text(encoding="utf-8", errors="replace")
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}: {text[-1500:]}"
    if "unexpected " in text or "Traceback" in text or os.WEXITSTATUS(status) == _FAULT:
        return text[-3000:]
    code = os.WEXITSTATUS(status)
    return None if code in CODES else f"exit code {code}: {text[-1500:]}"


def _try(case: Case, printed: Path) -> None:
    """Do it, and leave the process without tidying up what belongs to its parent."""
    code = _FAULT
    with printed.open("w", encoding="utf-8") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = sys.stderr = out
        faulthandler.enable(out)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        code = _code(case)
        with contextlib.suppress(ValueError):
            out.flush()
    os._exit(code)


def _code(case: Case) -> int:
    from pegasus.errors import PegasusError

    try:
        return case.call() or 0
    except PegasusError as error:
        print(error)
        return 1
    except SystemExit as leaving:  # argparse
        return leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return _FAULT
