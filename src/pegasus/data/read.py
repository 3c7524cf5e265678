"""Documents and pairs out of files: JSON lines, CSV, Parquet, plain text, packed or not, and hub data sets.

    ============================  =======================================================================
    source                        read as
    ============================  =======================================================================
    *.jsonl *.ndjson *.json       one object a line (a .json file may also be one list of objects)
    *.csv *.tsv                   a header, then rows
    *.parquet                     rows, a batch at a time (pyarrow)
    *.txt *.md                    one document a file, or one a line or a block (`unit`)
    each of them + .gz .xz .bz2   unpacked while reading; .zst too (zstandard)
    a folder                      every such file below it, by name
    hub:NAME[:CONFIG][@SPLIT]     streamed through the `datasets` package; the split is train unless named
    ============================  =======================================================================

Everything is read row by row; a file of any size takes the memory of its longest row. A row that cannot be
used is a `BadData` that knows its file and line: it is raised, or handed to `bad` and passed over.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import importlib
import io
import json
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Literal, get_args

from pegasus.data.columns import Columns, Settled, settle
from pegasus.data.records import Document, Pair
from pegasus.errors import BackendMissing, BadData, BadSetting

Unit = Literal["file", "line", "block"]
#: What to do with a row that cannot be used.
OnBad = Callable[[BadData], None]
#: A row with its 1-based line, or what is wrong with it.
Row = tuple[int, Mapping[str, Any]] | BadData

_JSON, _CSV, _PARQUET, _TEXT = (
    (".jsonl", ".ndjson", ".json"),
    (".csv", ".tsv"),
    (".parquet",),
    (".txt", ".md"),
)
_PACKED = (".gz", ".xz", ".bz2", ".zst")
_HUB = "hub:"
_PARQUET_ROWS = 256


def read_documents(
    sources: Sequence[str | Path],
    *,
    column: str | None = None,
    unit: Unit = "file",
    bad: OnBad | None = None,
) -> Iterator[Document]:
    """Yield the documents of sources in order.

    Args:
        sources: files, folders and hub data sets.
        column: the column that holds the text; None finds it by its name.
        unit: what a document is in a plain text file: all of it, a line, or a block between blank lines.
        bad: gets each row that cannot be used; None raises the first.

    Raises:
        BadData: a row or file that cannot be used, where `bad` is None; no readable file; no such column.
        BackendMissing: a source wants a package that is not installed.
    """
    if unit not in get_args(Unit):
        raise BadSetting(f"unit={unit!r} is not known: use one of {', '.join(get_args(Unit))}.")
    for source in find_sources(sources):
        kept = _kept(source, Columns(document=column), False, unit, bad)
        for line, row, columns in kept:
            yield Document(row[columns.document], _row_id(row, columns, line), source, line)


def read_pairs(
    sources: Sequence[str | Path], *, columns: Columns | None = None, bad: OnBad | None = None
) -> Iterator[Pair]:
    """Yield documents with their summaries.

    Args:
        sources: files, folders and hub data sets.
        columns: which columns hold them; None finds them by their names.
        bad: gets each row that cannot be used; None raises the first.

    Raises:
        BadData: a row or file that cannot be used, where `bad` is None; no readable file; no such column.
        BackendMissing: a source wants a package that is not installed.
    """
    for source in find_sources(sources):
        for line, row, settled in _kept(source, columns or Columns(), True, "file", bad):
            summaries = tuple(_summaries(row, settled))
            yield Pair(row[settled.document], summaries, _row_id(row, settled, line), source, line)


def find_sources(sources: Sequence[str | Path]) -> list[str]:
    """Return the files of sources in order, folders replaced by the readable files below them.

    Raises:
        BadData: nothing is there, or it is of a kind that cannot be read.
    """
    found: list[str] = []
    for source in map(str, sources):
        path = Path(source)
        if source.startswith(_HUB):
            found.append(source)
        elif path.is_dir():
            inside = [str(file) for file in sorted(path.rglob("*")) if file.is_file() and _kind(file)]
            if not inside:
                raise BadData(f"The folder has no file that can be read: {_kinds()}.", source)
            found += inside
        elif not path.is_file():
            raise BadData("There is no such file or folder. Check the path.", source)
        elif not _kind(path):
            raise BadData(f"Files of this kind are not read: use {_kinds()}.", source)
        else:
            found.append(source)
    return found


def open_bytes(path: str | Path) -> IO[bytes]:
    """Open a file for reading, unpacking it by its ending.

    Raises:
        BackendMissing: the file is .zst and zstandard is not installed.
    """
    path = Path(path)
    openers: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
    if path.suffix == ".zst":
        zstandard = _package("zstandard", "to read .zst files")
        stream = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), closefd=True)
        return io.BufferedReader(stream)
    opener = openers.get(path.suffix)
    opened: IO[bytes] = path.open("rb") if opener is None else opener(path)
    return opened


def _kept(
    source: str, wanted: Columns, with_summary: bool, unit: Unit, bad: OnBad | None
) -> Iterator[tuple[int, Mapping[str, Any], Settled]]:
    """The rows that can be used; the columns are settled by the first row and hold for the whole source."""
    columns: Settled | None = None
    for row in _rows(source, unit):
        fault = row if isinstance(row, BadData) else None
        if not isinstance(row, BadData):
            line, values = row
            if columns is None:  # a wrong column is wrong in every row, so `bad` is not asked
                columns = settle(list(values), wanted, with_summary, source)
            fault = _fault(values, columns, with_summary, source, line)
            if fault is None:
                yield line, values, columns
        if fault is not None:
            if bad is None:
                raise fault
            bad(fault)


def _fault(
    row: Mapping[str, Any], columns: Settled, with_summary: bool, file: str, line: int
) -> BadData | None:
    text = row.get(columns.document)
    if not isinstance(text, str) or not text.strip():
        return BadData(
            f"{_what(columns.document, text)}: a text is needed. Mend or drop the row.", file, line
        )
    if with_summary and not _summaries(row, columns):
        name = columns.summary or columns.summaries or "summary"
        wrong = _what(name, row.get(name))
        return BadData(f"{wrong}: a text is needed. Mend or drop the row.", file, line)
    return None


def _what(column: str, value: Any) -> str:
    found = "empty" if isinstance(value, str) else "missing" if value is None else f"{type(value).__name__}"
    return f"Column {column!r} is {found}"


def _summaries(row: Mapping[str, Any], columns: Settled) -> list[str]:
    """Every reference that is a text; the single one leads where the list does not have it."""
    several = row.get(columns.summaries) if columns.summaries else None
    found = [several] if isinstance(several, str) else list(several or [])
    single = row.get(columns.summary) if columns.summary else None
    if single is not None and single not in found:
        found.insert(0, single)
    return [text for text in found if isinstance(text, str) and text.strip()]


def _row_id(row: Mapping[str, Any], columns: Settled, line: int) -> str:
    value = row.get(columns.id) if columns.id else None
    return str(line if value is None else value)


# --- rows of each kind of source ------------------------------------------------------------------------


def _rows(source: str, unit: Unit) -> Iterator[Row]:
    if source.startswith(_HUB):
        yield from _hub_rows(source)
        return
    kind = _kind(Path(source))
    if kind in _PARQUET:
        yield from _parquet_rows(source)
        return
    readers: dict[str, Callable[[IO[bytes], str], Iterator[Row]]] = {
        **dict.fromkeys(_JSON, _json_rows),
        ".csv": lambda stream, file: _csv_rows(stream, file, ","),
        ".tsv": lambda stream, file: _csv_rows(stream, file, "\t"),
        **dict.fromkeys(_TEXT, lambda stream, file: _text_rows(stream, file, unit)),
    }
    try:
        with closing(open_bytes(source)) as stream:
            yield from readers[kind](stream, source)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError) as error:
        yield _unreadable(source, error)
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # its class is known only where the package is
            raise
        yield _unreadable(source, error)


def _unreadable(source: str, error: Exception) -> BadData:
    return BadData(f"The file ends early or is damaged ({error}). Fetch or pack it again.", source)


def _json_rows(stream: IO[bytes], file: str) -> Iterator[Row]:
    for line, data in enumerate(stream, 1):
        if not data.strip():
            continue
        try:
            value = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            if line == 1 and data.lstrip()[:1] == b"[":
                yield from _json_list(data + stream.read(), file)
                return
            yield BadData(f"This is no JSON ({_first_line(error)}). Write one object a line.", file, line)
            continue
        if line == 1 and isinstance(value, list):
            yield from _json_list(data + stream.read(), file)
            return
        if isinstance(value, dict):
            yield line, value
        else:
            yield BadData(f"A row must be an object, this is a {type(value).__name__}.", file, line)


def _json_list(data: bytes, file: str) -> Iterator[Row]:
    try:
        values = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        yield BadData(f"This is no JSON ({_first_line(error)}). Write one object a line.", file, 1)
        return
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            yield number, value
        else:
            yield BadData(f"A row must be an object, this is a {type(value).__name__}.", file, number)


def _csv_rows(stream: IO[bytes], file: str, delimiter: str) -> Iterator[Row]:
    # The module's own limit, 128 KiB a field, is shorter than many documents.
    csv.field_size_limit(max(csv.field_size_limit(), min(sys.maxsize, 2**31 - 1)))
    end = 0
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            header = next(rows, [])
            end = rows.line_num
            for row in rows:
                line, end = end + 1, rows.line_num
                if row:
                    yield _csv_row(header, row, file, line)
        except (csv.Error, UnicodeDecodeError) as error:
            wrong = f"The rest cannot be read ({_first_line(error)}). Save it as UTF-8 CSV."
            yield BadData(wrong, file, end + 1)


def _csv_row(header: list[str], row: list[str], file: str, line: int) -> Row:
    if len(row) != len(header):
        return BadData(f"There are {len(row)} fields, the header has {len(header)}.", file, line)
    return line, dict(zip(header, row))


def _text_rows(stream: IO[bytes], file: str, unit: Unit) -> Iterator[Row]:
    for line, data in _text_units(stream, unit):
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            yield BadData(f"This is no UTF-8 ({_first_line(error)}). Save the file as UTF-8.", file, line)
            continue
        if text.strip():
            yield line, {"text": text}


def _text_units(stream: IO[bytes], unit: Unit) -> Iterator[tuple[int, bytes]]:
    if unit == "file":
        yield 1, stream.read()
        return
    block: list[bytes] = []
    for line, data in enumerate(stream, 1):
        if unit == "line":
            yield line, data.rstrip(b"\r\n")
        elif data.strip():
            block.append(data)
        elif block:
            yield line - len(block), b"".join(block)
            block = []
    if block:
        yield line - len(block) + 1, b"".join(block)


def _parquet_rows(source: str) -> Iterator[Row]:
    parquet = _package("pyarrow.parquet", "to read Parquet files")
    try:
        file = parquet.ParquetFile(source)
        line = 0
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            for row in batch.to_pylist():
                line += 1
                yield line, row
    except (OSError, ValueError) as error:
        yield BadData(f"The file cannot be read as Parquet ({_first_line(error)}).", source)


def _hub_rows(source: str) -> Iterator[Row]:
    datasets = _package("datasets", "to read hub data sets")
    name, _, split = source.removeprefix(_HUB).partition("@")
    name, _, config = name.partition(":")
    rows = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
    yield from enumerate(rows, 1)


def _package(name: str, why: str) -> Any:
    """Import a package of the extra `data`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendMissing(
            f"{name.partition('.')[0]} is needed {why} and is not installed. "
            "Install it with: pip install 'pegasus-summarizer[data]'"
        ) from error


def _kind(path: Path) -> str:
    """The ending that says how a file is read, "" where none does."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return last if last in (*_JSON, *_CSV, *_PARQUET, *_TEXT) else ""


def _kinds() -> str:
    endings: Iterable[str] = (*_JSON, *_CSV, *_PARQUET, *_TEXT)
    return f"{', '.join(endings)}, each also with {', '.join(_PACKED)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
