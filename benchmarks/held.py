"""Whether each number, name and word of a text stands in its source or in a list, by regular expressions.

This shares no line with `pegasus.summarizer` and `pegasus.generation`, whose outputs are judged by it.

- *number*: a run of figures (taken apart at hyphens, slashes and colons) whose value, times that of a scale
  word behind it, the source has neither in figures nor in words; a number word from thirteen on likewise.
- *name*: a word with a capital that opens no sentence and that the source does not write so (or in capitals
  throughout); a word with figures in it that the source does not have.
- *word*: any other word that neither the source nor the list has. In small letters a word counts as the
  source's if the source writes it so, or with a capital where a sentence may begin.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property

_RUN = re.compile(r"[^\W_]+")
_FIGURES = re.compile(r"\d+(?:[,.]\d+)*")
_SCALES = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
_SCALES |= {"mn": 10**6, "bn": 10**9, "tn": 10**12, "k": 10**3, "m": 10**6, "b": 10**9, "lakh": 10**5}
_BEHIND = re.compile(r"[ \u00a0-]?([a-z]+)", re.IGNORECASE)
_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = [
    "zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
    "tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth",
    "seventeenth", "eighteenth", "nineteenth",
]  # fmt: skip
_TENTHS = [
    "twentieth", "thirtieth", "fortieth", "fiftieth", "sixtieth", "seventieth", "eightieth",
    "ninetieth",
]  # fmt: skip
_DECADES = [
    "twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties",
]  # fmt: skip
_VALUES = {word: value for words in (_ONES, _ORDINALS) for value, word in enumerate(words)}
_VALUES |= {word: 10 * place for words in (_TENS, _TENTHS, _DECADES) for place, word in enumerate(words, 2)}
_SMALL = 13
_SUFFIXES = {"s", "t", "re", "ve", "ll", "d", "m"}
_MONTHS = {
    "january", "february", "march", "april", "may", "june", "july", "august",
    "september", "october", "november", "december",
}  # fmt: skip
_NUMERIC_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
_OPENING = " \t\"'“”‘’«([{-–—•*#>"
_ENDS = ".!?…:;\n"


def composed(text: str) -> str:
    """A text in composed letters, without what cannot be seen."""
    text = unicodedata.normalize("NFKC", text)
    return "".join(
        sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in ("Cf", "Cc")
    )


class Held:
    """What one source holds.

    Args:
        source: the source.
        common: the list, in small letters.
        free: whether every word in small letters passes.
    """

    def __init__(self, source: str, common: frozenset[str], *, free: bool = False) -> None:
        self.source, self.common, self.free = composed(source), common, free
        source = self.source
        self.runs = {match.group() for match in _RUN.finditer(source)}
        self.opening = {
            match.group().lower() for match in _RUN.finditer(source) if _opens(source, match.start())
        }
        self.capitals = {run.capitalize() for run in self.runs if run.isupper()}

    @cached_property
    def values(self) -> set[float]:
        """Every number of the source."""
        return {
            value for match in _FIGURES.finditer(self.source) for value in _values(self.source, match)
        } | (set(_spoken(self.source)))

    def strange(self, text: str) -> list[tuple[str, str]]:
        """What the source does not hold: the kind, and what it is."""
        text, found = composed(text), []
        for match in _FIGURES.finditer(text):
            if match.start() and text[match.start() - 1].isalpha():
                continue  # the end of a word, which is looked up as a whole
            readings = _values(text, match)
            # With a scale behind it the whole counts: "2 million" is not held by a 2.
            if readings[-1] not in self.values:
                found.append(("number", match.group()))
        for match in _RUN.finditer(text):
            kind = self._kind(text, match)
            if kind is not None:
                found.append((kind, match.group()))
        return found

    def _kind(self, text: str, match: re.Match[str]) -> str | None:
        word = match.group()
        small = word.lower()
        if word[0].isdigit():
            return None
        if any(sign.isdigit() for sign in word):
            return None if word in self.runs else "name"
        if small in _VALUES or (small in _SCALES and small.isalpha() and len(small) > 2):
            return self._number_word(text, match, small)
        if word in self.runs or word in self.capitals:
            return None
        if small in _SUFFIXES and text[match.start() - 1 : match.start()] in ("'", "’"):
            return None
        if word[0].isupper() and not _opens(text, match.start()):
            dated = small in _MONTHS and _NUMERIC_DATE.search(self.source)
            return None if dated else "name"
        lower = word[0].lower() + word[1:]
        if lower in self.runs or lower in self.opening:
            return None
        return None if lower in self.common or (self.free and word.islower()) else "word"

    def _number_word(self, text: str, match: re.Match[str], small: str) -> str | None:
        if small in {run.lower() for run in self.runs} or _VALUES.get(small, _SMALL) < _SMALL:
            return None
        # A scale behind figures was read with them; parts of "twenty-one" are held by 21.
        if small in _SCALES and re.search(r"[\d][ \u00a0-]?$", text[: match.start()]):
            return None
        around = text[max(0, match.start() - 12) : match.end() + 12]
        return (
            None if any(value in self.values for value in _spoken(around) if value >= _SMALL) else "number"
        )


def misspelled(text: str, source: str, english: frozenset[str]) -> list[str]:
    """The words that neither a source nor a language has, whatever their capitals.

    Args:
        text: what was written.
        source: what it was written about.
        english: the words of the language in small letters, inflections included.
    """
    known = {match.group().lower() for match in _RUN.finditer(composed(source))}
    words = [match.group() for match in _RUN.finditer(composed(text))]
    return [
        word for word in words
        if word.isalpha() and len(word) > 1 and word.lower() not in known and word.lower() not in english
        and word.lower() not in _SUFFIXES
    ]  # fmt: skip


def _opens(text: str, start: int) -> bool:
    before = text[:start].rstrip(_OPENING)
    return not before or before[-1] in _ENDS


def _values(text: str, match: re.Match[str]) -> list[float]:
    """What figures may mean: read as they stand, and with the word of a scale behind them."""
    plain = match.group()
    grouped = re.fullmatch(r"\d{1,3}(?:,\d{2,3})+(?:\.\d+)?", plain)
    readings = []
    text_of = plain.replace(",", "") if grouped else plain.replace(",", ".")
    parts = text_of.split(".")
    readings.append(float(parts[0] + ("." + "".join(parts[1:]) if parts[1:] else "")))
    behind = _BEHIND.match(text, match.end())
    if behind and (scale := _SCALES.get(behind[1].lower())) is not None:
        readings.append(round(readings[0] * scale, 6))
    return readings


def _spoken(text: str) -> list[float]:
    """Numbers in words: each word, and tens with ones behind them."""
    words = re.findall(r"[a-z]+", text.lower())
    found: list[float] = []
    for word, following in zip(words, [*words[1:], ""]):
        value = _VALUES.get(word)
        if value is None:
            continue
        found.append(float(value))
        ones = _VALUES.get(following)
        if word in _TENS and ones is not None and 0 < ones < 10:
            found.append(float(value + ones))
        if (scale := _SCALES.get(following)) is not None:
            found.append(float(value * scale))
    return found
