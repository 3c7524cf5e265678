"""Plain text → rows: the whole file, its lines, or its blocks between blank lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from pegasus.data.reading.encodings import wrong_encoding
from pegasus.data.reading.json_rows import Row
from pegasus.data.reading.lines import read_lines, too_long
from pegasus.data.reading.streams import MOST_BYTES, Stream
from pegasus.errors import BadData, BadSetting

Unit = Literal["file", "line", "block"]

_TEXT = "text"


def check_unit(unit: str) -> None:
    """Check what a document shall be in plain text.

    Raises:
        BadSetting: it is no unit.
    """
    if unit not in get_args(Unit):
        raise BadSetting(f"unit={unit!r} is not known: use one of {', '.join(get_args(Unit))}.")


def text_rows(stream: Stream, encoding: str, file: str, unit: Unit) -> Iterator[Row]:
    """Yield each unit of a plain text as a row with a column `text`."""
    if unit == "file":
        yield from _whole(stream, encoding, file)
    elif unit == "line":
        for number, line in read_lines(stream, encoding, file):
            if isinstance(line, BadData):
                yield line
            elif line.strip():
                yield number, {_TEXT: line}
    else:
        yield from _blocks(stream, encoding, file)


def _whole(stream: Stream, encoding: str, file: str) -> Iterator[Row]:
    data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        yield too_long(file)
        return
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        yield BadData(wrong_encoding(error), file)
        return
    if text.strip():
        yield 1, {_TEXT: text}


def _blocks(stream: Stream, encoding: str, file: str) -> Iterator[Row]:
    block: list[str] = []
    size = start = 0
    for number, line in read_lines(stream, encoding, file):
        if isinstance(line, BadData):
            yield line
        elif line.strip():
            start = start if block else number
            block.append(line)
            size += len(line)
            if size > MOST_BYTES:
                yield too_long(file, start)
                return
        elif block:
            yield start, {_TEXT: "".join(f"{part}\n" for part in block)}
            block, size = [], 0
    if block:
        yield start, {_TEXT: "".join(f"{part}\n" for part in block)}
