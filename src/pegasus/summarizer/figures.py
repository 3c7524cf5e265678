"""Numbers of a summary that its text does not contain, whether in figures or in words.

"1,200" is 1200 and 1200.0; "two million" is 2,000,000; "third" is 3rd; "5bn" is 5 billion. Values are
compared, not what they count: what is reported is a reason to look, silence is no proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

_FIGURES = re.compile(r"\d[\d,.']{0,40}")
_WORD = re.compile(r"[^\W\d_]+")


def _words(text: str) -> list[str]:
    return text.split()


_ONES = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINALS = _words("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")
_SPELLED = {
    **{word: value for value, word in enumerate(_ONES)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
    **{word: value for value, word in enumerate(_ORDINALS, 1)},
    "once": 1,
    "twice": 2,
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
# Figures may mean these as a scale or as a unit: 5m is 5 million or 5 metres.
_SHORT_SCALES = {"k": 10**3, "m": 10**6, "mn": 10**6, "bn": 10**9, "b": 10**9, "tn": 10**12}


@dataclass(frozen=True)
class Number:
    """A number as it is written, and the values it may stand for.

    Attributes:
        written: the characters.
        values: every value that a reader may take it for, the unscaled one among them ("2" of "2 million").
        needed: the values of which a source must have one for the number to be known.
    """

    written: str
    values: frozenset[Decimal]
    needed: frozenset[Decimal]


def find_numbers(text: str) -> Iterator[Number]:
    """Yield every number of a text: first those in figures, then those in words."""
    for match in _FIGURES.finditer(text):
        written = match.group().rstrip(",.'")
        yield _number(written, Decimal(_plain(written)), text, match.start() + len(written))
    tens = 0
    for match in _WORD.finditer(text):
        value = _SPELLED.get(match.group().lower())
        if value is not None:
            joined = tens + value if 0 < value < 10 else value  # "twenty-one"
            yield _number(match.group(), Decimal(joined), text, match.end())
        tens = value if value is not None and 20 <= value < 100 else 0


def known_values(text: str) -> frozenset[Decimal]:
    """Return every value that some number of the text may stand for."""
    return frozenset(value for number in find_numbers(text) for value in number.values)


def unknown_numbers(summary: str, known: frozenset[Decimal]) -> list[str]:
    """Return the numbers that the summary writes in figures and that are not among the known values."""
    found = (number for number in find_numbers(summary) if number.written[0].isdigit())
    return list(dict.fromkeys(number.written for number in found if not number.needed & known))


def _number(written: str, value: Decimal, text: str, end: int) -> Number:
    after = text[end : end + 12]
    match = _WORD.match(after.lstrip(" -\t\n"))
    word = match.group().lower() if match else ""
    if scale := _SCALES.get(word):
        return Number(written, frozenset({value, value * scale}), frozenset({value * scale}))
    attached = after[:1].isalpha() or word in ("bn", "mn", "tn")
    both = frozenset({value, value * _SHORT_SCALES.get(word, 1) if attached else value})
    return Number(written, both, both)


def _plain(figures: str) -> str:
    """Return figures as one decimal: "1,200.50" → "1200.50", "3,5" → "3.5", "1.2.3" → "123"."""
    figures = figures.replace("'", "")
    if re.fullmatch(r"\d+(?:,\d{3})*(?:\.\d+)?", figures):
        return figures.replace(",", "")
    if re.fullmatch(r"\d+,\d{1,2}", figures):
        return figures.replace(",", ".")
    return re.sub(r"\D", "", figures)
