"""What kind of file a source is: as asked, else by what it holds, else by its name."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from pegasus.data.columns import DOCUMENT_NAMES
from pegasus.data.reading.encodings import LOOKED_AT, find_encoding, looks_binary
from pegasus.data.reading.streams import PACKED, Stream
from pegasus.errors import BadData

Format = Literal["text", "jsonl", "json", "csv", "tsv", "parquet", "arrow", "html", "docx", "pdf"]
FORMATS: tuple[Format, ...] = get_args(Format)
#: Those with a row for each text; a source of the others is one text.
ROWS: tuple[Format, ...] = ("jsonl", "json", "csv", "tsv", "parquet", "arrow")
#: What the endings of files say.
ENDINGS: Mapping[str, Format] = {
    **dict.fromkeys((".txt", ".md", ".text"), "text"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    ".json": "json",
    ".csv": "csv",
    **dict.fromkeys((".tsv", ".tab"), "tsv"),
    ".parquet": "parquet",
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    ".docx": "docx",
    ".pdf": "pdf",
}

_FORMAT_MAGIC: Mapping[bytes, Format] = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"FEA1": "arrow",
    b"%PDF-": "pdf",
}
_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_REFUSED = {
    b"{\\rtf": "RTF: save it as text or DOCX first",
    _OLE: "a document of old Word, Excel or PowerPoint: save it as DOCX or CSV first",
    b"\x89PNG": "a PNG image: only text is read",
    b"\xff\xd8\xff": "a JPEG image: only text is read",
    b"GIF8": "a GIF image: only text is read",
    b"RIFF": "an image, a sound or a film: only text is read",
    b"II*\0": "a TIFF image: only text is read",
    b"MM\0*": "a TIFF image: only text is read",
    b"ID3": "a sound: write it down as text first",
    b"OggS": "a sound or a film: write it down as text first",
    b"fLaC": "a sound: write it down as text first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"\x7fELF": "a program: only text is read",
    b"SQLite format 3": "an SQLite database: export the table as CSV first",
    b"\x93NUMPY": "a NumPy array: only text is read",
    b"ORC": "an ORC file: save it as Parquet first",
    b"Obj\x01": "an Avro file: save it as Parquet first",
    b"%!PS": "PostScript: make a PDF of it first",
}
_ZIPS = {
    b"word/": "docx",
    b"xl/": "a spreadsheet: save it as CSV first",
    b"ppt/": "slides: save them as text or PDF first",
    b"application/epub": "an EPUB book: save it as HTML or text first",
    b"application/vnd.oasis": "an OpenDocument file: save it as DOCX, CSV or text first",
}
_ZIP_ENDINGS = {
    ".docx": "docx",
    ".docm": "docx",
    ".epub": _ZIPS[b"application/epub"],
    ".xlsx": _ZIPS[b"xl/"],
    ".pptx": _ZIPS[b"ppt/"],
    **dict.fromkeys((".odt", ".ods", ".odp"), _ZIPS[b"application/vnd.oasis"]),
}
_STRING = r'"(?:[^"\\]|\\.)*+"'
_OBJECT = re.compile(rf"\s*\{{\s*(?:\}}|{_STRING}\s*:)")
_LIST = re.compile(rf"\s*\[\s*(?:\{{\s*(?:\}}|{_STRING}\s*:)|{_STRING}\s*(?:\]|,\s*\"))")
_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_FRAGMENT = re.compile(
    r"\s*<(p|div|h[1-6]|article|section|main|table|ul|ol|span|a|b|i|em|strong|blockquote|style|script)\b[^<>]*>",
    re.IGNORECASE,
)
_XML = re.compile(r"\s*<\?xml\b")
_HEADER_FIELD = re.compile(r"\s*[\w][\w .:;/-]{0,39}\s*")
_DELIMITERS: Mapping[str, Format] = {",": "csv", ";": "csv", "\t": "tsv"}


def format_by_name(name: str | Path) -> Format | None:
    """Return what the ending of a file says, before that of a packed file; None where it says nothing."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return ENDINGS.get(suffixes[-1]) if suffixes else None


