"""CSV and TSV → rows: a line of names, then the fields, also over several lines in quotes."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain

from pegasus.data.reading.encodings import UTF8, wrong_encoding
from pegasus.data.reading.json_rows import Row
from pegasus.data.reading.streams import MOST_BYTES, Stream
from pegasus.errors import BadData

_log = logging.getLogger(__name__)
# As spreadsheets write it above the names, in countries where a comma is a decimal point.
_SEPARATOR = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_DELIMITERS = ",;\t|"
_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8


def csv_rows(stream: Stream, encoding: str, file: str) -> Iterator[Row]:
    """Yield the rows of a CSV file; the names tell whether commas, semicolons, tabs or bars part them."""
    yield from _rows(stream, encoding, file, None)


def tsv_rows(stream: Stream, encoding: str, file: str) -> Iterator[Row]:
    """Yield the rows of a TSV file."""
    yield from _rows(stream, encoding, file, "\t")


def _rows(stream: Stream, encoding: str, file: str, delimiter: str | None) -> Iterator[Row]:
    # The module's own limit, 128 KiB a field, is shorter than many documents.
    csv.field_size_limit(MOST_BYTES)
    # A byte that is no UTF-8 is an error of its row; in other encodings nothing can be told after it.
    errors = "surrogateescape" if encoding == UTF8 else "strict"
    with io.TextIOWrapper(stream, encoding, errors=errors, newline="") as text:
        header: list[str] | None = None
        for line, record in _records(text, delimiter, file):
            if isinstance(record, BadData):
                yield record
            elif header is None:
                header = record
                _tell_repeated(header, file, line)
            elif len(record) == len(header):
                yield line, dict(zip(header, record))
            else:
                wrong = (
                    f"There are {len(record)} fields, the header has {len(header)}. Mend or drop the row."
                )
                yield BadData(wrong, file, line)


def _records(
    text: io.TextIOWrapper, delimiter: str | None, file: str
) -> Iterator[tuple[int, list[str] | BadData]]:
    """Yield the fields of each record with its first line, or what is wrong with it."""
    lines = iter(partial(text.readline, MOST_BYTES), "")
    before = end = 0
    try:
        first = next(lines, "")
        if separator := _SEPARATOR.fullmatch(first):
            delimiter, first, before = separator[1], next(lines, ""), 1
        records = csv.reader(chain([first], lines), delimiter=delimiter or _delimiter(first), strict=True)
        end = before
        while True:
            line, end = end + 1, before + records.line_num
            try:
                record = next(records, None)
            except csv.Error as error:
                several = before + records.line_num > line
                yield line, _wrong(error, several, file, line)
                if several:  # where the next record begins cannot be told
                    return
                record = []
            end = before + records.line_num
            if record is None:
                return
            if record:
                yield line, _checked(record, file, line)
    except UnicodeDecodeError as error:
        yield end + 1, BadData(f"{wrong_encoding(error)} The rest is not read.", file, end + 1)


def _wrong(error: csv.Error, several: bool, file: str, line: int) -> BadData:
    if "unexpected end of data" in str(error):
        return BadData(
            "A quotation mark is opened here and never closed: the rest cannot be read. Close or drop it.",
            file,
            line,
        )
    rest = "; the rest cannot be read" if several else ""
    return BadData(f"This is no CSV ({error}){rest}. Write quotation marks in a field twice.", file, line)


def _checked(record: list[str], file: str, line: int) -> list[str] | BadData:
    joined = "".join(record)
    if joined.isascii() or not _ESCAPED.search(joined):
        return record
    try:
        joined.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        return BadData(wrong_encoding(error), file, line)
    return record


def _delimiter(names: str) -> str:
    """What parts names: what stands there most often, a comma where two are equal.

    One column alone is parted by nothing that a text has, so that its commas need no quotes.
    """
    outside = re.sub(r'"[^"]*"', "", names)
    found = max(_DELIMITERS, key=outside.count)
    return found if found in outside else "\x1f"


def _tell_repeated(header: list[str], file: str, line: int) -> None:
    repeated = [name for name, times in Counter(header).items() if times > 1]
    if repeated:
        names = ", ".join(map(repr, repeated))
        _log.warning("%s:%d: %s stands there more than once: the last one counts", file, line, names)
