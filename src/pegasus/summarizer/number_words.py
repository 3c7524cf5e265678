"""English number words: "one hundred and twenty", "two and a half million", "nineteen eighty-four".

A small grammar of our own: `docs/decisions/0010-numbers-by-value.md` says why no library is used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple


def _words(text: str) -> list[str]:
    return text.split()


_ONES = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINAL_ONES = _words(
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
)
UNITS = {word: value for value, word in enumerate(_ONES)}
TENS = {word: 10 * value for value, word in enumerate(_TENS, 2)}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ORDINALS = {
    **{word: value for value, word in enumerate(_ORDINAL_ONES)},
    **{word[:-1] + "ieth": value for word, value in TENS.items()},
    "hundredth": 100,
    "thousandth": 1000,
    "millionth": 10**6,
}
DECADES = {word[:-1] + "ies": value for word, value in TENS.items()}
#: The parts that a whole is cut into, when one or several of them are spoken of.
_PARTS = {"half": 2, "quarter": 4, "halves": 2, "quarters": 4}
_PARTS |= {word: value for word, value in ORDINALS.items() if 3 <= value <= 100}
_PARTS |= {f"{word}s": value for word, value in ORDINALS.items() if 3 <= value <= 100}
#: Words that say a number beside another meaning: a text that has them has the number.
SAID = {"once": 1, "single": 1, "twice": 2, "double": 2, "doubled": 2, "couple": 2, "pair": 2, "both": 2}
SAID |= {"thrice": 3, "triple": 3, "tripled": 3, "trio": 3, "quadrupled": 4, "fortnight": 14}
SAID |= {"decade": 10, "noon": 12, "midnight": 12, "nil": 0, "nought": 0, "none": 0}
_GLUE = ("and", "a", "an", "of", "point", "oh", "dozen", "dozens", "hundred")
_SMALL_LETTERS = {*UNITS, *TENS, *SCALES, *ORDINALS, *DECADES, *_PARTS, *SAID, *_GLUE}
#: Every word that may be part of a number, as it is usually written.
VOCABULARY = frozenset(form for word in _SMALL_LETTERS for form in (word, word.capitalize(), word.upper()))
_BEGINS_NONE = frozenset({"and", "of", "point", "oh", "dozens"})
_BETWEEN = re.compile(r"\s?[-‐‑]?\s{0,2}|\s[-–]\s")


class Token(NamedTuple):
    """A word of the vocabulary, or a number in figures, and where it stands."""

    word: str
    start: int
    end: int
    value: Fraction | None = None


@dataclass(frozen=True)
class Spoken:
    """A number that several words say together.

    Attributes:
        value: the number.
        stop: the index after its last token.
        others: what else the words may mean: the parts of a year, the hundred years of a decade.
        exact: whether a summary that says it can be held to it; "a couple" is no figure.
    """

    value: Fraction
    stop: int
    others: frozenset[Fraction] = frozenset()
    exact: bool = True


class NumberWords:
    """Reads numbers from the tokens of a text.

    Args:
        text: the text.
        tokens: its number words and figures, in order.
    """

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self._text = text
        self._tokens = tokens

    def read(self, start: int) -> Spoken | None:
        """Return the longest number that begins with a token, or None where none does."""
        word = self._word(start)
        if word in _BEGINS_NONE or (word in ("a", "an") and self._word(start + 1) not in _PARTS):
            return None
        if word in DECADES:
            value = Fraction(DECADES[word])
            return Spoken(value, start + 1, frozenset({1900 + value, 2000 + value}))
        if word in SAID:
            return Spoken(Fraction(SAID[word]), start + 1, exact=False)
        if word == "dozen":
            return Spoken(Fraction(12), start + 1)
        part = self._share(start, start)
        if part is not None:
            share = self._scaled(*part)
            ordinal = ORDINALS.get(self._word(share.stop - 1))  # "a fifth" of something, or one more
            return share if ordinal is None else replace(share, others=frozenset({Fraction(ordinal)}))
        whole = self._cardinal(start)
        return None if whole is None else self._extended(start, *whole)

    def _extended(self, start: int, value: Fraction, stop: int) -> Spoken:
        """Go on after a whole number: parts of it, a half more, decimals, dozens, the end of a year."""
        if value < 100 and (share := self._share(start, stop, value)) is not None:
            return self._scaled(*share)
        if (decimals := self._decimals(stop)) is not None:
            value, stop = value + decimals[0], decimals[1]
        elif self._joined(stop) and self._word(stop) == "and" and self._joined(stop + 1):
            share = self._share(stop + 1, stop + 1) or self._share_of_several(stop + 1)
            if share is not None:
                last = self._word(stop - 1)
                value, stop = value + share[0] * SCALES.get(last, 1), share[1]
        if (year := self._year(value, stop)) is not None:
            return year
        return self._scaled(value, stop)

    def _cardinal(self, start: int) -> tuple[Fraction, int] | None:
        """Read a whole number, or a figure with the scales that follow it."""
        total, current, last_scale, kind, place = Fraction(0), None, None, "", start
        while place < len(self._tokens) and (place == start or self._follows(place, kind)):
            token = self._tokens[place]
            word = token.word
            if word == "and" and kind in ("hundred", "scale"):
                if not self._joined(place + 1) or self._word(place + 1) not in {*UNITS, *TENS, *ORDINALS}:
                    break
                place += 1
                continue
            small = UNITS.get(word, TENS.get(word, ORDINALS.get(word)))
            if token.value is not None:
                if place != start:
                    break
                current, kind = token.value, "figure"
            elif word == "hundred" and (current is None or (current < 100 and kind != "hundred")):
                current, kind = (1 if current is None else current) * Fraction(100), "hundred"
            elif word in SCALES and (last_scale is None or SCALES[word] < last_scale):
                total += (1 if current is None else current) * SCALES[word]
                current, last_scale, kind = None, SCALES[word], "scale"
            elif small is not None and small < 100 and self._fits(small, current, kind):
                current = small + (current or Fraction(0))
                kind = "ordinal" if word in ORDINALS else "tens" if word in TENS else "unit"
            elif word in ORDINALS and ORDINALS[word] >= 100 and place > start:
                current, kind = (1 if current is None else current) * Fraction(ORDINALS[word]), "ordinal"
            else:
                break
            place += 1
            if kind == "ordinal":
                break
        if place == start:
            return None
        return total + (current or 0), place

    @staticmethod
    def _fits(small: int, current: Fraction | None, kind: str) -> bool:
        if current is None:
            return True
        return kind == "hundred" or (kind == "tens" and 0 < small < 10)

    def _follows(self, place: int, kind: str) -> bool:
        """Whether a token goes on with the number before it: after a scale, a comma may stand between."""
        gap = self._gap(place)
        return _BETWEEN.fullmatch(gap) is not None or (kind in ("hundred", "scale") and gap == ", ")

    def _share(self, start: int, place: int, count: Fraction = Fraction(1)) -> tuple[Fraction, int] | None:
        """Read "half", "a third", "three quarters", where the count stands before `place`."""
        if place == start and self._word(place) in ("a", "an"):
            place += 1
            if not self._joined(place):
                return None
        elif place > start and not self._joined(place):
            return None
        word = self._word(place)
        parts = _PARTS.get(word)
        several = word.endswith("s") or word == "halves"
        if (
            parts is None
            or (several == (count == 1))
            or (place == start and word not in ("half", "quarter"))
        ):
            return None
        if count != 1 and self._tokens[place - 1].value is not None and word not in ("quarters", "halves"):
            return None  # "5 thirds" is rare, "4 fifths" a list
        return count / parts, place + 1

    def _share_of_several(self, start: int) -> tuple[Fraction, int] | None:
        found = self._cardinal(start)
        return None if found is None or found[0] >= 100 else self._share(start, found[1], found[0])

    def _scaled(self, value: Fraction, stop: int) -> Spoken:
        """Multiply by what follows: "million", "of a million", "a dozen"."""
        place = stop
        if self._word(place) == "of" and self._joined(place):
            place += 1
        if self._word(place) in ("a", "an") and self._joined(place):
            place += 1
        word = self._word(place)
        factor = {**SCALES, "hundred": 100, "dozen": 12, "dozens": 12}.get(word)
        if factor is None or not self._joined(place) or (word == "dozens" and value == 1):
            return Spoken(value, stop)
        return Spoken(value * factor, place + 1)

    def _decimals(self, place: int) -> tuple[Fraction, int] | None:
        if self._word(place) != "point" or not self._joined(place):
            return None
        digits, place = "", place + 1
        while self._joined(place) and UNITS.get(self._word(place), 10) < 10:
            digits, place = digits + str(UNITS[self._word(place)]), place + 1
        return (Fraction(int(digits), 10 ** len(digits)), place) if digits else None

    def _year(self, value: Fraction, stop: int) -> Spoken | None:
        """Read "nineteen eighty-four", "twenty oh five", "nineteen nineties"."""
        if not 10 <= value <= 20 or not self._joined(stop) or self._tokens[stop - 1].value is not None:
            return None
        word, after = self._word(stop), None
        if word in DECADES:
            after = Fraction(DECADES[word]), stop + 1
        elif word == "oh" and self._joined(stop + 1) and 0 < UNITS.get(self._word(stop + 1), 0) < 10:
            after = Fraction(UNITS[self._word(stop + 1)]), stop + 2
        elif word in TENS or UNITS.get(word, 0) >= 10:
            after = self._cardinal(stop)
        if after is None or not after[0] < 100:
            return None
        return Spoken(100 * value + after[0], after[1], frozenset({value, after[0]}))

    def _word(self, place: int) -> str:
        return self._tokens[place].word if place < len(self._tokens) else ""

    def _gap(self, place: int) -> str:
        return self._text[self._tokens[place - 1].end : self._tokens[place].start]

    def _joined(self, place: int) -> bool:
        return place < len(self._tokens) and _BETWEEN.fullmatch(self._gap(place)) is not None
