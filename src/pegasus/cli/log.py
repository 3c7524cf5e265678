"""What an unfinished run has done, as a file: which run it is, then a line for each thing that is done.

The file only grows. Whatever kills its writer, what it says in whole lines is true; half a line at its end
is dropped by the next who opens it. Only one process can have it open.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pegasus.cli.replacement import write_all
from pegasus.cli.streams import naming
from pegasus.errors import BadSetting

_FORMAT = 1
_FINISHED = re.compile(r"finished (\d{1,15}) (\d{1,15})")


class Log:
    """An append-only file of lines, tied to a run by its first.

    Args:
        path: the file; made where there is none.

    Raises:
        BadSetting: another process has it open.
        WriteFailed: it cannot be made.

    Attributes:
        finished: how many things were done, and how many of them are errors, where all are done and only
            the output's move to its place, or what comes after that, may be missing; None before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.finished: tuple[int, int] | None = None
        with naming(path):
            self._descriptor = _lock(path)
        self.run, self._lines = self._read()
        if self._lines and (match := _FINISHED.fullmatch(self._lines[-1])):
            self._lines.pop()
            self.finished = int(match[1]), int(match[2])

    def _read(self) -> tuple[Mapping[str, Any] | None, list[str]]:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self._descriptor, len(whole))
        head, *lines = whole.decode("utf-8", "replace").split("\n")
        try:
            found = json.loads(head)
            return (found["run"] if found["format"] == _FORMAT else None), lines[:-1]
        except (ValueError, KeyError, TypeError):
            return None, []

    @property
    def lines(self) -> list[str]:
        """What is done, in order."""
        return self._lines

    def begin(self, run: Mapping[str, Any]) -> None:
        """Throw away what it says, and tie it to a run."""
        os.ftruncate(self._descriptor, 0)
        self.run, self._lines, self.finished = run, [], None
        append_whole(self._descriptor, f"{self._head()}\n".encode())

    def keep(self, count: int) -> None:
        """Throw away all but the first so many lines."""
        self._lines, self.finished = self._lines[:count], None
        left = (self._head(), *self._lines)
        os.ftruncate(self._descriptor, sum(len(line.encode()) + 1 for line in left))

    def add(self, line: str) -> None:
        """Add a line; where that fails, it is as if it had not been tried.

        Raises:
            OSError: it cannot be written.
        """
        append_whole(self._descriptor, f"{line}\n".encode())

    def finish(self, count: int, failed: int) -> None:
        """Say that all is done: from now on the output may be replaced by whoever goes on.

        Raises:
            OSError: it cannot be written.
        """
        append_whole(self._descriptor, f"finished {count} {failed}\n".encode())
        self.finished = count, failed

    def _head(self) -> str:
        return json.dumps({"format": _FORMAT, "run": self.run})

    def close(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """The run is finished: take the file away."""
        self.path.unlink(missing_ok=True)
        self.close()


def append_whole(descriptor: int, data: bytes) -> None:
    """Write at the end of a file all of the data, or nothing: half of it is cut off again.

    Raises:
        OSError: it cannot be written.
    """
    begin = os.fstat(descriptor).st_size
    os.lseek(descriptor, begin, os.SEEK_SET)
    try:
        write_all(descriptor, data)
    except OSError:
        os.ftruncate(descriptor, begin)
        raise


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words how two runs differ."""
    for name in (*before, *(name for name in now if name not in before)):
        if before.get(name) != now.get(name):
            yield f"{name} was {_shown(before.get(name))} and is {_shown(now.get(name))}"


def digest(*parts: Any) -> str:
    """Return a short name of some values, which others will not have."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        listed = ", ".join(map(str, value[:4]))
        return f"{listed} and {len(value) - 4} more" if len(value) > 4 else listed
    return "not given" if value is None else str(value)


def _lock(path: Path) -> int:
    """Open a file that nobody else has open, and keep others from it until it is closed."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if sys.platform == "win32":
            return descriptor
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BadSetting(
                f"Another process writes {path} at this moment: wait for it, or name another output."
            ) from None
        # The one who had it may have finished and taken it away in between.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)
