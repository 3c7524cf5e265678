"""Who computes which part: claims in a folder that processes on many machines share.

A claim is a file that only one can create (O_EXCL, which network file systems keep to; locks they often do
not). It says who made it, and a count that its maker raises every few seconds. No clock is compared with
another machine's: who would like to have the part watches the count. Where it stands still for a minute, or
where its maker was a process of this machine that is gone, the part belongs to whoever first creates the
next file, `00003.1.claim` after `00003.0.claim`. The one who had it finds that out before its next batch;
until then it writes into files of its own, so that nothing of the new one's can be damaged.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pegasus.cli.replacement import write_all
from pegasus.cli.streams import naming

#: Seconds between two counts, and without one until a claim is stale.
BEAT = 5.0
STALE = 60.0
_RELEASED = "released"


@dataclass(frozen=True)
class Claim:
    """A part that this process has.

    Attributes:
        unit: the part's name.
        turn: how many had it before.
        folder: where claims are.
    """

    unit: str
    turn: int
    folder: Path

    @property
    def path(self) -> Path:
        """Its file."""
        return _path(self.folder, self.unit, self.turn)

    def is_lost(self) -> bool:
        """Whether another has taken it over, or all claims were tidied away."""
        return _path(self.folder, self.unit, self.turn + 1).exists() or not self.path.exists()


class Claims:
    """The claims of one process; a thread raises the counts of those that it has, until it is closed.

    Args:
        folder: where they are.
        beat: seconds between two counts.
        stale: seconds without one after which a claim may be taken over.
    """

    def __init__(self, folder: Path, *, beat: float = BEAT, stale: float = STALE) -> None:
        self.folder, self.stale, self._beat = folder, stale, beat
        self._maker = _this_process()
        self._held: dict[str, Claim] = {}
        self._watched: dict[Path, tuple[str, float]] = {}
        self._count = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._raise_counts, daemon=True, name="claims")
        self._thread.start()

    def take(self, unit: str) -> Claim | None:
        """Claim a part; None where somebody else has it.

        Raises:
            WriteFailed: nothing can be written there.
        """
        turn = 0
        while (path := _path(self.folder, unit, turn)).exists():
            turn += 1
        if turn and not self._is_free(_path(self.folder, unit, turn - 1)):
            return None
        with naming(path):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                return None
            try:
                write_all(descriptor, self._says().encode())
            except OSError:  # a full disk: nobody shall wait for a claim that does not say whose it is
                path.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
        self._held[unit] = claim = Claim(unit, turn, self.folder)
        return claim

    def _is_free(self, path: Path) -> bool:
        """Whether a claim has nobody any more."""
        try:
            said = path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return False  # just tidied away: the next look tells
        if said.startswith(_RELEASED) or _is_gone(said, self._maker):
            return True
        before, since = self._watched.get(path, ("", 0.0))
        if said != before or not since:
            self._watched[path] = (said, time.monotonic())
            return False
        return time.monotonic() - since > self.stale

    def release(self, claim: Claim) -> None:
        """Let others have a part at once."""
        self._held.pop(claim.unit, None)
        _put(claim.path, _RELEASED)

    def _raise_counts(self) -> None:
        while not self._closed.wait(self._beat):
            self._count += 1
            for claim in list(self._held.values()):
                _put(claim.path, self._says())

    def _says(self) -> str:
        return f"{json.dumps(self._maker)} {self._count:012d}\n"

    def close(self) -> None:
        """Release all that it has."""
        self._closed.set()
        self._thread.join()
        for claim in list(self._held.values()):
            self.release(claim)


def is_released(folder: Path, unit: str, turn: int) -> bool:
    """Whether the one who had a part in some turn has left it in good order."""
    with contextlib.suppress(OSError):
        return _path(folder, unit, turn).read_text("utf-8", "replace").startswith(_RELEASED)
    return False


def _path(folder: Path, unit: str, turn: int) -> Path:
    return folder / f"{unit}.{turn}.claim"


def _put(path: Path, said: str) -> None:
    """Write over what a claim says; one that was tidied away is not made again."""
    with contextlib.suppress(OSError):  # a full disk: others will think it stale, which does no harm
        descriptor = os.open(path, os.O_WRONLY)
        try:
            write_all(descriptor, said.encode())
        finally:
            os.close(descriptor)


def _this_process() -> dict[str, str | int]:
    """What tells this process from all others; `machine` is this boot, and this namespace of processes."""
    boot, space = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        space = os.readlink("/proc/self/ns/pid")
    machine = f"{boot} {space}" if boot and space else ""
    pid = os.getpid()
    return {"host": socket.gethostname(), "machine": machine, "pid": pid, "began": _began(pid)}


def _began(pid: int) -> str:
    """When a process began, in ticks since the boot; "" where there is none of that number."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    return ""


def _is_gone(said: str, here: dict[str, str | int]) -> bool:
    """Whether a claim's maker was a process of this machine that is no longer there."""
    try:
        maker = json.JSONDecoder().raw_decode(said)[0]
        same = bool(here["machine"]) and maker["machine"] == here["machine"]
        return same and _began(int(maker["pid"])) != maker["began"]
    except (ValueError, KeyError, TypeError):
        return False  # half written
