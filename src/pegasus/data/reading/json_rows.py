"""JSON → rows: an object a line, a list of objects, or one object, which may itself hold the rows."""

from __future__ import annotations

import io
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pegasus.data.columns import DOCUMENT_NAMES
from pegasus.data.reading.encodings import UTF8, keeps_lines, wrong_encoding
from pegasus.data.reading.lines import read_lines, too_long
from pegasus.data.reading.streams import MOST_BYTES, Stream
from pegasus.errors import BadData

#: A row with its 1-based line or number, or what is wrong with it.
Row = tuple[int, Mapping[str, Any]] | BadData

_log = logging.getLogger(__name__)
_CHUNK = 1 << 16
_DOCUMENTS = frozenset(DOCUMENT_NAMES.split())
_BLANK = " \t\n\r\f\v\ufeff"
# The column of a list of texts that have no names.
_TEXT = "text"
_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8; what JSON escapes looks otherwise
_KINDS = {dict: "an object", list: "a list", str: "a string", type(None): "null", bool: "a truth value"}


def json_lines(stream: Stream, encoding: str, file: str) -> Iterator[Row]:
    """Yield the objects of JSON lines, or those of a list where the file holds one all the same."""
    if _starts_list(stream, encoding):
        yield from json_list(stream, encoding, file)
        return
    for number, line in read_lines(stream, encoding, file):
        if isinstance(line, BadData):
            yield line
        elif line.strip():
            value = _loaded(line, file, number)
            yield value if isinstance(value, BadData) else _row(value, file, number)


def json_values(stream: Stream, encoding: str, file: str) -> Iterator[Row]:
    """Yield the rows of a file of JSON: a list, objects one by one, or an object that holds rows."""
    if _starts_list(stream, encoding):
        yield from json_list(stream, encoding, file)
        return
    first = _first_line(stream, encoding)
    try:
        value = None if first is None else _DECODER.decode(first)
    except (ValueError, RecursionError):
        value = None
    # A line that is a row is answered before the next one comes; one that is none may hold all the rows.
    if (
        first is not None
        and isinstance(value, dict)
        and (_has_text(value) or not _ended_after(stream, encoding, first))
    ):
        yield from json_lines(stream, encoding, file)
    else:
        yield from _whole_values(stream, encoding, file)


def json_list(stream: Stream, encoding: str, file: str) -> Iterator[Row]:
    """Yield the objects of a list one by one, in the memory of the longest."""
    # What is no UTF-8 is an error of its row alone; in other encodings nothing can be told after it.
    text = io.TextIOWrapper(stream, encoding, errors="surrogateescape" if encoding == UTF8 else "strict")
    number = 0
    try:
        with text:
            for value in _elements(text):
                number += 1
                wrong = isinstance(value, UnicodeDecodeError)
                yield BadData(_no_json(value), file, number) if wrong else _row(value, file, number)
    except (ValueError, RecursionError) as error:
        yield BadData(f"{_no_json(error)} The rest of the list cannot be read.", file, number + 1)


def kind_of(value: Any) -> str:
    """Return what to call a value of JSON."""
    return _KINDS.get(type(value), "a number")


def _row(value: Any, file: str, number: int) -> Row:
    if isinstance(value, str):
        value = {_TEXT: value}
    if not isinstance(value, dict):
        example = '{"text": "..."}'
        return BadData(
            f"A row must be an object such as {example}, this is {kind_of(value)}.", file, number
        )
    if isinstance(value, _Repeated):
        names = ", ".join(map(repr, value.names))
        _log.warning("%s:%d: %s stands there more than once: the last one counts", file, number, names)
    return number, value


def _loaded(text: str, file: str, line: int) -> Any:
    try:
        return _DECODER.decode(text.strip(_BLANK))
    except (ValueError, RecursionError) as error:
        return BadData(f"{_no_json(error)} Write one object a line.", file, line)


def _no_json(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno:,} " if error.lineno > 1 else ""
        return f"This is no JSON ({error.msg}, {line}character {error.colno:,})."
    if isinstance(error, UnicodeDecodeError):
        return wrong_encoding(error)
    if isinstance(error, RecursionError):
        return "This is no JSON that can be read (too many brackets within brackets)."
    return f"This is no JSON ({error})."


# -- lists and objects that are no lines ---------------------------------------------------------------


def _starts_list(stream: Stream, encoding: str) -> bool:
    """Whether a list of objects or of texts begins; one that is closed in its line may be a bad row."""
    while True:
        start = stream.look().decode(encoding, "replace").lstrip(_BLANK)
        if start[:1] != "[":
            return False
        inside = start[1:].lstrip(_BLANK)
        if inside or not stream.look_further():
            return inside[:1] in ("{", '"', "]")


