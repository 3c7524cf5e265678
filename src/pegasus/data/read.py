"""Documents, pairs and texts out of files of any kind, packed or not, standard input and hub data sets.

    =============================  ======================================================================
    source                         read as
    =============================  ======================================================================
    *.jsonl *.ndjson               one object a line
    *.json                         a list of objects, objects in a row, or one that holds rows
    *.csv *.tsv                    a header, then rows
    *.parquet *.arrow              rows, a batch at a time (pyarrow)
    *.txt *.md                     one document a file, or one a line or a block (`unit`)
    *.html *.docx *.pdf            one document a file (the extra `documents`)
    each also .gz .xz .bz2         unpacked while reading; .zst too (zstandard)
    other names, and - (stdin)     what their content shows them to be
    a folder                       every such file below it, by name; what is passed over is told
    hub:NAME[:CONFIG][@SPLIT]      streamed by the package `datasets`; the split is train unless named
    =============================  ======================================================================

Everything is read row by row: a file of any size takes the memory of its longest row; a row above 64 MiB is
refused. A row that cannot be used is a `BadData` that knows its file and line: it is raised, or handed to
`bad` and passed over. Halves of characters in a text become U+FFFD; a warning tells the line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pegasus.data.columns import Columns, Settled, settle
from pegasus.data.reading.cleaning import clean_id, clean_text
from pegasus.data.reading.finding import Reading, Source, find_sources
from pegasus.data.reading.json_rows import kind_of
from pegasus.data.reading.plain import Unit
from pegasus.data.reading.rows import read_rows
from pegasus.data.records import Document, Pair
from pegasus.errors import BadData
from pegasus.tokenization.segmentation.surrogates import has_surrogates

__all__ = ["OnBad", "Reading", "Source", "Text", "Unit", "find_sources"]
__all__ += ["read_documents", "read_pairs", "read_texts"]

#: What to do with a row that cannot be used.
OnBad = Callable[[BadData], None]

_log = logging.getLogger(__name__)
_MOST_TOLD = 20


@dataclass(frozen=True)
class Text:
    """A text to be summarized, or why there is none.

    Attributes:
        text: the text, or what is wrong.
        line: its line or row; None where the source is one text.
        id: what its row calls it, its line where the row says nothing; numbers stay numbers.
    """

    text: str | BadData
    line: int | None = None
    id: Any = None


def read_documents(
    sources: Sequence[str | Path],
    *,
    column: str | None = None,
    unit: Unit = "file",
    format: str | None = None,
    encoding: str | None = None,
    bad: OnBad | None = None,
) -> Iterator[Document]:
    """Yield the documents of sources in order.

    Args:
        sources: files, folders, "-" for standard input, and hub data sets.
        column: the column that holds the text; None finds it by its name.
        unit: what a document is in a plain text file: all of it, a line, or a block between blank lines.
        format: what every source holds, such as "csv"; None finds it by content and name.
        encoding: what text is in, such as "windows-1252"; None finds UTF-8, UTF-16 and UTF-32.
        bad: gets each row that cannot be used; None raises the first.

    Raises:
        BadData: a row or file that cannot be used, where `bad` is None; no readable file; no such column.
        BackendMissing: a source wants a package that is not installed.
    """
    reading = Reading(unit, format, encoding, column)
    for source in find_sources(sources, reading):
        for line, row, columns in _kept(source, Columns(document=column), False, bad):
            yield Document(row[columns.document], _row_id(row, columns, line), source.name, line)


def read_pairs(
    sources: Sequence[str | Path],
    *,
    columns: Columns | None = None,
    format: str | None = None,
    encoding: str | None = None,
    bad: OnBad | None = None,
) -> Iterator[Pair]:
    """Yield documents with their summaries.

    Args:
        sources: files, folders, "-" for standard input, and hub data sets.
        columns: which columns hold them; None finds them by their names.
        format: what every source holds, such as "csv"; None finds it by content and name.
        encoding: what text is in, such as "windows-1252"; None finds UTF-8, UTF-16 and UTF-32.
        bad: gets each row that cannot be used; None raises the first.

    Raises:
        BadData: a row or file that cannot be used, where `bad` is None; no readable file; no such column.
        BackendMissing: a source wants a package that is not installed.
    """
    columns = columns or Columns()
    reading = Reading("file", format, encoding, columns.document)
    for source in find_sources(sources, reading):
        for line, row, settled in _kept(source, columns, True, bad):
            summaries = tuple(_summaries(row, settled))
            yield Pair(row[settled.document], summaries, _row_id(row, settled, line), source.name, line)


def read_texts(source: Source) -> Iterator[Text]:
    """Yield the texts of a source, each row that has none as its error.

    Columns are settled row by row, for rows of JSON may differ.

    Raises:
        BackendMissing: it wants a package that is not installed.
    """
    rows = source.holds_rows()
    known: dict[tuple[str, ...], Settled] = {}
    tell = _Teller(source.name)
    for row in read_rows(source):
        if isinstance(row, BadData):
            yield Text(row, row.line if rows else None, row.line)
            continue
        line, values = row
        name: Any = line
        try:
            names = tuple(values)
            if names not in known:
                known = {names: settle(names, Columns(source.reading.column), False, source.name, line)}
            columns = known[names]
            name = line if columns.id is None else clean_id(values.get(columns.id))
            text = _text(values, columns.document, source.name, line, tell)
        except BadData as error:
            yield Text(error, line if rows else None, name if rows else None)
            continue
        yield Text(text, line if rows else None, name if rows else None)


def _kept(
    source: Source, wanted: Columns, with_summary: bool, bad: OnBad | None
) -> Iterator[tuple[int, Mapping[str, Any], Settled]]:
    """The rows that can be used; the columns are settled by the first row and hold for the whole source."""
    columns: Settled | None = None
    tell = _Teller(source.name)
    for row in read_rows(source):
        fault = row if isinstance(row, BadData) else None
        if not isinstance(row, BadData):
            line, values = row
            if columns is None:  # a wrong column is wrong in every row, so `bad` is not asked
                columns = settle(list(values), wanted, with_summary, source.name)
            try:
                values = _usable(values, columns, with_summary, source.name, line, tell)
                yield line, values, columns
            except BadData as error:
                fault = error
        if fault is not None:
            if bad is None:
                raise fault
            bad(fault)


def _usable(
    row: Mapping[str, Any], columns: Settled, with_summary: bool, file: str, line: int, tell: _Teller
) -> Mapping[str, Any]:
    """A row with its texts cleaned.

    Raises:
        BadData: it has no document, or no summary where one is wanted.
    """
    cleaned = {**row, columns.document: _text(row, columns.document, file, line, tell)}
    if with_summary:
        if not _summaries(row, columns):
            name = columns.summary or columns.summaries or "summary"
            raise _no_text(name, row.get(name), file, line)
        for read in {columns.summary, columns.summaries} - {None}:
            cleaned[str(read)] = _cleaned(row.get(str(read)), str(read), line, tell)
    return cleaned


def _text(row: Mapping[str, Any], column: str, file: str, line: int, tell: _Teller) -> str:
    text = row.get(column)
    if not isinstance(text, str) or not text.strip():
        raise _no_text(column, text, file, line)
    cleaned: str = _cleaned(text, column, line, tell)
    return cleaned


def _no_text(column: str, value: Any, file: str, line: int) -> BadData:
    found = "empty" if isinstance(value, str) else "missing" if value is None else kind_of(value)
    return BadData(f"Column {column!r} is {found}: a text is needed. Mend or drop the row.", file, line)


def _cleaned(value: Any, column: str, line: int, tell: _Teller) -> Any:
    if isinstance(value, list | tuple):
        return [_cleaned(inner, column, line, tell) for inner in value]
    if not isinstance(value, str):
        return value
    if has_surrogates(value):
        tell(line, f"column {column!r} holds half a character, which is read as U+FFFD")
    return clean_text(value)


def _summaries(row: Mapping[str, Any], columns: Settled) -> list[str]:
    """Every reference that is a text; the single one leads where the list does not have it."""
    several = row.get(columns.summaries) if columns.summaries else None
    found = [several] if isinstance(several, str) else list(several) if isinstance(several, list) else []
    single = row.get(columns.summary) if columns.summary else None
    if single is not None and single not in found:
        found.insert(0, single)
    return [text for text in found if isinstance(text, str) and text.strip()]


def _row_id(row: Mapping[str, Any], columns: Settled, line: int) -> str:
    value = clean_id(row.get(columns.id)) if columns.id else None
    return str(line if value is None else value)


class _Teller:
    """Warns of rows of a source, of the first ones by name."""

    def __init__(self, file: str) -> None:
        self._file, self._told = file, 0

    def __call__(self, line: int, what: str) -> None:
        self._told += 1
        if self._told <= _MOST_TOLD:
            _log.warning("%s:%d: %s", self._file, line, what)
        elif self._told == _MOST_TOLD + 1:
            _log.warning("%s: more rows like these are not named", self._file)
