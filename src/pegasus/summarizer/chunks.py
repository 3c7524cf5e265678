"""Cutting a long text into pieces that the model can read, at sentence borders and of like size."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

#: How many tokens each of these strings has, end tokens not counted.
Count = Callable[[Sequence[str]], list[int]]

_REACH = 400


def split_units(sentences: Sequence[str], limit: int, count: Count) -> tuple[list[str], list[int]]:
    """Return the sentences, those of more than `limit` tokens cut into parts that fit, and their tokens.

    A part ends at white space where there is some near its middle; text without any (base64, a language
    written without spaces) is cut between characters. Concatenated, the parts are the sentences again.
    """
    units, sizes = list(sentences), count(sentences)
    while any(size > limit and len(unit) > 1 for unit, size in zip(units, sizes)):
        parts = [_cut(unit, -(-size // limit)) for unit, size in zip(units, sizes)]
        fresh = iter(count([part for own in parts if len(own) > 1 for part in own]))
        sizes = [next(fresh) if len(own) > 1 else size for own, size in zip(parts, sizes) for _ in own]
        units = [part for own in parts for part in own]
    return units, sizes


def balance(sizes: Sequence[int], limit: int) -> list[range]:
    """Return runs of neighbouring units, as few as fit into `limit` and as even as these can be.

    The largest run is as small as it can be for that number of runs, and the borders lie as near to even
    shares as that allows. Where a unit is larger than `limit`, it is alone and nothing is evened out.
    """
    runs = _fill(sizes, limit) if sizes else []
    if len(runs) < 2 or max(sizes) > limit:
        return runs
    low, high = max(*sizes, math.ceil(sum(sizes) / len(runs))), limit
    while low < high:
        middle = (low + high) // 2
        if len(_fill(sizes, middle)) > len(runs):
            low = middle + 1
        else:
            high = middle
    return _even(sizes, high, len(runs))


def _even(sizes: Sequence[int], limit: int, parts: int) -> list[range]:
    """Return `parts` runs within `limit`, each border as near to its even share as the others allow."""
    until = [0, *itertools.accumulate(sizes)]
    earliest = [len(sizes)]  # of each border, from the last: what is right of it must still fit
    for part in range(parts):
        earliest.append(max(bisect_left(until, until[earliest[-1]] - limit), parts - part - 1))
    borders = [0]
    for part in range(1, parts):
        latest = min(bisect_right(until, until[borders[-1]] + limit) - 1, len(sizes) - parts + part)
        first = max(earliest[parts - part], borders[-1] + 1)
        wanted = until[-1] * part / parts
        borders.append(min(range(first, latest + 1), key=lambda border: abs(until[border] - wanted)))
    return [range(start, end) for start, end in itertools.pairwise([*borders, len(sizes)])]


def _fill(sizes: Sequence[int], limit: int) -> list[range]:
    runs, start, held = [], 0, 0
    for index, size in enumerate(sizes):
        if index > start and held + size > limit:
            runs.append(range(start, index))
            start, held = index, 0
        held += size
    return [*runs, range(start, len(sizes))]


def _cut(text: str, parts: int) -> list[str]:
    """Cut a text into so many parts of like length, at white space where there is some near."""
    parts = min(parts, len(text))
    borders = [_near(text, len(text) * part // parts, len(text) // parts // 2) for part in range(1, parts)]
    return [text[start:end] for start, end in itertools.pairwise([0, *borders, len(text)])]


def _near(text: str, place: int, reach: int) -> int:
    for distance in range(min(reach, _REACH)):
        for border in (place - distance, place + distance):
            if text[border - 1 : border].isspace() and not text[border].isspace():
                return border
    return place