def _elements(text: io.TextIOWrapper) -> Iterator[Any]:
    """The elements of a list, parsed as they come.

    Raises:
        ValueError: it is no list, or breaks off.
    """
    window = _Window(text)
    window.expect("[")
    if window.skip() == "]":
        window.take()
        return
    while True:
        yield window.value()
        mark = window.skip()
        window.take()
        if mark == "]":
            break
        if mark != ",":
            raise ValueError(f"a comma or ] should follow, found {mark[:1]!r}" if mark else "it breaks off")
    if window.skip():
        raise ValueError("something follows the end of the list")


class _Window:
    """The part of a text that is looked at: grows until a value is whole in it."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._held, self._at = text, "", 0

    def skip(self) -> str:
        """Pass over blanks; return the character after them, "" at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more(_CHUNK):
                return ""

    def take(self) -> None:
        """Pass over a character."""
        self._at += 1

    def expect(self, mark: str) -> None:
        """Pass over a character that must be there."""
        if self.skip() != mark:
            raise ValueError(f"a list must begin with {mark}")
        self.take()

    def value(self) -> Any:
        """Return the next value, or what is wrong with its bytes, and pass over it."""
        self.skip()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
                ended = end < len(self._held) or not self._more(_CHUNK)  # a number may go on
            except json.JSONDecodeError as error:
                place, held = error.pos - self._at + 1, len(self._held) - self._at
                if held > MOST_BYTES or not self._more(max(_CHUNK, held)):
                    raise ValueError(f"{error.msg}, character {place:,} of the row") from None
                continue
            if ended:
                source, self._at = self._held[self._at : end], end
                return value if _ESCAPED.search(source) is None else _decoding_error(source)

    def _more(self, size: int) -> bool:
        more = self._text.read(size)
        self._held, self._at = self._held[self._at :] + more, 0
        return bool(more)


def _decoding_error(source: str) -> UnicodeDecodeError | None:
    try:
        source.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        return error
    return None


def _first_line(stream: Stream, encoding: str) -> str | None:
    """The first line, None where it is longer than what is looked at."""
    while True:
        start = stream.look().decode(encoding, "replace").lstrip(_BLANK)
        line, end, _ = start.partition("\n")
        if end or stream.whole:
            return line
        if len(start) > 16 * _CHUNK or not stream.look_further():
            return line if stream.whole else None


def _ended_after(stream: Stream, encoding: str, line: str) -> bool:
    while True:
        rest = stream.look().decode(encoding, "replace").lstrip(_BLANK)[len(line) :]
        if rest.strip(_BLANK):
            return False
        if not stream.look_further():
            return True


def _whole_values(stream: Stream, encoding: str, file: str) -> Iterator[Row]:
    """Objects that may take several lines; where there are none, each line is told of by itself."""
    data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        yield too_long(file)
        return
    try:
        values = list(_decoded_values(data.decode(encoding)))
    except (ValueError, RecursionError) as error:
        if keeps_lines(encoding) and data.count(b"\n", 0, len(data.rstrip())):
            yield from json_lines(Stream(io.BytesIO(data)), encoding, file)
        else:
            yield BadData(_no_json(error), file, 1)
        return
    number = 0
    for value in values:
        for inner in _held_rows(value):
            number += 1
            yield _row(inner, file, number)


def _decoded_values(text: str) -> Iterator[Any]:
    at = 0
    while at < len(text):
        if text[at] in _BLANK:
            at += 1
            continue
        value, at = _DECODER.raw_decode(text, at)
        yield value


def _held_rows(value: Any) -> list[Any]:
    """The rows that an object holds, or the object itself where it is a row.

    Rows are a list of objects under some key, the longest where there are several, or columns, one of which
    has the usual name of a document.
    """
    if not isinstance(value, dict) or _has_text(value):
        return [value]
    if rows := _of_columns(value):
        return rows
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list) and inner}
    rows = [inner for inner in lists.values() if all(isinstance(element, dict) for element in inner)]
    if not rows:
        return [value]
    found = max(rows, key=len)
    # The viewer of hub data sets wraps each row once more.
    return [each["row"] if isinstance(each.get("row"), dict) else each for each in found]


def _has_text(value: dict[str, Any]) -> bool:
    return any(key.lower() in _DOCUMENTS and isinstance(inner, str) for key, inner in value.items())


def _of_columns(value: dict[str, Any]) -> list[Any]:
    """The rows of an object of columns, each a list or an object from row to value, or none."""
    columns = {
        key: list(inner.values()) if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if isinstance(inner, dict | list)
    }
    texts = [inner for key, inner in columns.items() if key.lower() in _DOCUMENTS]
    if not texts or not all(isinstance(text, str) for text in texts[0]):
        return []
    columns = {key: inner for key, inner in columns.items() if len(inner) == len(texts[0])}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


# -- values ----------------------------------------------------------------------------------------------


class _Repeated(dict[str, Any]):
    """An object that has a name more than once."""

    names: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = _Repeated(found)
    repeated.names = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return repeated


def _integer(digits: str) -> int | str:
    """An integer; one with more digits than Python reads stays as it is written."""
    try:
        return int(digits)
    except ValueError:
        return digits


def _nothing(_: str) -> None:
    """NaN and infinities are no JSON: they are null."""


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_nothing)
