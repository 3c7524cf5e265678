"""Numbers of a summary that its text does not contain, compared by value, in figures and in words.

"1,200", "1 200" and "1.200" are 1200; "two million" is 2,000,000; "20th" is twentieth, "the nineties" are
the 1990s, "2½" is "two and a half", "three quarters" are 75 %. Values are compared, not what they count:
what is reported is a reason to look, silence is no proof. Where a way to write is ambiguous (1.350 is 1350
or 1.35) a number has several values, and one that fits suffices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

from pegasus.summarizer.figures import Figure, find_figures
from pegasus.summarizer.number_words import (
    DECADES,
    ORDINALS,
    SCALES,
    TENS,
    UNITS,
    VOCABULARY,
    NumberWords,
    Spoken,
    Token,
)
from pegasus.summarizer.roman import find_numerals

_WORD = re.compile(r"[^\W\d_]+")
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "January Jan", "February Feb", "March Mar", "April Apr", "May May", "June Jun", "July Jul",
            "August Aug", "September Sep Sept", "October Oct", "November Nov", "December Dec",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_DATED = re.compile(
    rf"(?=[ADFJMNOS])(?:\b({'|'.join(_MONTHS)})\b(?=\.?[ \u00a0]\d)|(?<=\d )({'|'.join(_MONTHS)})\b"
    rf"|(?<=\d(?:st|nd|rd|th) )({'|'.join(_MONTHS)})\b|(?<= of )({'|'.join(_MONTHS)})\b)"
)
_FIGURE_DATE = re.compile(
    r"(?<!\d)(?:\d{4}[-/.](\d{1,2})[-/.]\d{1,2}|(\d{1,2})[-/.](\d{1,2})[-/.]\d{2,4})(?!\d)"
)
# How figures are grouped by apostrophes; 5'10" is five feet and ten inches.
_AND_A_PART = re.compile(r"\ban? [^\W\d_]{1,20} and a (half|quarter)\b")  # an hour and a half
# Figures may mean these as a scale or as a unit: 5m is 5 million or 5 metres.
_SHORT_SCALES = {"k": 10**3, "m": 10**6, "mn": 10**6, "bn": 10**9, "b": 10**9, "tn": 10**12, "trn": 10**12}
# Those of other languages, and of India, where they stand beside figures.
_FOREIGN_SCALES = {
    "lakh": 10**5,
    "lakhs": 10**5,
    "crore": 10**7,
    "crores": 10**7,
    "mln": 10**6,
    "bln": 10**9,
}
_FOREIGN_SCALES |= dict.fromkeys(("mio", "millionen", "millions", "millones", "milioni"), 10**6)
_FOREIGN_SCALES |= dict.fromkeys(
    ("mrd", "milliarde", "milliarden", "milliard", "milliards", "miliardi"), 10**9
)
#: Scales that stand behind figures and a blank.
SPACED_SCALES = ("bn", "mn", "tn", "trn", *_FOREIGN_SCALES)
_SHORT_SCALES |= _FOREIGN_SCALES
# "40 to 50 million", "$1-2bn": the scale is that of both.
_RANGE = re.compile(
    r"\s?(?:[-–—]|to\b|or\b|(and)\b)\s?"
    rf"(?:[$€£]?\d[\d.,]{{0,12}}|(?:{'|'.join({**UNITS, **TENS})})(?:-[a-z]{{3,5}})?)[ -]?"
    r"(hundred|thousand|million|billion|trillion|k|m|mn|bn|tn)\b"
)
# What makes figures a part of something else: COVID-19, 555-1234, 2019-20; and £5m, which is no length.
_WITHIN_NAME = re.compile(r"[^\W\d_][-‐‑–]?$")
_WITHIN_FIGURES = re.compile(r"\d[-–/:.,]$")
_SECOND_YEAR = re.compile(r"(?:^|\D)(1[0-9]|20)\d\d[-–/]$")
#: Signs of money before figures.
CURRENCIES = "$€£¥₹"
_CURRENCY = re.compile(rf"[{CURRENCIES}]\s?$")
# 20th, 1990s, 3pm, 20 century, 15 1/2 with the stroke lost
_NO_COUNT = re.compile(r" \d\ufffd\d|(?:st|nd|rd|th|s)\b|[ \u00a0]?[ap]\.?m\b|[- ]century")
_PER_CENT = re.compile(r"\s?(?:%|‰|per ?cent|percentage|basis)")
_CENTURY = re.compile(r"[ -]century")
_CLOCK_HOURS = {word: value for word, value in UNITS.items() if 1 <= value <= 12}
_SPOKEN_CLOCK = re.compile(
    rf"\b(half|quarter|ten|twenty|five) (past|to) ({'|'.join(_CLOCK_HOURS)}|1?\d)\b", re.IGNORECASE
)
_MINUTES = {"half": 30, "quarter": 15, "ten": 10, "twenty": 20, "five": 5}
_ONE_IN = re.compile(
    rf"\b(?:one|1) (?:in|out of) (?:every )?({'|'.join(_CLOCK_HOURS)}|\d{{1,2}})\b", re.IGNORECASE
)
_LEAST_SPOKEN = 13  # words for less than this are too common to hold a summary to


@dataclass(frozen=True)
class Number:
    """A number as it is written, and the values it may stand for.

    Attributes:
        written: the characters.
        values: every value that a reader may take it for, the unscaled one among them ("2" of "2 million").
        needed: the values of which a source must have one for the number to be known.
        parts: the numbers it is written with, each with its values; a source that has all of them has it
            too ("9/11", "3.5.2020").
        exact: whether a summary can be held to it.
        same: the values that it says whatever it counts. The others hang on what is meant: 0.5 may be 50 %,
            5m is 5 million or metres, 3:00 may be 15:00, and the 20th century began in 1900.
    """

    written: str
    values: frozenset[Fraction]
    needed: frozenset[Fraction]
    parts: tuple[frozenset[Fraction], ...] = field(default=())
    exact: bool = True
    same: frozenset[Fraction] = frozenset()

    def known_by(self, known: frozenset[Fraction]) -> bool:
        """Whether a source with these values has the number."""
        return bool(self.needed & known) or (bool(self.parts) and all(part & known for part in self.parts))


def find_numbers(text: str) -> Iterator[Number]:
    """Yield every number of a text, in figures and in words."""
    yield from _read(text, find_figures(text))
    for match in _DATED.finditer(text):
        value = frozenset({Fraction(_MONTHS[match.group()])})
        yield Number(match.group(), value, value, exact=False)
    for numeral, worth in find_numerals(text):
        values = frozenset({Fraction(worth)})
        # "Washington DC" is no 600: a summary is held to small numerals alone.
        yield Number(numeral, values, values, exact=len(numeral) > 1 and set(numeral) <= set("IVX"))
    yield from _said_otherwise(text)
    for match in _AND_A_PART.finditer(text):
        more = Fraction(3, 2) if match.group(1) == "half" else Fraction(5, 4)
        yield Number(match.group(), frozenset({more}), frozenset({more}), exact=False)


def _said_otherwise(text: str) -> Iterator[Number]:
    """Yield times of day as they are spoken, and parts such as "one in five"; a summary is held to none."""
    for match in _SPOKEN_CLOCK.finditer(text):
        hour = _CLOCK_HOURS.get(match[3].lower()) or int(match[3])
        part = Fraction(_MINUTES[match[1].lower()], 60)
        time = hour + part if match[2].lower() == "past" else hour - part
        yield Number(match.group(), frozenset({time, time + 12}), frozenset({time}), exact=False)
    for match in _ONE_IN.finditer(text):
        whole = _CLOCK_HOURS.get(match[1].lower()) or int(match[1])
        if whole > 1:
            values = frozenset({Fraction(1, whole), *_percent(Fraction(1, whole))})
            yield Number(match.group(), values, values, exact=False)


def known_values(text: str) -> frozenset[Fraction]:
    """Return every value that some number of the text may stand for; "a" says one everywhere."""
    found = {value for number in find_numbers(text) for value in number.values}
    return frozenset(found | {Fraction(1)})


def dated_months(text: str) -> frozenset[str]:
    """Return the names of months, in small letters, that dates in figures say: "2020-05-03", "3.5.2020"."""
    numbers = {int(part) for match in _FIGURE_DATE.finditer(text) for part in match.groups() if part}
    return frozenset(name.lower() for name, number in _MONTHS.items() if number in numbers)


def unknown_numbers(summary: str, known: frozenset[Fraction]) -> list[str]:
    """Return the numbers that the summary writes and that are not among the known values."""
    found = (number for number in find_numbers(summary) if number.exact)
    return list(dict.fromkeys(number.written for number in found if not number.known_by(known)))


def _read(text: str, figures: dict[int, tuple[str, Figure]]) -> Iterator[Number]:
    """Read figures and words together: "1.2 million", "2 and a half"."""
    tokens = [
        Token("", start, start + len(written), figure.readings[0])
        for start, (written, figure) in figures.items()
    ]
    for match in _WORD.finditer(text):
        if (word := match.group()) in VOCABULARY:
            tokens.append(Token(word.lower(), match.start(), match.end()))
    tokens.sort(key=lambda token: token.start)
    words, place = NumberWords(text, tokens), 0
    while place < len(tokens):
        token, spoken = tokens[place], words.read(place)
        if spoken is None:
            place += 1
            continue
        end = tokens[spoken.stop - 1].end
        if token.value is None:
            values = frozenset({spoken.value, *spoken.others, *_percent(spoken.value)})
            values |= _years_of_century(spoken.value, text[end : end + 9])
            values |= _scale_of_range(spoken.value, text[end : end + 32], text[max(0, end - 24) : end])
            held = spoken.exact and spoken.value >= _LEAST_SPOKEN
            same = _said_by_words(spoken, tokens[spoken.stop - 1].word, text[end : end + 32])
            yield Number(text[token.start : end], values, values, exact=held, same=same)
        else:
            number = _number(text, figures[token.start], spoken.value, end)
            same = _said_by_figures(text, token, figures[token.start][1], spoken.value, end)
            yield replace(number, same=same)
        place = spoken.stop


def _number(text: str, found: tuple[str, Figure], value: Fraction, end: int) -> Number:
    """Make the number of figures, with what stands after them."""
    written, figure = found
    factor = value / figure.readings[0] if figure.readings[0] else Fraction(1)
    if value != figure.readings[0]:
        if value - figure.readings[0] < 1 and len(figure.readings) == 1:  # 2 and a half
            return Number(written, frozenset({value, figure.readings[0]}), frozenset({value}))
        scaled = frozenset(reading * factor for reading in figure.readings)
        return Number(written, scaled | {*figure.readings}, scaled)
    values = {
        *figure.readings,
        *_after(figure.readings[0], text[end : end + 32], text[max(0, end - 24) : end]),
    }
    if not _PER_CENT.match(text, end):  # 0.75 % is not 75 %
        for reading in figure.readings:
            values |= _percent(reading)
    parts = tuple(frozenset({part}) for part in figure.parts)
    if len(parts) == 3 and figure.parts[-1] < 100:  # 3.5.20
        parts = (*parts[:2], frozenset({figure.parts[-1] + century for century in (0, 1900, 2000)}))
    return Number(written, frozenset(values.union(*parts)), frozenset(values), parts)


def _said_by_words(spoken: Spoken, last: str, after: str) -> frozenset[Fraction]:
    """Return what number words say whatever they count; an ordinal and a decade count nothing."""
    if not spoken.exact or last in ORDINALS or last in DECADES or _CENTURY.match(after):
        return frozenset()
    return frozenset({spoken.value, *_scale_of_range(spoken.value, after, "")})


def _said_by_figures(
    text: str, token: Token, figure: Figure, value: Fraction, end: int
) -> frozenset[Fraction]:
    """Return what figures say whatever they count, with the scale that follows them."""
    before, after = text[max(0, token.start - 6) : token.start], text[end : end + 32]
    if not figure.sure or _WITHIN_NAME.search(before):
        return frozenset()
    if match := _SECOND_YEAR.search(before):  # 2019-20
        return frozenset({100 * int(match[1]) + value}) if value < 100 else frozenset()
    if _WITHIN_FIGURES.search(before) or _NO_COUNT.match(after):
        return frozenset()
    match = _WORD.match(after.lstrip(" -\u00a0\u202f"))
    scale = match.group().lower() if match else ""
    paid = _CURRENCY.search(before)
    if scale in SPACED_SCALES or (scale in _SHORT_SCALES and (paid or after[0].isalpha())):
        return frozenset({value * _SHORT_SCALES[scale]}) if paid or scale in SPACED_SCALES else frozenset()
    return frozenset({value, *_scale_of_range(value, after, text[max(0, end - 24) : end])})


def _after(value: Fraction, after: str, until: str) -> set[Fraction]:
    """Return what a figure may also say by the letters that follow it."""
    match = _WORD.match(after.lstrip(" -\t\n\u00a0\u202f"))
    word = match.group().lower() if match else ""
    attached = after[:1].isalpha()
    found = set()
    if word in _SHORT_SCALES and (attached or word in SPACED_SCALES):
        found.add(value * _SHORT_SCALES[word])
    found |= _scale_of_range(value, after, until)
    if word in ("hours", "hrs") and 100 <= value <= 2400 and value % 100 < 60:  # 1800 hours
        found |= {Fraction(int(value) // 100) + Fraction(int(value) % 100, 60)}
    if attached and word == "s" and value % 10 == 0 and value < 100:  # the '90s
        found |= {1900 + value, 2000 + value}
    if re.match(r"\s?p\.?m\b", after) and value < 12:
        found.add(value + 12)
    found |= _years_of_century(value, re.sub(r"^(?:st|nd|rd|th)", "", after))
    if value < 100 and value.denominator == 1 and re.search(r"\b(?:1[0-9]|20)\d\d[-–/]\d\d$", until):
        start = int(re.search(r"(\d\d)\d\d[-–/]\d\d$", until)[1])  # type: ignore[index]
        found.add(100 * start + value)  # 2019-20
    if value < 100 and re.search(r"\b\d{1,2}/\d{1,2}/\d\d$", until):
        found |= {1900 + value, 2000 + value}  # 5/3/20
    return found


def _scale_of_range(value: Fraction, after: str, until: str) -> set[Fraction]:
    """Return what the first number of a range says by the scale of the second."""
    match = _RANGE.match(after)
    if match is None or (match[1] and not re.search(r"\bbetween \S+$", until)):
        return set()
    return {value * {**SCALES, **_SHORT_SCALES, "hundred": 100}[match[2]]}


def _years_of_century(value: Fraction, after: str) -> set[Fraction]:
    return {100 * (value - 1)} if _CENTURY.match(after) else set()


def _percent(value: Fraction) -> set[Fraction]:
    """A part of a whole is so many per cent of it, rounded as people do."""
    if not 0 < value < 1 or value.denominator > 20:
        return set()
    percent = 100 * value
    return {percent, Fraction(round(percent)), Fraction(int(percent)), Fraction(round(10 * percent), 10)}
