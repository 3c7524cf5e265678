"""The standard streams, however they were started: closed, full, or in an encoding that lacks letters."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pegasus.cli.exits import say
from pegasus.errors import BadSetting, WriteFailed

_HANDLER = "pegasus-replace-and-say"
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})")
_NAMED = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def prepare_streams() -> None:
    """Give closed streams a place, so that no file is opened as number 1; let stdout lack letters."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        codecs.register_error(_HANDLER, _Replacing())
        reconfigure(errors=_HANDLER)


def speak_utf8() -> None:
    """Make stdout UTF-8, which JSON always is."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8")


def write_out(text: str, *, expected: bool = True) -> None:
    """Write to stdout, at once.

    Args:
        text: what is written.
        expected: whether stdout must be there.

    Raises:
        WriteFailed: it is closed, or what lies behind it is full.
    """
    if sys.stdout is None:
        if expected:
            raise WriteFailed("stdout is closed: open it, or name a file with --output.")
        return
    with naming("stdout"):
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            silence_stdout()
            raise


def silence_stdout() -> None:
    """Let what stdout still holds go nowhere: Python flushes it once more on its way out."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no file, or none at all
        number = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def descriptor_of(path: str) -> int | None:
    """Return the number of an open file that a path such as /dev/stdout means; None for other paths."""
    match = _DESCRIPTOR.fullmatch(path)
    return int(match[1]) if match else _NAMED.get(path)


def check_folder(place: Path, target: str | Path) -> None:
    """Refuse a place whose folder is not there.

    Args:
        place: the file that shall be written.
        target: what the user calls it.
    """
    if not place.parent.is_dir():
        raise BadSetting(f"There is no folder {place.parent} to write {target} into: make it first.")


@contextmanager
def naming(place: str | Path, kept: str = "") -> Iterator[None]:
    """Turn errors of writing into ``WriteFailed`` with the name of what was written.

    Args:
        place: what was written.
        kept: what is not lost, as a sentence.
    """
    try:
        yield
    except (BrokenPipeError, WriteFailed):
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WriteFailed(f"{place} cannot be written: {reason}.{kept and ' '}{kept}") from error


class _Replacing:
    """An error handler of encodings that puts "?" where a letter is missing, and says so once."""

    def __init__(self) -> None:
        self.said = False

    def __call__(self, error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        if not self.said:
            self.said = True
            lacking = error.object[error.start]
            say(
                f"stdout is {error.encoding} and lacks characters such as {lacking!r}, which become '?': "
                "set PYTHONIOENCODING=utf-8, or write JSON or a file, which are always UTF-8"
            )
        return "?" * (error.end - error.start), error.end