def find_format(stream: Stream, name: str, encoding: str | None, column: str | None) -> Format:
    """Return what kind of file a stream is.

    Args:
        stream: is looked into, not read.
        name: of the file.
        encoding: that was asked for; None finds it.
        column: the column of the text, where it was said.

    Raises:
        BadData: it is of a kind that is not read; named, with what to do.
    """
    head = stream.look()
    named = format_by_name(name)
    if found := _by_magic(stream, name):
        return found
    if named in ("parquet", "arrow", "docx", "pdf"):  # without their mark: their readers say what is wrong
        return named if head else "text"
    codec = encoding or find_encoding(head)
    if encoding is None and looks_binary(head[:LOOKED_AT], codec):
        raise BadData("This looks like binary data, not text. Name a text file, or its --encoding.", name)
    return named if named not in (None, "text") else _by_text(stream, codec, named, name, column)


def _by_magic(stream: Stream, name: str) -> Format | None:
    head = stream.look(max(map(len, _REFUSED)))
    for magic, found in _FORMAT_MAGIC.items():
        if head.startswith(magic):
            return found
    for magic, kind in _REFUSED.items():
        if head.startswith(magic):
            raise BadData(f"This is {kind}.", name)
    if not head.startswith(_ZIP):
        return None
    inside = next((kind for mark, kind in _ZIPS.items() if mark in stream.look(4096)), None)
    inside = inside or _ZIP_ENDINGS.get(Path(name).suffix.lower(), "a zip archive: unpack it first")
    if inside == "docx":
        return "docx"
    raise BadData(f"This is {inside}.", name)


def _by_text(stream: Stream, codec: str, named: Format | None, name: str, column: str | None) -> Format:
    """By the first lines. A name that says plain text is believed, but for markup and for JSON."""
    start = _decoded(stream.look(), codec)
    if start.lstrip()[:1] in ("{", "["):
        start = _lines(stream, codec, 1)
        if _OBJECT.match(start) or _LIST.match(start):
            return "json"
    if _HTML.match(start) or ((tag := _FRAGMENT.match(start)) and f"</{tag[1]}" in start):
        return "html"
    if _XML.match(start):
        raise BadData("This is XML: save it as text or HTML first.", name)
    if named is None and (found := _by_header(stream, codec, column)):
        return found
    return "text"


def _by_header(stream: Stream, codec: str, column: str | None) -> Format | None:
    """A table: a line of names, one of them a usual one for a document, and a row with as many fields."""
    usual = {column.lower()} if column is not None else set(DOCUMENT_NAMES.split())
    first = _decoded(stream.look(), codec).partition("\n")[0]
    if not any(name in first.lower() for name in usual):
        return None
    for delimiter, found in _DELIMITERS.items():
        header = _fields(first.strip("\r"), delimiter)
        names = [name.strip().lower() for name in header]
        plain = all(_HEADER_FIELD.fullmatch(name) for name in header)
        if len(header) < 2 or not plain or len(set(names)) < len(names) or not usual.intersection(names):
            continue
        rest = _lines(stream, codec, 2).partition("\n")[2]
        if not rest or len(_fields(rest, delimiter)) == len(header):
            return found
    return None


def _fields(text: str, delimiter: str) -> list[str]:
    """The fields of the first row of a text; none where it has no row that can be told."""
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return []


def _lines(stream: Stream, codec: str, count: int) -> str:
    """The beginning with so many lines, or all that is looked at."""
    text = _decoded(stream.look(), codec)
    while text.count("\n") < count and len(text) < LOOKED_AT and stream.look_further():
        text = _decoded(stream.look(), codec)
    return text


def _decoded(data: bytes, codec: str) -> str:
    return data[:LOOKED_AT].decode(codec, "replace")
