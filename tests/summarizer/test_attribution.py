"""Subjects and numbers of a summary's sentence must stand together in the text."""

from __future__ import annotations

import pytest

from pegasus.data.sentences import split_careful
from pegasus.summarizer.attribution import Facts, Rule, Unattributed, unattributed
from pegasus.summarizer.checks import check_attribution

TEXT = (
    "Helen Okafor won 412 votes on Tuesday. Daniel Reyes had 97. He spent $15,000. The Harbour Trust said "
    "that forty boats were lost in 1987. In May Reyes left."
)


def found(summary: str, rule: Rule = Rule()) -> list[tuple[str, str]]:  # noqa: B008 - frozen
    facts = [Facts(sentence) for sentence in split_careful(TEXT)]
    told = unattributed(split_careful(summary), facts, str.istitle, rule)
    return [(one.subject, one.number) for one in told]


@pytest.mark.parametrize(
    "summary",
    [
        TEXT, "Okafor won 412 votes.", "Okafor's 412 votes were enough.", "Reyes got ninety-seven votes.",
        "The Trust lost 40 boats in 1987.", "Boats were lost: 40.", "Nobody Known had 97 votes.",
        "Reyes had 98 votes.", "On Tuesday 97 votes came.",
    ],
)  # fmt: skip
def test_what_the_text_has_together_is_right(summary):
    assert found(summary) == []


@pytest.mark.parametrize(
    ("summary", "pair"),
    [
        ("Okafor had 97 votes.", ("Okafor", "97")),
        ("Daniel Reyes won 412 votes.", ("Daniel Reyes", "412")),
        ("Helen Okafor lost forty boats.", ("Helen Okafor", "forty")),
        ("In 1987 Reyes left.", ("Reyes", "1987")),
    ],
)
def test_what_stands_apart_is_told(summary, pair):
    assert found(summary) == [pair]


def test_the_sentence_before_counts_where_it_shall():
    assert found("Reyes spent $15,000.", Rule(back="never")) == [("Reyes", "15,000")]
    assert found("Reyes spent $15,000.", Rule(back="pronoun")) == []
    assert found("Okafor had 97 votes.", Rule(back="pronoun")) == [("Okafor", "97")]
    assert found("Okafor had 97 votes.", Rule(back="always")) == []
    assert found("Okafor and Reyes had 97 votes.", Rule(any_name=True)) == []


def test_a_summary_is_warned_of_where_that_is_asked_for(summarizer, monkeypatch):
    decode = type(summarizer.reader).decode
    monkeypatch.setattr(
        type(summarizer.reader),
        "decode",
        lambda reader, tokens: decode(reader, tokens).replace("Okafor won 412", "Okafor won 97"),
    )
    text = "Mayor Okafor won 412 votes. Mister Reyes had 97 votes."
    warned = "attribution: nowhere together in the text: Okafor and 97"
    assert warned in summarizer(text, attribution=True).warnings
    assert warned not in summarizer(text).warnings
    assert str(Unattributed("Okafor", "97")) == "Okafor and 97"
    assert check_attribution(["Okafor won 97."], ["Okafor won 412.", "Reyes had 97."], str.istitle)
