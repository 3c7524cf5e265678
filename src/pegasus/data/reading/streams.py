"""The bytes of a source, unpacked, as a stream that can be looked into before it is read."""

from __future__ import annotations

import bz2
import errno
import gzip
import importlib
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pegasus.errors import BackendMissing, BadData

STDIN = "-"
#: Bytes of one text or one row at most, unpacked: a dozen Bibles. What is longer is no text that anybody
#: wrote, and would take the memory of the machine.
MOST_BYTES = 64 << 20
#: Endings of packed files.
PACKED = (".gz", ".xz", ".bz2", ".zst")

_CHUNK = 1 << 16
# A block of zstd stands for 128 KiB at most, and takes four bytes: so much of it is unpacked at a time.
_ZSTD_CHUNK = 1 << 10
_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zXZ\x00": ".xz",
    b"BZh": ".bz2",
    b"\x28\xb5\x2f\xfd": ".zst",
}
_REASONS = {
    errno.ENOENT: "There is no such file or folder. Check the path",
    errno.ENOTDIR: "There is no such file or folder. Check the path",
    errno.EACCES: "It may not be read: permission denied. Change its mode or its owner",
    errno.EPERM: "It may not be read: permission denied. Change its mode or its owner",
    errno.ELOOP: "The link leads in a circle. Name the file itself",
    errno.ENAMETOOLONG: "The name is too long for a file",
}


