"""The log of a server: lines for people or for programs, which never hold a document or a key."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Literal

Form = Literal["json", "text"]
#: The loggers that the command sets levels of; the first is the root.
_LEVELLED = ("", "pegasus", "py.warnings")


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        facts = getattr(record, "facts", {})
        told = " ".join(f"{name}={value}" for name, value in facts.items())
        where = ""
        if record.exc_info and record.exc_info[0] is not None:
            trace = record.exc_info[2]
            lines = [] if trace is None else _lines(trace)
            where = f" ({record.exc_info[0].__name__}; {', '.join(lines)})"
        return f"pegasus: {record.getMessage()} {told}".rstrip() + where


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            kind, _, trace = record.exc_info
            line["error"] = None if kind is None else kind.__name__
            line["lines"] = None if trace is None else _lines(trace)
        return json.dumps(line)


def set_form(form: Form) -> None:
    """Have what is logged written in a form."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())


def same_log(form: Form) -> Callable[[], None]:
    """Return what gives another process, to which it can be sent, a log like this one's."""
    return partial(_begin, form, {name: logging.getLogger(name).level for name in _LEVELLED})


def _begin(form: Form, levels: Mapping[str, int]) -> None:
    logging.basicConfig(stream=sys.stderr)
    logging.captureWarnings(True)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    set_form(form)


def _lines(trace: TracebackType) -> list[str]:
    """Where an error went through; what it says may hold words of a document and is left out."""
    return [f"{frame.name} {frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(trace)]
