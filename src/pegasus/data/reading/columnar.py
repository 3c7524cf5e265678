"""Parquet and Arrow → rows, a batch at a time, through pyarrow."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from pegasus.data.reading.json_rows import Row
from pegasus.data.reading.streams import Stream, package
from pegasus.errors import BadData

_ROWS_AT_ONCE = 64
_FILE_MARK = b"ARROW1"


def parquet_rows(stream: Stream, file: str) -> Iterator[Row]:
    """Yield the rows of a Parquet file."""
    parquet = package("pyarrow.parquet", "data", "to read Parquet files")
    with _seekable(stream) as data:
        yield from _rows(lambda: parquet.ParquetFile(data).iter_batches(_ROWS_AT_ONCE), file, "Parquet")


def arrow_rows(stream: Stream, file: str) -> Iterator[Row]:
    """Yield the rows of an Arrow file, or of a stream of Arrow such as `datasets` keeps in its cache."""
    ipc = package("pyarrow.ipc", "data", "to read Arrow files")

    def batches(data: IO[bytes]) -> Iterator[Any]:
        if stream_is_file:
            opened = ipc.open_file(data)
            return (opened.get_batch(number) for number in range(opened.num_record_batches))
        return iter(ipc.open_stream(data))

    stream_is_file = stream.look(len(_FILE_MARK)).startswith(_FILE_MARK)
    with _seekable(stream) as data:
        yield from _rows(lambda: batches(data), file, "Arrow")


def _rows(open_batches: Any, file: str, kind: str) -> Iterator[Row]:
    arrow = package("pyarrow", "data", f"to read {kind} files")
    line = 0
    try:
        for batch in open_batches():
            for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                for row in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                    line += 1
                    yield line, row
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, BadData):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        where = f" after row {line:,}" if line else ""
        yield BadData(f"The file cannot be read as {kind}{where} ({first}). Write it again.", file)


@contextmanager
def _seekable(stream: Stream) -> Iterator[IO[bytes]]:
    """The same bytes in a file that can be read in any order: an index stands at their end."""
    if (file := stream.seekable_file()) is not None:
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, io.DEFAULT_BUFFER_SIZE * 8)
        copy.seek(0)
        yield copy
