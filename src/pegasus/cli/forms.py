"""How results look: as text to be read, as JSON, or as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Protocol

from pegasus.cli.inputs import Item
from pegasus.errors import PegasusError

if TYPE_CHECKING:
    from pegasus.summarizer import Summary


class Form(Protocol):
    """Writes results to a stream, in order."""

    def write(self, item: Item, end: Summary | PegasusError) -> bool:
        """Write the summary of an item, or its error; whether there was anything to write."""
        ...

    def close(self) -> None:
        """Write what comes after the last."""
        ...


def choose_form(name: str, stream: IO[str], *, single: bool) -> Form:
    """Return the form of that name over a stream.

    Args:
        name: "text", "json" or "jsonl".
        stream: where it writes.
        single: whether there is exactly one text, which then needs no heading and no list.
    """
    if name == "jsonl":
        return JsonLines(stream)
    if name == "json":
        return Json(stream, single)
    return Text(stream, single)


def to_record(item: Item, end: Summary | PegasusError) -> dict[str, Any]:
    """Return a result for JSON: where it comes from, then the summary and its facts, or the error."""
    record: dict[str, Any] = {"file": item.file}
    if item.line is not None:
        record = {"id": item.id, "file": item.file, "line": item.line}
    if isinstance(end, PegasusError):
        return {**record, "error": str(end)}
    facts = end.to_dict()
    return {**record, "summary": facts.pop("text"), **facts}


class Text:
    """Summaries to be read: under a heading each where there are several, on one line each for rows."""

    def __init__(self, stream: IO[str], single: bool) -> None:
        self.stream = stream
        self.single = single

    def write(self, item: Item, end: Summary | PegasusError) -> bool:
        """Print a summary. Errors are for stderr alone, but a row keeps its line, then an empty one."""
        if isinstance(end, PegasusError):
            if item.line is not None:
                self._print("")
            return item.line is not None
        if item.line is not None:
            self._print(" ".join(end.text.split()))
        else:
            self._print(end.text if self.single else f"==> {item.name} <==\n{end.text}\n")
        if end.explanation is not None:
            self._print("\n".join(["", *_explained(end), ""]))
        return True

    def close(self) -> None:
        """Nothing comes after the last."""

    def _print(self, text: str) -> None:
        print(_writable(text), file=self.stream, flush=True)


class JsonLines:
    """One object a line."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, item: Item, end: Summary | PegasusError) -> bool:
        """Print a result, or an error, as a line."""
        print(_json(to_record(item, end)), file=self.stream, flush=True)
        return True

    def close(self) -> None:
        """Nothing comes after the last."""


class Json:
    """One object, or a list of them."""

    def __init__(self, stream: IO[str], single: bool) -> None:
        self.stream = stream
        self.single = single
        self.count = 0

    def write(self, item: Item, end: Summary | PegasusError) -> bool:
        """Print a result, or an error, as the object or the next of the list."""
        if self.single:
            print(_json(to_record(item, end), indent=2), file=self.stream, flush=True)
        else:
            self.stream.write(("[\n" if self.count == 0 else ",\n") + _json(to_record(item, end)))
        self.count += 1
        return True

    def close(self) -> None:
        """End the list."""
        if not self.single:
            self.stream.write("\n]\n" if self.count else "[]\n")


def _json(record: dict[str, Any], indent: int | None = None) -> str:
    return _writable(json.dumps(record, ensure_ascii=False, indent=indent))


def _writable(text: str) -> str:
    # JSON can carry a lone surrogate and UTF-8 cannot: one such row must not stop the rest.
    return text.encode("utf-8", "replace").decode("utf-8")


def _explained(summary: Summary) -> Iterator[str]:
    for number, told in enumerate(summary.explanation or (), 1):
        yield f"{number:3}. {' '.join(told.sentence.split())}"
        for support in told.support:
            yield f"     {support.share:4.0%}  {' '.join(support.text.split())}"
