"""What may be given as texts, and what to do about what may not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from pegasus.errors import BadData


def many_texts(texts: Any) -> Iterable[Any]:
    """Return what holds several texts; each of them is looked at when its turn comes.

    Raises:
        BadData: it is one thing and not many, or its members are no texts.
    """
    if isinstance(texts, str):
        raise BadData("This takes several texts, and one was given: put it into a list.")
    if _is_one(texts) or not isinstance(texts, Iterable):
        raise BadData(f"Texts must be a string or several strings; {not_a_text(texts)}")
    # Each value of Arrow's columns is a record of its own, not a string.
    return texts.to_pylist() if hasattr(texts, "to_pylist") else texts


def not_a_text(value: Any) -> str:
    """Return in words what was found in the place of a text, and what to do."""
    found = f"found {_named(value)}"
    if isinstance(value, Mapping):
        return f'{found}: give the text in it, such as row["text"].'
    if isinstance(value, bytes | bytearray | memoryview):
        return f'{found}: decode them first, such as data.decode("utf-8").'
    if isinstance(value, os.PathLike):
        return f'{found}: give the text of the file, such as path.read_text(encoding="utf-8").'
    if hasattr(value, "read"):
        return f"{found}: give its text, such as file.read()."
    if _is_table(value):
        return f'{found}: give one of its columns, such as table["text"].'
    if isinstance(value, list | tuple):
        return f"{found}: give one list of strings."
    return f"{found}: give a string."


def _is_one(value: Any) -> bool:
    """Whether something can be iterated and yet holds no texts."""
    return (
        isinstance(value, Mapping | bytes | bytearray | memoryview | os.PathLike)
        or hasattr(value, "read")
        or getattr(value, "shape", None) == ()
        or _is_table(value)
    )


def _is_table(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "shape")


def _named(value: Any) -> str:
    if value is None:
        return "None"
    return f"bytes ({type(value).__name__})" if isinstance(value, bytes) else f"a {type(value).__name__}"
