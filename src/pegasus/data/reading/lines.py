"""Bytes → numbered lines in bounded memory, whatever ends them, and the text of a line."""

from __future__ import annotations

import io
from collections.abc import Iterator

from pegasus.data.reading.encodings import UTF8, keeps_lines, wrong_encoding
from pegasus.data.reading.streams import MOST_BYTES, Stream
from pegasus.errors import BadData

_SKIPPED = 1 << 20

#: A line with its 1-based number, or what is wrong with it.
Line = tuple[int, str | BadData]


def read_lines(stream: Stream, encoding: str, file: str) -> Iterator[Line]:
    """Yield the lines of a stream without their ends (``\\n``, ``\\r\\n`` or ``\\r``, also mixed).

    A line that is too long or in another encoding is an error in its place; the others go on.
    """
    lines = _byte_lines(stream, file) if keeps_lines(encoding) else _wide_lines(stream, encoding, file)
    for number, line in lines:
        if isinstance(line, bytes):
            try:
                # A mark may stand before the first; after that it would be a character of the text.
                line = line.decode("utf-8" if encoding == UTF8 and number > 1 else encoding)
            except UnicodeDecodeError as error:
                yield number, BadData(wrong_encoding(error), file, number)
                continue
        yield number, line


def too_long(file: str, line: int | None = None) -> BadData:
    """What is said of a text or row that is longer than is read."""
    most = MOST_BYTES >> 20
    return BadData(f"It is longer than {most} MiB, more than is read at once. Cut it.", file, line)


def _byte_lines(stream: Stream, file: str) -> Iterator[tuple[int, bytes | BadData]]:
    number = 0
    while data := stream.readline(MOST_BYTES):
        if len(data) == MOST_BYTES and not data.endswith(b"\n"):
            number += 1
            while data and not data.endswith(b"\n"):
                data = stream.readline(_SKIPPED)
            yield number, too_long(file, number)
            continue
        for part in data.removesuffix(b"\n").removesuffix(b"\r").split(b"\r"):
            number += 1
            yield number, part


def _wide_lines(stream: Stream, encoding: str, file: str) -> Iterator[Line]:
    number = 0
    with io.TextIOWrapper(stream, encoding, newline="\n") as text:
        try:
            while line := text.readline(MOST_BYTES):
                if len(line) == MOST_BYTES and not line.endswith("\n"):
                    yield number + 1, too_long(file, number + 1)
                    return
                for part in line.removesuffix("\n").removesuffix("\r").split("\r"):
                    number += 1
                    yield number, part
        except UnicodeDecodeError as error:
            yield number + 1, BadData(wrong_encoding(error), file, number + 1)
