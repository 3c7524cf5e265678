from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pegasus.data.sentences import SPLITTERS, find_splitter, split_authors, split_careful
from pegasus.errors import BadSetting


def stripped(sentences: list[str]) -> list[str]:
    return [sentence.strip() for sentence in sentences]


def test_the_authors_own_example() -> None:
    text = 'He said "stop." Then he left... Why?! ok.no'
    assert split_authors(text) == ['He said "stop." Then he left... ', "Why?! ", "ok.no"]


def test_authors_rule_knows_no_abbreviation_and_no_line() -> None:
    assert split_authors("Mr. Fox ran.\nHe won\nagain") == ["Mr. ", "Fox ran.\n", "He won\nagain"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Mr. Fox met Dr. Hen. They ate.", ["Mr. Fox met Dr. Hen.", "They ate."]),
        (
            "J. R. R. Tolkien wrote. So did I. We read.",
            ["J. R. R. Tolkien wrote.", "So did I.", "We read."],
        ),
        ("It cost 3.5 million. Nobody paid.", ["It cost 3.5 million.", "Nobody paid."]),
        (
            "The U.S. and the U.K. agreed. France did not.",
            ["The U.S. and the U.K. agreed.", "France did not."],
        ),
        ("They moved to the U.S. Then they left.", ["They moved to the U.S.", "Then they left."]),
        ("The U.S. Mail is late. The U.S. Senate met.", ["The U.S. Mail is late.", "The U.S. Senate met."]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        (
            "He asked (why?) and left. (Nobody knew.) Fine.",
            ["He asked (why?) and left.", "(Nobody knew.)", "Fine."],
        ),
        ('"Why?" he asked. Oh, why? because', ['"Why?" he asked.', "Oh, why?", "because"]),
        ("See fig. 3 and eq. 4. They agree.", ["See fig. 3 and eq. 4.", "They agree."]),
        ("Nos. 3 and 4, i.e. both, e.g. here. End.", ["Nos. 3 and 4, i.e. both, e.g. here.", "End."]),
        ("On Jan. 5 it rained. On Feb. 6 it did not.", ["On Jan. 5 it rained.", "On Feb. 6 it did not."]),
        ("A heading\n\nA paragraph. More.", ["A heading", "A paragraph.", "More."]),
        (
            "Friday, 4 May\nIt rained. It\nrained all day.",
            ["Friday, 4 May", "It rained.", "It\nrained all day."],
        ),
        (
            "A line of a text that was broken for its width before\nThe next one. End.",
            ["A line of a text that was broken for its width before\nThe next one.", "End."],
        ),
        ("A line\nthat goes on. Next.", ["A line\nthat goes on.", "Next."]),
        ("Wait... what? Yes!", ["Wait... what?", "Yes!"]),
        ("今日は晴れ。明日は雨！行こう", ["今日は晴れ。", "明日は雨！", "行こう"]),
        ("One", ["One"]),
        ("", []),
    ],
)
def test_careful_rule(text: str, sentences: list[str]) -> None:
    assert stripped(split_careful(text)) == sentences


@pytest.mark.parametrize("rule", sorted(SPLITTERS))
@given(text=st.text(alphabet=st.sampled_from(list(" \n\t.!?…\"')。aAbBMr1é　")), max_size=80))
def test_nothing_is_lost_and_no_sentence_is_blank(rule: str, text: str) -> None:
    sentences = SPLITTERS[rule](text)
    assert "".join(sentences) == text
    assert all(sentence.strip() for sentence in sentences) or not text.strip()


@pytest.mark.parametrize("rule", sorted(SPLITTERS))
@pytest.mark.parametrize(
    "unit", [".", ". ", " ", "\n", " \n", "\n\n", '."', '"', "a", "Mr. ", "。", ".)]}\"'", "\r\n\t"]
)
@pytest.mark.usefixtures("endless")
def test_a_megabyte_of_anything_is_split(rule: str, unit: str) -> None:
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    assert "".join(SPLITTERS[rule](text)) == text


def test_a_rule_by_name_or_by_function() -> None:
    assert find_splitter("authors") is split_authors
    assert find_splitter(str.splitlines)("a\nb") == ["a", "b"]
    with pytest.raises(BadSetting, match="careful"):
        find_splitter("punkt")
