"""A source → its rows, by the reader of its format; what goes wrong is a `BadData` in a row's place."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from pegasus.data.reading.columnar import arrow_rows, parquet_rows
from pegasus.data.reading.documents import document_rows
from pegasus.data.reading.finding import HUB, Source
from pegasus.data.reading.formats import Format
from pegasus.data.reading.json_rows import Row, json_lines, json_values
from pegasus.data.reading.plain import text_rows
from pegasus.data.reading.streams import Stream, package, told
from pegasus.data.reading.tables import csv_rows, tsv_rows
from pegasus.errors import BadData

__all__ = ["Row", "read_rows"]

_log = logging.getLogger(__name__)


def read_rows(source: Source) -> Iterator[Row]:
    """Yield the rows of a source, or what is wrong with them; a text that is no row is one with a column
    `text`.

    Raises:
        BackendMissing: it wants a package that is not installed.
    """
    if source.on_hub:
        yield from _hub_rows(source.name)
        return
    last: int | None = None
    count = 0
    try:
        with told(source.name, lambda: last), closing(source.open()) as stream:
            for row in _rows(source, stream, source.find_format(stream)):
                count += 1
                if not isinstance(row, BadData):
                    last = row[0]
                yield row
    except BadData as error:
        yield error
        return
    if not count:
        yield BadData("It holds no text: there is nothing to read.", source.name)


def _rows(source: Source, stream: Stream, found: Format) -> Iterator[Row]:
    file, encoding = source.name, source.find_encoding(stream)
    before = _state(file)
    if found == "parquet":
        yield from parquet_rows(stream, file)
    elif found == "arrow":
        yield from arrow_rows(stream, file)
    elif found in ("html", "docx", "pdf"):
        asked = encoding if source.reading.encoding else None
        yield from document_rows(found, stream, asked, file)
    elif found == "text":
        yield from text_rows(stream, encoding, file, source.reading.unit)
    else:
        readers = {"jsonl": json_lines, "json": json_values, "csv": csv_rows, "tsv": tsv_rows}
        yield from readers[found](stream, encoding, file)
    if _state(file) != before:
        _log.warning("%s: changed while it was read: rows may be missing", file)


def _state(file: str) -> tuple[int, int] | None:
    """What changes when a regular file is written."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if os.path.isfile(file) else None


def _hub_rows(source: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    datasets = package("datasets", "data", "to read hub data sets")
    name, _, split = source.removeprefix(HUB).partition("@")
    name, _, config = name.partition(":")
    rows = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
    yield from enumerate(rows, 1)
