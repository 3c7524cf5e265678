"""HTML, DOCX and PDF as text, by the libraries of the extra `documents`."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pegasus.data.reading.encodings import LOOKED_AT, UTF8, find_encoding
from pegasus.data.reading.json_rows import Row
from pegasus.data.reading.lines import too_long
from pegasus.data.reading.streams import MOST_BYTES, Stream, package
from pegasus.errors import BadData, PegasusError

_EXTRA = "documents"
_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]+?(?:charset|encoding)\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_TABLE_RULE = re.compile(r"^\|(?:\s*:?-+:?\s*\|)+\s*$\n?", re.MULTILINE)
_TABLE_ROW = re.compile(r"^\|\s*(.*?)\s*\|?\s*$", re.MULTILINE)
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Of short pages trafilatura makes a line of every word in italics, and of the full stop after it.
_TORN = re.compile(r"^[.,;:!?)]+$", re.MULTILINE)
# A word that is hyphenated at the end of a line, and other lines of one paragraph.
_HYPHENATED = re.compile(r"(?<=[a-z])[-\u00ad\u2010]\n(?=[a-z])")
_PARAGRAPH_LINE = re.compile(r"(?<=[^\s.!?:;\"”’)])\n(?=\S)")


def document_rows(kind: str, stream: Stream, encoding: str | None, file: str) -> Iterator[Row]:
    """Yield the text of a document as one row with a column `text`.

    Args:
        kind: "html", "docx" or "pdf".
        stream: its bytes.
        encoding: of HTML, where it was said.
        file: its name in errors.
    """
    data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        yield too_long(file)
        return
    readers: Mapping[str, Callable[[], str]] = {
        "html": lambda: html_text(data, encoding),
        "docx": lambda: docx_text(data),
        "pdf": lambda: pdf_text(data),
    }
    try:
        with _quiet():
            text = readers[kind]()
    except BadData as error:
        yield BadData(str(error), file)
        return
    except (PegasusError, MemoryError):
        raise
    except Exception as error:  # the libraries raise what they like on damaged files
        first = (str(error).splitlines() or [type(error).__name__])[0]
        yield BadData(f"It cannot be read as {kind.upper()} ({first}). Save it again, or as text.", file)
        return
    if text.strip():
        yield 1, {"text": text}
    elif kind == "pdf":
        yield BadData(
            "The PDF holds no text: its pages are pictures, as scans are. Recognize its text first.", file
        )


def html_text(data: bytes, encoding: str | None = None) -> str:
    """Return the main text of a page, without navigation, scripts and the like, a paragraph a line."""
    trafilatura = package("trafilatura", _EXTRA, "to read HTML")
    page = data.decode(encoding or _html_encoding(data), "replace")
    if not re.search(r"<(?:html|body)\b", page[:LOOKED_AT], re.IGNORECASE):
        page = f"<html><body>{page}</body></html>"
    text = _TABLE_RULE.sub("", trafilatura.extract(page, include_comments=False) or "")
    if not text or _TORN.search(text):
        text = trafilatura.html2txt(page) or ""
    return _TABLE_ROW.sub(lambda row: re.sub(r"\s*\|\s*", ", ", row[1]), text)


def docx_text(data: bytes) -> str:
    """Return the text of a Word document in its order, tables included, a paragraph a line."""
    docx = package("docx", _EXTRA, "to read DOCX")
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        if sum(part.file_size for part in parts.infolist() if part.filename.endswith(".xml")) > MOST_BYTES:
            raise BadData(f"Unpacked it is longer than {MOST_BYTES >> 20} MiB, more than is read at once.")
    body = docx.Document(io.BytesIO(data)).element.body
    return "".join(_word_pieces(body)).strip() + "\n"


def pdf_text(data: bytes) -> str:
    """Return the text of a PDF, page after page, words and lines that it broke joined again."""
    pypdf = package("pypdf", _EXTRA, "to read PDF")
    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise BadData("The PDF wants a password. Save it without one.")
    pages, size = [], 0
    for page in reader.pages:
        pages.append(page.extract_text())
        size += len(pages[-1])
        if size > MOST_BYTES:
            raise BadData(f"It holds more than {MOST_BYTES >> 20} MiB of text, more than is read at once.")
    text = "\n".join(pages)
    return _PARAGRAPH_LINE.sub(" ", _HYPHENATED.sub("", text))


def _word_pieces(body: Any) -> Iterator[str]:
    """What is written, tracked insertions too; not what was deleted, nor the copies for older programs."""
    for event, element in _walk(body):
        tag = element.tag.removeprefix(_WORD) if isinstance(element.tag, str) else ""
        if event == "start":
            if tag == "t":
                yield element.text or ""
            elif tag in ("tab", "br", "cr"):
                yield "\t" if tag == "tab" else "\n"
        elif tag == "p":
            yield "\n"


def _walk(element: Any) -> Iterator[tuple[str, Any]]:
    """Start and end of every element, without recursion: a file may be nested as deeply as it likes."""
    waiting = [("start", element)]
    while waiting:
        event, element = waiting.pop()
        yield event, element
        if event == "start" and element.tag != _FALLBACK and element.tag != f"{_WORD}tabs":
            waiting.append(("end", element))
            waiting += [("start", child) for child in reversed(list(element))]


def _html_encoding(data: bytes) -> str:
    """By mark, then as the page says; what says nothing is UTF-8, or Windows-1252 as browsers take it."""
    found = find_encoding(data[:LOOKED_AT])
    if found != UTF8 or data.startswith(b"\xef\xbb\xbf"):
        return found
    if said := _CHARSET.search(data[:4096]):
        name = said[1].decode("ascii", "replace").lower()
        name = "cp1252" if name in ("iso-8859-1", "latin1", "latin-1", "ascii", "us-ascii") else name
        try:
            "".encode(name)
        except (LookupError, ValueError):
            pass
        else:
            return name
    try:
        data.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return UTF8


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries' own words about damaged files are theirs to keep: an error says what matters."""
    loggers = [
        logging.getLogger(name) for name in ("trafilatura", "pypdf", "htmldate", "courlan", "justext")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
