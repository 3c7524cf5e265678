"""Writing TOML: what a job file can hold, and no more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pegasus.errors import BadSetting


def to_toml(values: Mapping[str, Any]) -> str:
    """Tables of plain values as TOML; what is None is left out, for TOML has no such value."""
    return "\n".join(_table(values, ())).strip() + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {key: value for key, value in values.items() if value is not None}
    tables = {key: value for key, value in plain.items() if isinstance(value, Mapping)}
    if path and (len(tables) < len(plain) or not plain):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in plain.items():
        if key not in tables:
            yield f"{_key(key)} = {_value(value)}"
    for key, table in tables.items():
        yield from _table(table, (*path, key))


def _key(key: str) -> str:
    bare = key and all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in key)
    return key if bare else _text(key)


def _text(text: str) -> str:
    """Quoted as JSON does it, which leaves out one character that TOML wants written as a number."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case str():
            return _text(value)
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case Mapping():
            given = {key: inner for key, inner in value.items() if inner is not None}
            return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in given.items()) + "}"
    raise BadSetting(
        f"a job file cannot hold {value!r}: use text, numbers, true or false, lists and tables"
    )
