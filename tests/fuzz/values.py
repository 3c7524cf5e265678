"""Values that a file or an option was not made for: of other types, other sizes, and absurd."""

from __future__ import annotations

import random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    0,
    1,
    2,
    3,
    7,
    64,
    100,
    1000,
    -1,
    -5,
    10**4,
    10**6,
    10**9,
    -(10**9),
    2**31 - 1,
    2**31,
    2**63,
    10**40,
    0.0,
    0.5,
    1.0,
    1.5,
    -0.5,
    1e-30,
    1e9,
    1e30,
    -1e30,
    float("nan"),
    float("inf"),
    float("-inf"),
)
TEXTS = (
    "",
    " ",
    "x",
    "NaN",
    "7",
    "-1",
    "0.5",
    "true",
    "none",
    "loss",
    "../..",
    "\x00",
    "é\u202e",
    "y" * 10_000,
)


def absurd(chance: random.Random, depth: int = 0) -> Any:
    """A value of any type."""
    kind = chance.randrange(10)
    if kind < 5:
        return chance.choice(NUMBERS)
    if kind < 7:
        return chance.choice(TEXTS)
    if kind == 7 or depth > 2:
        return chance.choice((True, False, None))
    many = chance.choice((0, 1, 2, 5))
    if kind == 8:
        return [absurd(chance, depth + 1) for _ in range(many)]
    return {str(chance.choice((*NUMBERS[:6], *TEXTS))): absurd(chance, depth + 1) for _ in range(many)}


def nested(depth: int) -> str:
    """JSON of lists within lists."""
    return "[" * depth + "]" * depth


def places(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in lists and objects, the first few of long ones."""
    found = [path] if path else []
    inner = (
        values.items()
        if isinstance(values, dict)
        else enumerate(values)
        if isinstance(values, list)
        else ()
    )
    for number, (key, value) in enumerate(inner):
        if number < 60:
            found += places(value, (*path, key))
    return found


def change(values: Any, path: tuple[Any, ...], value: Any) -> None:
    """Put a value into a place."""
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


def remove(values: Any, path: tuple[Any, ...]) -> None:
    """Take a place out."""
    for key in path[:-1]:
        values = values[key]
    del values[path[-1]]
