"""Roman numerals behind a name: Louis XIV, World War II, Chapter IX."""

from __future__ import annotations

import re
from collections.abc import Iterator

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_CANONICAL = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_NUMERAL = re.compile(r"(?=[IVXLCDM])(?<=[^\W\d_] )([IVXLCDM]{1,9})\b(?!')")
_LONGEST_NAME = 30


def find_numerals(text: str) -> Iterator[tuple[str, int]]:
    """Yield numerals and their values: "Henry I" has one, "and so I said" has none."""
    for match in _NUMERAL.finditer(text):
        before = text[max(0, match.start() - _LONGEST_NAME) : match.start()].split()
        if before[-1][0].isupper() and (value := roman_value(match.group(1))):
            yield match.group(1), value


def roman_value(numeral: str) -> int:
    """Return the value of a numeral in its canonical form, 0 for anything else."""
    if not numeral or _CANONICAL.fullmatch(numeral) is None:
        return 0
    values = [_VALUES[letter] for letter in numeral]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0]))
