from __future__ import annotations

import re
from types import ModuleType

import pytest

from pegasus.data import sentences
from pegasus.summarizer import (
    characters,
    folding,
    lengths,
    numbers as figures,
    proper_names,
    repetition,
    roman,
)
from pegasus.summarizer.checks import check_summary
from pegasus.summarizer.numbers import known_values, unknown_numbers
from pegasus.summarizer.proper_names import KnownNames, unknown_names
from pegasus.summarizer.repetition import measure_repetition

TEXT = (
    "Sen. Maria Lopez of Spain met the United Nations envoy on Jan. 5, 2019. She promised 1,200 tents, "
    "worth two million dollars, to twenty-one villages; the third delivery of 3.5 tonnes failed. America's "
    "aid of $5bn came late, O'Brien said, and the BBC agreed."
)


@pytest.mark.parametrize(
    "summary",
    [
        "1200 tents",
        "$2 million",
        "2,000,000 dollars",
        "2m dollars",
        "21 villages",
        "the 3rd delivery",
        "3.50 tonnes",
        "5 billion dollars",
        "2019.",
        "5 January",
        "no figures",
        "one envoy",
    ],
)
def test_numbers_that_the_text_has(summary: str) -> None:
    assert unknown_numbers(summary, known_values(TEXT)) == []


@pytest.mark.parametrize(
    ("summary", "unknown"),
    [
        ("1,300 tents and 1,300 beds", ["1,300"]),
        ("3 million dollars", ["3"]),
        ("in 2020, in 2019", ["2020"]),
        ("35 tonnes", ["35"]),
        ("5 million", ["5"]),
    ],
)
def test_numbers_that_it_has_not(summary: str, unknown: list[str]) -> None:
    assert unknown_numbers(summary, known_values(TEXT)) == unknown


@pytest.mark.parametrize(
    "summary",
    [
        "Senator Lopez",
        "the UN and the U.N. envoy",
        "in January",
        "the Spanish senator",
        "Lopez's tents",
        "the Americans",
        "O'Brien's",
        "said Maria LOPEZ",
        "Sens",
        "a TWTM",
        "met a Villager",
        "Yesterday nothing.",
        "He said: Nothing.",
        '"Tents" came',
    ],
)
def test_names_that_the_text_has(summary: str) -> None:
    assert unknown_names(summary, KnownNames(TEXT), lambda word: False) == []


@pytest.mark.parametrize(
    ("summary", "unknown"),
    [
        ("they met Obama and Obama", ["Obama"]),
        ("she and Pro. it was", ["Pro"]),  # no ending of "promised"
        ("the CNN reported", ["CNN"]),
        ("in France, in Spain", ["France"]),
        ("the NATO envoy of Denmark's king", ["NATO", "Denmark"]),
    ],
)
def test_names_that_it_has_not(summary: str, unknown: list[str]) -> None:
    assert unknown_names(summary, KnownNames(TEXT), lambda word: False) == unknown


def test_a_word_that_opens_a_sentence_is_a_name_where_the_vocabulary_says_so() -> None:
    names = unknown_names("Obama left. Plans failed.", KnownNames(TEXT), lambda word: word == "Obama")
    assert names == ["Obama"]


@pytest.mark.parametrize(
    "summary",
    [
        "the house of the lord, the house of the king, the house of the people, the house of the dog",
        "It was very very very late.",
        "They left the city. They left the city. They left the city.",
        "na " * 100,
        "ab" * 200,
        f"{TEXT} {TEXT}",
    ],
)
def test_repetition_is_found(summary: str) -> None:
    found = measure_repetition(summary)
    assert found.found
    assert check_summary(summary, summary) == (f"repetition: {found}",)


@pytest.mark.parametrize("summary", [TEXT, TEXT * 1, "", "Two words", "1 1 1 1", "He had had enough."])
def test_ordinary_text_is_not_repetitive(summary: str) -> None:
    assert not measure_repetition(summary).found


def test_warnings_name_their_kind_and_cap_their_lists() -> None:
    assert check_summary(" \n", TEXT) == ("empty: the model wrote nothing",)
    assert check_summary("Lopez promised 1,200 tents.", TEXT) == ()
    many = "saw " + " ".join(f"Qx{letter * 3}" for letter in "abcdefghij") + " and 77"
    numbers, names = check_summary(many, TEXT)
    assert numbers == "numbers: not in the text: 77"
    assert names.startswith("names: not in the text: Qxaaa, Qxbbb")
    assert names.endswith("and 2 more")


HOSTILE = [
    "a", "A", " ", ".", "1", "1,", "1.", "'", "’", "a'", "A.", "a.b.", "one ", "A b ", "A a", "\n", "\t ",
    "1 million ", "é", "_", "-", '"', "A's ", "ten-", "%", "U.S. ", "(", '."', "。", "\r\n",
]  # fmt: skip


@pytest.mark.parametrize(
    "module",
    [sentences, characters, figures, folding, proper_names, repetition, roman, lengths],
    ids=lambda m: m.__name__,
)
@pytest.mark.usefixtures("endless")
def test_every_pattern_is_linear_on_hostile_text(module: ModuleType) -> None:
    patterns = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
    assert patterns
    for pattern in patterns:
        for unit in HOSTILE:
            text = (unit * (200_000 // len(unit) + 1))[:200_000] + "\x00"
            for _ in pattern.finditer(text):
                pass


@pytest.mark.parametrize("unit", ["A", "A b ", "1,", "one ", "A.", "a'", " ", "1 million "])
@pytest.mark.usefixtures("endless")
def test_checking_a_hostile_megabyte_ends(unit: str) -> None:
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    check_summary("Obama had 42 and " + text[:2000], text)
