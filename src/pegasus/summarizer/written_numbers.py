"""Every way in which the numbers of a text may be written: as it has them, and others that say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from pegasus.summarizer.number_words import DECADES, ORDINALS, SCALES, TENS, UNITS
from pegasus.summarizer.numbers import CURRENCIES, SPACED_SCALES, find_numbers

#: Smaller numbers are too common words to be held to a source.
LEAST_SPOKEN = 13
_ROUGH = ("dozens", "hundreds", *(f"{word}s" for word in SCALES))
#: All words for numbers, in small letters.
NUMBER_WORDS = frozenset({*UNITS, *TENS, *SCALES, *ORDINALS, *DECADES, "hundred", "dozen", *_ROUGH})
_SCALE = f"hundred|thousand|million|billion|trillion|dozen|{'|'.join(SPACED_SCALES)}"
# Figures, whatever joins them ("1,200", "2019-20", "10:30"), what is attached ("20th", "5km"), their scale.
_FIGURES = re.compile(
    r"\d(?:[\d.,:/⁄'’–—-]*\d)?(?P<attached>[^\W\d_]*[^\W_]*)"
    rf"(?P<scale>[ \u00a0-](?:(?i:{_SCALE})|[KMB])\b)?"
)
_MANY = re.compile(rf"\b(?:{'|'.join(_ROUGH)})\b", re.IGNORECASE)
# Thousands by blanks ("988 901" may be two numbers of a table).
_GROUPS = re.compile(r"(?<![\w.,])\d{1,3}(?: \d{3})+(?![\w]|[.,]\d)")
# 5 1/2, as 5½ is read, its stroke perhaps lost.
_MIXED = re.compile(r"(?<![\w.,/⁄])(?:\d{1,6}[ -]\d{1,2}[/⁄]|\d{1,3}⁄|\d{1,6} \d\ufffd)\d{1,3}(?![\w/⁄])")
_PAID_SCALE = re.compile(r" [kmb]\b")
_SINGLE = re.compile(r"\d(?:[\d.,:'’]*\d)?")
_ATTACHED_SCALES = frozenset({"k", "m", "b", "hundred", "dozen", *SCALES, *SPACED_SCALES})


def ways_to_write_numbers(text: str) -> Iterator[str]:
    """Every way in which the numbers of a text may be written."""
    within: set[int] = set()
    for match in (*_GROUPS.finditer(text), *_MIXED.finditer(text)):
        yield from (match.group(), match.group().replace("⁄", "/"))
        if match.group().endswith("00") or match.re is _MIXED:
            within.update(range(*match.span()))
    for match in _FIGURES.finditer(text):
        if match.start() in within or (match.start() and text[match.start() - 1].isalpha()):
            continue  # a part of "45 000"; the end of a word: "COVID19"
        yield from _as_they_stand(text, match)
    yield from (match.group().lower() for match in _MANY.finditer(text))
    for number in find_numbers(text):
        written = " ".join(number.written.split())
        if not written[:1].isdigit() and any(part in NUMBER_WORDS for part in _parts(written)):
            yield from (written, written.lower(), written[0].upper() + written[1:].lower())
        for value in number.same:
            yield from _ways_to_write(value)


def _as_they_stand(text: str, match: re.Match[str]) -> Iterator[str]:
    """Figures as a text has them, and those of them that are numbers by themselves."""
    attached = match["attached"]
    if match["scale"]:
        yield from (match.group(), match.group().replace("-", " ").replace("\u00a0", " "))
        return
    paid = match.start() and text[match.start() - 1] in CURRENCIES
    if paid and not attached and (scale := _PAID_SCALE.match(text, match.end())):
        yield match.group() + scale.group()  # £5 m
        return
    yield match.group()
    if attached == "s":  # the 1990s
        yield match.group()[:-1]
    if not attached or attached.lower() not in _ATTACHED_SCALES:
        yield from _SINGLE.findall(match.group())


def _parts(written: str) -> list[str]:
    return re.split(r"[\s-]+", written.lower())


def _ways_to_write(value: Fraction) -> Iterator[str]:
    """A whole number in figures and, where that is short, in words."""
    if value.denominator != 1 or value < LEAST_SPOKEN:
        return
    whole = int(value)
    yield str(whole)
    if whole >= 1000:
        yield f"{whole:,}"
    for scale, worth in (("million", 10**6), ("billion", 10**9), ("trillion", 10**12)):
        if whole >= worth and (100 * whole) % worth == 0 and whole < 1000 * worth:
            yield f"{whole / worth:g} {scale}"
    if whole < 100:
        yield from _spoken(whole)


@lru_cache(maxsize=128)
def _spoken(value: int) -> tuple[str, ...]:
    for word, worth in {**UNITS, **TENS}.items():
        if worth == value:
            return word, word.capitalize()
    tens = next(word for word, worth in TENS.items() if worth == value // 10 * 10)
    ones = next(word for word, worth in UNITS.items() if worth == value % 10)
    return f"{tens}-{ones}", f"{tens.capitalize()}-{ones}"