class Stream(io.BufferedReader):
    """Bytes whose beginning can be looked at any number of times, until the first is read.

    Args:
        source: where they come from; closed with this.
        below: what that reads from, closed too.
    """

    def __init__(self, source: IO[bytes], below: IO[bytes] | None = None) -> None:
        self._looked = _Looked(source)
        self._below = below
        super().__init__(self._looked, _CHUNK)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close it, and all that it reads from."""
        super().close()
        if self._below is not None:
            self._below.close()

    def look(self, size: int = 1) -> bytes:
        """Return the beginning, at least so many bytes of it where there are so many.

        Waits for no more than that, so what a pipe has not yet brought is not waited for.
        """
        while len(self._looked.head) < size and self.look_further():
            pass
        return bytes(self._looked.head)

    def look_further(self) -> bool:
        """Fetch some more to be looked at; whether there was any."""
        return self._looked.fetch()

    def seekable_file(self) -> IO[bytes] | None:
        """The file below, from its beginning, where it is one, not packed, and can be read in any order."""
        source = self._looked.source
        if not isinstance(getattr(source, "raw", None), io.FileIO) or not source.seekable():
            return None
        source.seek(0)
        return source

    @property
    def whole(self) -> bool:
        """Whether all there is has been fetched."""
        return self._looked.ended


class _Looked(io.RawIOBase):
    def __init__(self, source: IO[bytes]) -> None:
        self.source = source
        self.head = bytearray()
        self.ended = False

    def fetch(self) -> bool:
        more = self._some(_CHUNK)
        self.head += more
        self.ended = not more
        return bool(more)

    def _some(self, size: int) -> bytes:
        read1 = getattr(self.source, "read1", None)
        return (self.source.read(size) if read1 is None else read1(size)) or b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.head:
            size = min(len(buffer), len(self.head))
            buffer[:size] = self.head[:size]
            del self.head[:size]
            return size
        data = self._some(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.source.close()
        super().close()


class _Zstd(io.RawIOBase):
    """Unpacks zstd, and knows when it ends too early, which the package's own stream does not."""

    def __init__(self, packed: IO[bytes], package: Any) -> None:
        self._packed, self._package = packed, package
        self._frame = package.ZstdDecompressor().decompressobj()
        self._fed = False
        self._rest = b""
        self._out = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._out:
            data = self._rest or self._packed.read(_ZSTD_CHUNK)
            self._rest = b""
            if not data:
                if self._fed and not self._frame.eof:
                    raise EOFError("a zstd frame is not complete")
                return 0
            if self._frame.eof:
                self._frame = self._package.ZstdDecompressor().decompressobj()
            self._out = self._frame.decompress(data)
            self._fed = True
            if self._frame.eof:
                self._rest = self._frame.unused_data
        size = min(len(buffer), len(self._out))
        buffer[:size] = self._out[:size]
        self._out = self._out[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._packed.close()
        super().close()


def open_stream(name: str | Path) -> Stream:
    """Open a file or standard input, unpacked where its content is packed.

    Args:
        name: a path; "-" is standard input, which is never closed.

    Raises:
        BadData: it cannot be opened, or is named like a packed file and is none.
        BackendMissing: it is packed by zstd, and zstandard is not installed.
    """
    name = str(name)
    with told(name):
        stream = Stream(_standard_input() if name == STDIN else _file(name))
        try:
            return _unpacked(stream, name)
        except BaseException:
            stream.close()
            raise


def check_there(name: str) -> None:
    """Check that a name stands for something.

    Raises:
        BadData: it does not, or nobody may look.
    """
    with told(name):
        try:
            os.stat(name)
        except ValueError as error:
            raise BadData(f"There can be no file of this name ({error}).", name) from error


@contextmanager
def told(name: str, after: Callable[[], int | None] = lambda: None) -> Iterator[None]:
    """Turn what goes wrong while a source is opened, unpacked or read into a `BadData`.

    Args:
        name: the source.
        after: returns the last line that was read; None where none was.
    """
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(name, error, after()) from error
    except OSError as error:
        # bz2 and gzip raise it for damage as well, then without a number.
        raise _damaged(name, error, after()) if error.errno is None else _unopened(name, error) from error
    except MemoryError as error:
        raise BadData("It takes more memory than there is. Cut it into smaller files.", name) from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # its class is known only where the package is
            raise
        raise _damaged(name, error, after()) from error


def package(name: str, extra: str, why: str) -> Any:
    """Import a package of an extra.

    Raises:
        BackendMissing: it is not installed; says what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendMissing(
            f"{name.partition('.')[0]} is needed {why} and is not installed. "
            f"Install it with: pip install 'pegasus-summarizer[{extra}]'"
        ) from error


def _unpacked(stream: Stream, name: str) -> Stream:
    depth = 0
    while (kind := _packing(stream)) and depth < 2:  # one that was packed again is unpacked twice
        stream, depth = Stream(_UNPACKERS[kind](stream), stream), depth + 1
    if not depth and Path(name).suffix.lower() in PACKED and stream.look():
        raise BadData("It is named like a packed file and is none: it is damaged, or misnamed.", name)
    return stream


def _packing(stream: Stream) -> str | None:
    head = stream.look(max(map(len, _MAGIC)))
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def _zstd(packed: Stream) -> IO[bytes]:
    return io.BufferedReader(_Zstd(packed, package("zstandard", "data", "to read .zst files")))


_UNPACKERS: dict[str, Callable[[Stream], Any]] = {
    ".gz": lambda packed: gzip.GzipFile(fileobj=packed),
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
    ".zst": _zstd,
}


def _standard_input() -> Any:
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:
        raise BadData("Standard input is closed. Name a file, or pipe a text in.", STDIN)
    return _Kept(buffer)


class _Kept(io.RawIOBase):
    """Standard input, which stays open when its reader is closed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read1(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(data)] = data
        return len(data)


def _file(name: str) -> IO[bytes]:
    check_there(name)
    path = Path(name)
    if path.is_dir():
        raise BadData("It is a folder. Name the files in it.", name)
    return path.open("rb")


def _unopened(name: str, error: OSError) -> BadData:
    reason = _REASONS.get(error.errno or 0, f"It cannot be read ({error.strerror or error})")
    return BadData(f"{reason}.", name)


def _damaged(name: str, error: Exception, line: int | None) -> BadData:
    where = "" if line is None else f" after line {line:,}"
    found = (str(error).splitlines() or [type(error).__name__])[0]
    return BadData(f"The file ends early or is damaged{where} ({found}). Fetch or pack it again.", name)
