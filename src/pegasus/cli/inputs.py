"""What there is to summarize: files, JSON lines and stdin, as one stream of items.

An item that cannot be read carries its error in the place of its text, so that the others go on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pegasus.errors import BadData, BadSetting, PegasusError

COLUMNS = ("document", "text", "article", "body", "content")
_STDIN = "-"
_KINDS = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive or an office document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x7fELF": "a program",
}
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_LOOKED_AT = 65_536
_MOST_CONTROL = 0.02
_TEXT_CONTROL = frozenset(b"\t\n\r\f\x1b\x08")


@dataclass(frozen=True)
class Item:
    """One text to be summarized.

    Attributes:
        file: where it comes from, as it was named; "-" is stdin.
        text: the text, or why there is none.
        line: its line in that file, where that holds one text a line.
        id: what its row calls it; its line where the row says nothing.
    """

    file: str
    text: str | PegasusError
    line: int | None = None
    id: Any = None

    @property
    def name(self) -> str:
        """What to call it to a person."""
        file = "stdin" if self.file == _STDIN else self.file
        return file if self.line is None else f"{file}:{self.line}"


@dataclass(frozen=True)
class Input:
    """A file to be read.

    Attributes:
        name: as it was named, or found in a folder; "-" is stdin.
        rows: whether it holds rows, one text each; otherwise it is one text.
        place: where its results stand below a folder of results, without an ending.
    """

    name: str
    rows: bool
    place: Path

    @property
    def path(self) -> Path | None:
        """The file, None for stdin."""
        return None if self.name == _STDIN else Path(self.name)


def find_inputs(files: Sequence[str], column: str | None) -> list[Input]:
    """Return what there is to read.

    Args:
        files: names; "-" is stdin.
        column: the column of JSON lines; None takes the first of `COLUMNS` that a row has, in .jsonl files.

    Raises:
        BadSetting: stdin is named twice.
    """
    if files.count(_STDIN) > 1:
        raise BadSetting("stdin can be read only once: name - once.")
    return [_input(file, column) for file in files]


def _input(file: str, column: str | None) -> Input:
    rows = column is not None or file.lower().endswith((".jsonl", ".ndjson"))
    return Input(file, rows, Path("stdin" if file == _STDIN else Path(file).stem))


def read_items(inputs: Sequence[Input], column: str | None) -> Iterator[Item]:
    """Yield the texts of inputs one after the other, reading no further than asked.

    Args:
        inputs: what `find_inputs` found.
        column: as there.
    """
    return (item for each in inputs for item in _read(each, column))


def _read(each: Input, column: str | None) -> Iterator[Item]:
    file = each.name
    try:
        with _open(file) as stream:
            if each.rows:
                yield from _rows(file, stream, column)
            else:
                yield Item(file, _decoded(stream.read(), file))
    except BadData as error:
        yield Item(file, error)
    except OSError as error:
        yield Item(file, BadData(f"{_reason(error)}.", _shown(file)))


def _open(file: str) -> IO[bytes]:
    if file == _STDIN:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    path = Path(file)
    if path.is_dir():
        raise BadData("is a folder: name the files in it.", file)
    return path.open("rb")


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "may not be read: permission denied"
    return f"cannot be read: {error.strerror or error}"


def _shown(file: str) -> str:
    return "stdin" if file == _STDIN else file


def _decoded(data: bytes, file: str) -> str:
    """Return the text of a file's bytes.

    Raises:
        BadData: it holds none, or no text, or text in another encoding.
    """
    for start, kind in _KINDS.items():
        if data.startswith(start):
            raise BadData(f"is {kind}, not text: convert it to plain text first.", _shown(file))
    encoding = _MARKS.get(data[:2], "utf-8-sig")
    if encoding == "utf-8-sig" and _is_binary(data[:_LOOKED_AT]):
        raise BadData("looks like binary data, not text: name a text file.", _shown(file))
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadData(
            f"is not {error.encoding.upper()} (byte 0x{data[error.start]:02x} at {error.start:,}): "
            f"convert it, for instance with `iconv -f LATIN1 -t UTF-8`.",
            _shown(file),
        ) from None
    if not text.strip():
        raise BadData("holds no text: there is nothing to summarize.", _shown(file))
    return text


def _is_binary(start: bytes) -> bool:
    if b"\0" in start:
        return True
    control = sum(start.count(code) for code in range(32) if code not in _TEXT_CONTROL)
    return control > _MOST_CONTROL * len(start)


def _rows(file: str, stream: IO[bytes], column: str | None) -> Iterator[Item]:
    rows = 0
    for line, data in enumerate(stream, 1):
        if data.strip():
            rows += 1
            yield _row(file, line, data.rstrip(b"\r\n"), column)
    if not rows:
        raise BadData("holds no rows: there is nothing to summarize.", _shown(file))


def _row(file: str, line: int, data: bytes, column: str | None) -> Item:
    name: Any = line
    try:
        row = _object(data, file, line)
        name = row.get("id", line)
        return Item(file, _text(row, column, file, line), line, name)
    except BadData as error:
        return Item(file, error, line, name)


def _object(data: bytes, file: str, line: int) -> dict[str, Any]:
    try:
        row = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise BadData(
            f"is not UTF-8 (byte 0x{data[error.start]:02x} at {error.start:,}).", _shown(file), line
        ) from None
    except json.JSONDecodeError as error:
        raise BadData(f"is no JSON ({error.msg}, character {error.colno}).", _shown(file), line) from None
    except (ValueError, RecursionError) as error:  # a number of a million digits, a million brackets
        raise BadData(f"is no JSON that can be read ({error}).", _shown(file), line) from None
    if not isinstance(row, dict):
        raise BadData(
            f'must be an object such as {{"text": "..."}}; found {_kind(row)}.', _shown(file), line
        )
    return row


def _text(row: dict[str, Any], column: str | None, file: str, line: int) -> str:
    names = COLUMNS if column is None else (column,)
    name = next((name for name in names if name in row), None)
    if name is None:
        wanted = (
            f"no column {column!r}" if column is not None else f"none of the columns {', '.join(COLUMNS)}"
        )
        found = ", ".join(list(row)[:12]) or "none"
        raise BadData(f"has {wanted}; its columns are {found}: name one with --column.", _shown(file), line)
    text = row[name]
    if not isinstance(text, str):
        raise BadData(f"column {name!r} must hold text; found {_kind(text)}.", _shown(file), line)
    if not text.strip():
        raise BadData(f"column {name!r} holds no text.", _shown(file), line)
    return text


def _kind(value: Any) -> str:
    return {
        dict: "an object",
        list: "a list",
        str: "a string",
        type(None): "null",
        bool: "a truth value",
    }.get(type(value), "a number")
