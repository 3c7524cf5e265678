"""Figures, and what they say by themselves: groups, decimals, fractions, powers, times of day."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_FIGURES = re.compile(
    rf"""
    (?= [\d.{_VULGAR}] ) (?:
      (?P<spaced> (?<![\d.,]) \d{{1,3}} (?:[ \u00a0\u2007\u2009\u202f]\d{{3}}){{1,6}} (?!\d)
                  (?:[.,]\d{{1,2}}(?!\d))? )
    | (?P<mixed> (?:(?<![\d.,]) \d{{1,6}} [ \u00a0]?)? [{_VULGAR}] )
    | (?P<slash> (?<![\d/⁄.,]) (?:\d{{1,4}}[ -])? \d{{1,3}}[/⁄]\d{{1,3}} (?![\d/⁄]) )
    | (?P<clock> (?<![\d.,:]) \d{{1,2}}[:.h]\d{{2}} (?=\s?[ap]\.?m\b)
                 | (?<![\d.,:]) \d{{1,2}}:\d{{2}}(?!\d) )
    | (?P<power> (?<![\d.,]) (?:\d[\d.,]{{0,10}}\s?[×x·*]\s?)? 10
                  (?:\^\d{{1,2}}(?!\d)|[{_SUPERSCRIPTS}]{{1,2}}) )
    | (?P<scientific> (?<![\w.,]) \d{{1,3}}(?:[.,]\d{{1,12}})? [eE][+-]?\d{{1,2}} (?!\w) )
    | (?P<plain> \d[\d.,'’_٫٬]{{0,40}} | (?<![\w.,]) \.\d{{1,12}} )
    )
    """,
    re.VERBOSE,
)
_GROUPED = re.compile(r"\d{1,3}(?:([,.])\d{3})(?:\1\d{3})*|\d{1,2}(?:,\d{2})+,\d{3}")
_APOSTROPHES = re.compile(r"\d{1,3}(?:['’_]\d{3})+(?:[.,]\d+)?")


@dataclass(frozen=True)
class Figure:
    """What figures say by themselves: any of the readings, or all of the parts.

    Where they are `sure` the first reading is theirs whatever they count.
    """

    readings: tuple[Fraction, ...]
    parts: tuple[Fraction, ...] = ()
    sure: bool = True


def find_figures(text: str) -> dict[int, tuple[str, Figure]]:
    """Return the figures of a text by where they begin: the characters, and what they say."""
    found = {}
    for match in _FIGURES.finditer(text):
        written = match.group().rstrip(",.'’_٫٬")
        found[match.start()] = written, _values(match.lastgroup or "", written)
    return found


def _values(kind: str, written: str) -> Figure:
    if kind == "spaced":
        parts = re.split(r"\s", written)
        joined = _decimal("".join(parts))
        if " " not in written:
            return Figure(joined)
        # A table has "988 901" as well.
        return Figure(joined, tuple(_decimal(part)[0] for part in parts), sure=written.endswith("00"))
    if kind == "mixed":
        whole = written[:-1].strip()
        return Figure((Fraction(int(whole or 0)) + _vulgar(written[-1]),))
    if kind == "slash":
        return _slashed(written)
    if kind == "clock":
        hour, minute = (Fraction(int(part)) for part in re.split(r"[:.h]", written))
        other = hour - 12 if hour > 13 else hour + 12  # 13:00 is no 1: that every text has
        if minute == 0:
            return Figure((hour, other), sure=False)
        return Figure((hour + minute / 60, other + minute / 60), (hour, minute), sure=False)
    if kind in ("power", "scientific"):
        return _power(written)
    if re.search("['’_]", written) and not _APOSTROPHES.fullmatch(written):
        digits = re.findall(r"\d+", written)
        return Figure((Fraction(int("".join(digits))),), tuple(map(Fraction, map(int, digits))), sure=False)
    plain = written.replace("٫", ".").replace("٬", ",")
    return _plain(re.sub(r"['’_]", "", plain))


def _power(written: str) -> Figure:
    """Read 3 × 10⁶, 10^6 and 1.5e6; a small raised figure may be a footnote's as well."""
    if match := re.fullmatch(r"(.+)[eE]([+-]?\d+)", written):
        return Figure((_decimal(match[1])[0] * Fraction(10) ** int(match[2]),))
    factor, _, power = re.sub(r"\s", "", written).rpartition("10")
    exponent = int("".join(str(unicodedata.digit(digit)) for digit in power.lstrip("^")))
    value = (_plain(factor[:-1].rstrip(".,")).readings[0] if factor else 1) * Fraction(10) ** exponent
    return Figure((value,)) if power.startswith("^") else Figure((value, Fraction(10)), sure=False)


def _vulgar(character: str) -> Fraction:
    return Fraction(unicodedata.numeric(character)).limit_denominator(10)


def _slashed(written: str) -> Figure:
    *whole, above, below = (Fraction(int(part)) for part in re.findall(r"\d+", written))
    parts = (*whole, above, below)
    if not below or above >= below * 20:
        return Figure((above,), parts, sure=False)
    return Figure((sum(whole, Fraction(0)) + above / below,), parts, sure=False)


def _plain(figures: str) -> Figure:
    """Read figures with points and commas: as groups, as decimals, as both where both are usual."""
    if figures.startswith("."):
        return Figure(_decimal(f"0{figures}"))
    if re.fullmatch(r"\d+", figures):
        return Figure((Fraction(int(figures)),))
    marks = [mark for mark in figures if not mark.isdigit()]
    if len(set(marks)) == 2 and marks.count(marks[-1]) == 1:  # 1.350,5 and 1,350.5
        whole, _, decimals = figures.rpartition(marks[-1])
        if _GROUPED.fullmatch(whole) or whole.isdigit():
            return Figure(_decimal(f"{re.sub(r'[.,]', '', whole)}.{decimals}"))
    joined = Fraction(int(re.sub(r"\D", "", figures)))
    if len(marks) == 1:
        decimal = _decimal(figures)[0]
        if _GROUPED.fullmatch(figures) and not figures.startswith("0"):
            if marks == [","]:  # nobody writes a one as 1,000
                return Figure((joined,) if figures.endswith(",000") else (joined, decimal))
            return Figure((decimal, joined), sure=False)
        if marks == ["."] or len(figures.partition(",")[2]) <= 3:
            return Figure((decimal,))
    elif _GROUPED.fullmatch(figures):
        return Figure((joined,))
    # 3.5.2020, 10.0.0.1
    return Figure((joined,), tuple(map(Fraction, map(int, re.findall(r"\d+", figures)))), sure=False)


def _decimal(figures: str) -> tuple[Fraction, ...]:
    whole, _, decimals = figures.replace(",", ".").partition(".")
    return (Fraction(int((whole or "0") + decimals), 10 ** len(decimals)),)
