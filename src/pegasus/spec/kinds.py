"""Kinds of values: what a setting or a field of a file may be, as a test and in words.

Python's own types do not say enough: a bool is an int, NaN is a float that no bound refuses, and 10**9 is a
whole number that no model has layers of.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SHOWN = 60


@dataclass(frozen=True)
class Kind:
    """What a value may be.

    Attributes:
        wanted: in words, after "it must be".
        fits: whether a value is one.
    """

    wanted: str
    fits: Callable[[Any], bool]


def whole(least: int = 0, most: int | None = None) -> Kind:
    """A whole number from ``least`` to ``most``."""
    top = sys.maxsize if most is None else most
    return Kind(
        f"a whole number {_range(least, most)}", lambda value: is_whole(value) and least <= value <= top
    )


def number(least: float = 0, most: float | None = None, *, above: bool = False) -> Kind:
    """A finite number from ``least`` to ``most``; with ``above``, greater than ``least``."""
    top = sys.float_info.max if most is None else most

    def fits(value: Any) -> bool:
        # NaN fails every comparison.
        plain = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return bool(plain and least <= value <= top and not (above and value == least))

    words = (
        f"above {least:g}" + ("" if most is None else f" and at most {most:g}")
        if above
        else _range(least, most)
    )
    return Kind(f"a number {words}", fits)


def one_of(*choices: Any) -> Kind:
    """One of these."""

    def fits(value: Any) -> bool:
        return any(value == choice and type(value) is type(choice) for choice in choices)

    return Kind(f"one of {', '.join(map(str, choices))}", fits)


def listing(kind: Kind, least: int = 0) -> Kind:
    """A list, or a tuple, of values of one kind."""

    def fits(value: Any) -> bool:
        return isinstance(value, list | tuple) and len(value) >= least and all(map(kind.fits, value))

    return Kind(f"a list, each entry {kind.wanted}", fits)


def either(*kinds: Kind) -> Kind:
    """Of one kind or of another."""
    return Kind(
        " or ".join(kind.wanted for kind in kinds), lambda value: any(kind.fits(value) for kind in kinds)
    )


def maybe(kind: Kind) -> Kind:
    """Of that kind, or null."""
    return Kind(f"{kind.wanted}, or null", lambda value: value is None or kind.fits(value))


def is_whole(value: Any) -> bool:
    """Whether it is an int, Python's or NumPy's, and no bool."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def refusals(values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Iterable[str]:
    """A sentence for each value that is not of its kind; names without a kind may be anything."""
    for name, kind in kinds.items():
        if name in values and not kind.fits(values[name]):
            yield refusal(name, values[name], kind.wanted)


def refusal(name: str, value: Any, wanted: str) -> str:
    """What is wrong with one value."""
    return f"{name} is {shown(value)}; it must be {wanted}"


def shown(value: Any) -> str:
    """A value as an error shows it: not longer than a line."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits to be written
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _range(least: float, most: float | None) -> str:
    if most is None:
        return "above 0" if is_whole(least) and least == 1 else f"of at least {least:g}"
    if is_whole(least):
        return f"above 0 and at most {most:,}" if least == 1 else f"from {least:,} to {most:,}"
    return f"from {least:g} to {most:g}"


TEXT = Kind("text", lambda value: isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, Mapping))
#: null is what old files write for "not said".
FLAG = Kind("true or false", lambda value: value is None or isinstance(value, bool) or value in (0, 1))
ID = whole(0, 2**31 - 1)
SHARE = Kind("a probability between 0 and 1", number(0, 1).fits)
