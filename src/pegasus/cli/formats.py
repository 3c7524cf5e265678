"""How results look: as text to be read, as JSON, or as JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from pegasus.cli.exits import visible, visible_json
from pegasus.cli.inputs import Item
from pegasus.errors import PegasusError

if TYPE_CHECKING:
    from pegasus.summarizer import Summary

#: Takes whole lines, or a piece of a JSON list, and passes them on at once.
Sink = Callable[[str], None]
Record = Mapping[str, Any]


class Form(Protocol):
    """Writes results, in order."""

    def write(self, record: Record) -> bool:
        """Write a result, or an error; whether there was anything to write."""
        ...

    def close(self) -> None:
        """Write what comes after the last."""
        ...


def choose_form(name: str, sink: Sink, *, single: bool) -> Form:
    """Return the form of that name over a sink.

    Args:
        name: "text", "json" or "jsonl".
        sink: where it writes.
        single: whether there is exactly one text, which then needs no heading and no list.
    """
    if name == "jsonl":
        return JsonLines(sink)
    if name == "json":
        return Json(sink, single)
    return Text(sink, single)


def to_record(item: Item, end: Summary | PegasusError) -> dict[str, Any]:
    """Return a result for JSON: where it comes from, then the summary and its facts, or the error."""
    return {**origin_of(item), **to_facts(end)}


def origin_of(item: Item) -> dict[str, Any]:
    """Return where a result comes from."""
    if item.line is None:
        return {"file": item.file}
    return {"id": item.id, "file": item.file, "line": item.line}


def to_facts(end: Summary | PegasusError) -> dict[str, Any]:
    """Return a summary and its facts, or the error."""
    if isinstance(end, PegasusError):
        return {"error": str(end)}
    facts = end.to_dict()
    return {"summary": facts.pop("text"), **facts}


def to_line(record: Record) -> str:
    """Return a result as a line of JSON, without its end."""
    return _json(record)


class Text:
    """Summaries to be read: under a heading each where there are several, on one line each for rows."""

    def __init__(self, sink: Sink, single: bool) -> None:
        self.sink, self.single = sink, single

    def write(self, record: Record) -> bool:
        """Print a summary. Errors are for stderr alone, but a row keeps its line, then an empty one."""
        row = "line" in record
        if "error" in record:
            if row:
                self._print("")
            return row
        if row:
            self._print(" ".join(record["summary"].split()))
        elif self.single:
            self._print(record["summary"])
        else:
            name = "stdin" if record["file"] == "-" else record["file"]
            self._print(f"==> {name} <==\n{record['summary']}\n")
        if record.get("explanation") is not None:
            self._print("\n".join(["", *_explained(record["explanation"]), ""]))
        return True

    def close(self) -> None:
        """Nothing comes after the last."""

    def _print(self, text: str) -> None:
        self.sink(_writable(visible(text)) + "\n")


class JsonLines:
    """One object a line."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def write(self, record: Record) -> bool:
        """Print a result, or an error, as a line."""
        self.sink(_json(record) + "\n")
        return True

    def close(self) -> None:
        """Nothing comes after the last."""


class Json:
    """One object, or a list of them."""

    def __init__(self, sink: Sink, single: bool) -> None:
        self.sink, self.single = sink, single
        self.count = 0

    def write(self, record: Record) -> bool:
        """Print a result, or an error, as the object or the next of the list."""
        if self.single:
            self.sink(_json(record, indent=2) + "\n")
        else:
            self.sink(("[\n" if self.count == 0 else ",\n") + _json(record))
        self.count += 1
        return True

    def close(self) -> None:
        """End the list."""
        if not self.single:
            self.sink("\n]\n" if self.count else "[]\n")


def _json(record: Record, indent: int | None = None) -> str:
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:  # an id NaN or Infinity, which JSON has no word for
        text = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False, indent=indent)
    return visible_json(_writable(text))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _writable(text: str) -> str:
    # JSON can carry a lone surrogate and UTF-8 cannot: one such row must not stop the rest.
    return text.encode("utf-8", "replace").decode("utf-8")


def _explained(explanation: Any) -> Iterator[str]:
    for number, told in enumerate(explanation, 1):
        yield f"{number:3}. {' '.join(told['sentence'].split())}"
        for support in told["support"]:
            yield f"     {support['share']:4.0%}  {' '.join(support['text'].split())}"
