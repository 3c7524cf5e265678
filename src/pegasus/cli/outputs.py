"""Where summaries go: stdout, one file, or a folder of files; as text, JSON or JSON lines.

Files are written beside their place and moved there when they are whole; what a failure or Ctrl-C
interrupts leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from pegasus.cli.inputs import Item, holds_rows
from pegasus.errors import BadSetting, PegasusError

if TYPE_CHECKING:
    from pegasus.summarizer import Summary

_STDOUT = "-"
_ENDINGS = {"text": ".summary.txt", "json": ".summary.json", "jsonl": ".summary.jsonl"}


class Output(Protocol):
    """What takes results, in order."""

    def write(self, item: Item, end: Summary | PegasusError) -> None:
        """Take the summary of an item, or its error."""
        ...


def open_output(
    files: Sequence[str], target: str, form: str | None, column: str | None, overwrite: bool
) -> AbstractContextManager[Output]:
    """Open where results shall go.

    Args:
        files: the inputs, by which the form is chosen where none is named.
        target: a file, a folder (it exists or ends in a slash), or "-" for stdout.
        form: "text", "json" or "jsonl"; None chooses by the names.
        column: as in `read_items`.
        overwrite: whether files that exist may be replaced.

    Raises:
        BadSetting: an output exists, is an input, or two inputs would go into one.
    """
    rows = [holds_rows(file, column) for file in files]
    form = form or _form(target, all(rows))
    single = len(files) == 1 and not any(rows)
    if target == _STDOUT:
        return contextlib.nullcontext(_layout(form, sys.stdout, single))
    if target.endswith(("/", os.sep)) or Path(target).is_dir():
        return _folder(_places(files, Path(target), form, overwrite), form, dict(zip(files, rows)))
    _check_place(Path(target), files, overwrite)
    return _file(Path(target), form, single)


def _form(target: str, all_rows: bool) -> str:
    suffix = Path(target).suffix.lower()
    if suffix in (".json", ".jsonl"):
        return suffix[1:]
    return "jsonl" if suffix == ".ndjson" or all_rows else "text"


def _layout(form: str, stream: IO[str], single: bool) -> Output:
    if form == "jsonl":
        return JsonLines(stream)
    if form == "json":
        return Json(stream) if single else JsonArray(stream)
    return Text(stream, single)


# -- the three forms -----------------------------------------------------------------------------------


def to_record(item: Item, end: Summary | PegasusError) -> dict[str, Any]:
    """Return a result as JSON shows it: where it comes from, then the summary and its facts, or the error."""
    record: dict[str, Any] = {"id": item.id, "file": item.file, "line": item.line}
    if item.line is None:
        record = {"file": item.file}
    if isinstance(end, PegasusError):
        return {**record, "error": str(end)}
    facts = end.to_dict()
    return {**record, "summary": facts.pop("text"), **facts}


def _dumped(record: dict[str, Any], indent: int | None = None) -> str:
    # A lone surrogate, which JSON can carry and UTF-8 cannot, must not stop the rest.
    text = json.dumps(record, ensure_ascii=False, indent=indent)
    return text.encode("utf-8", "replace").decode("utf-8")


class Text:
    """Summaries to be read: a heading each where there are several, one line each for rows."""

    def __init__(self, stream: IO[str], single: bool) -> None:
        self.stream = stream
        self.single = single

    def write(self, item: Item, end: Summary | PegasusError) -> None:
        """Print a summary; errors are for stderr alone, except that a row keeps its (empty) line."""
        text = "" if isinstance(end, PegasusError) else end.text
        lines = [" ".join(text.split())] if item.line is not None else [text]
        if item.line is None and isinstance(end, PegasusError):
            return
        if not self.single and item.line is None:
            lines = [f"==> {item.name} <==", text, ""]
        if not isinstance(end, PegasusError) and end.explanation is not None:
            lines += ["", *_explained(end), ""]
        shown = "\n".join(lines).encode("utf-8", "replace").decode("utf-8")
        print(shown, file=self.stream, flush=True)


class JsonLines:
    """One object a line."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, item: Item, end: Summary | PegasusError) -> None:
        """Print a result, or an error, as a line."""
        print(_dumped(to_record(item, end)), file=self.stream, flush=True)


class Json:
    """One object."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, item: Item, end: Summary | PegasusError) -> None:
        """Print the result, or the error."""
        print(_dumped(to_record(item, end), indent=2), file=self.stream, flush=True)


class JsonArray:
    """A list of objects, one a line."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.count = 0

    def write(self, item: Item, end: Summary | PegasusError) -> None:
        """Print a result, or an error, as the next object of the list."""
        self.stream.write(("[\n" if self.count == 0 else ",\n") + _dumped(to_record(item, end)))
        self.count += 1

    def close(self) -> None:
        """End the list."""
        self.stream.write("\n]\n" if self.count else "[]\n")
        self.stream.flush()


def _explained(summary: Summary) -> Iterator[str]:
    for number, told in enumerate(summary.explanation or (), 1):
        yield f"{number:3}. {' '.join(told.sentence.split())}"
        for support in told.support:
            yield f"     {support.share:4.0%}  {' '.join(support.text.split())}"
