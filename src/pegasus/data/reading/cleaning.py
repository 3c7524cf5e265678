"""Text as it stands in files → text to be read: without the marks of terminals and of broken encodings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pegasus.tokenization.segmentation.surrogates import mend_surrogates

# Colours and titles as logs of terminals have them, and letters that manual pages print twice.
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\))|[^\n]\x08")
# Line breaks of other systems, which a vocabulary drops, so that words around them are one.
_LINE_BREAK = re.compile("[\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_DEEP = 20


def clean_text(text: str) -> str:
    """Return a text with halves of characters as U+FFFD, every line break as one, and control characters
    as blanks.
    """
    text = mend_surrogates(text)
    if _ODD.search(text) is None:
        return text
    return _CONTROL.sub(" ", _LINE_BREAK.sub("\n", _TERMINAL.sub("", text)))


def clean_id(value: Any, depth: int = 0) -> Any:
    """Return what names a row as JSON can hold it: NaN as null, dates and the like as text, others as they
    are.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return mend_surrogates(value)
    if depth < _DEEP and isinstance(value, list | tuple):
        return [clean_id(inner, depth + 1) for inner in value]
    if depth < _DEEP and isinstance(value, Mapping):
        return {str(key): clean_id(inner, depth + 1) for key, inner in value.items()}
    return str(value)
