"""A file that takes its place when it is whole, and leaves no trace when something goes wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pegasus.cli.streams import naming
from pegasus.errors import BadSetting, WriteFailed


@contextmanager
def replacing(place: Path) -> Iterator[Callable[[bytes], None]]:
    """Yield what writes a file beside its place; it is moved there at the end of the block.

    An error in the block takes it away again, and what stood in the place stays.

    Args:
        place: where it shall stand; no symbolic link (`resolved` follows those).

    Raises:
        WriteFailed: it cannot be written; the message names the place.
    """
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        with naming(place):
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                yield partial(write_all, descriptor)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            take_place(part, place)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data; the system may take it in several pieces."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def resolved(place: Path) -> Path:
    """Return where a path leads when symbolic links are followed, though nothing may be there yet.

    Raises:
        WriteFailed: it leads in a circle.
    """
    try:
        return place.resolve() if place.is_symlink() else place
    except RuntimeError as error:  # so Python says it before 3.13
        raise WriteFailed(f"{place} cannot be written: the link leads in a circle.") from error


def make_folder(name: str) -> Path:
    """Make the folder that an output names, before there is anything to be lost.

    Raises:
        BadSetting: it names nothing, or a file.
        WriteFailed: it cannot be made, or nothing can be written into it.
    """
    folder = Path(name)
    if not name:
        raise BadSetting("--output names nothing: give a folder.")
    with naming(name):
        if folder.exists() and not folder.is_dir():
            raise BadSetting(f"{name} is a file, and a folder is written: name another.")
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, trial = tempfile.mkstemp(prefix=".pegasus-", dir=folder)
        os.close(descriptor)
        Path(trial).unlink()
    return folder


def is_special(place: Path) -> bool:
    """Whether something stands there that is written to and never replaced: a device, a pipe, a socket."""
    try:
        mode = place.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def take_place(part: Path, place: Path) -> None:
    """Move a file that is whole to its place, with the mode and the owner of what stood there.

    A file with several names (hard links) keeps them: it is written to instead.
    """
    try:
        before = place.stat()
    except FileNotFoundError:
        part.replace(place)
        return
    if before.st_nlink > 1:
        shutil.copyfile(part, place)
        part.unlink()
        return
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only root may give files away
            os.chown(part, before.st_uid, before.st_gid)
    part.chmod(stat.S_IMODE(before.st_mode))
    part.replace(place)
