"""Where summaries end that meet their limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pegasus import Summarizer
from pegasus.summarizer.endings import SourceEnding, end_at_word, within_words

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
KNOWN = SourceEnding(
    'The river (Elbe) rose, said Mayer; "flood" water is well-known. It cost 120,000 euros!'
)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("The river ro", "The river"),
        ("The river rose", "The river rose"),
        ("The river rose,", "The river rose"),
        ("said the mayor of Dresd", "said the mayor of"),
        ("It cost 120", "It cost"),
        ("It cost 120,000", "It cost 120,000"),
        ("is well-", "is"),
        ("is well", "is"),
        ("the (Elbe", "the (Elbe"),
        ('the "', "the"),
        ("flo", "flo"),
        ("水位上昇", "水位上昇"),
    ],
)
def test_a_broken_word_goes(text, ends) -> None:
    assert "".join(end_at_word([text], KNOWN)) == ends


@pytest.mark.parametrize(
    ("sentences", "most", "left", "broken"),
    [
        (["A b c. ", "D e f."], 6, "A b c. D e f.", False),
        (["A b c. ", "D e f."], 5, "A b c. ", False),
        (["A b c. ", "D e f g h i j k."], 8, "A b c. D e f g h", True),
        (["A b c, ", "d e f."], 1, "A", True),
        (["A, b, c."], 2, "A, b", True),
    ],
)
def test_no_more_words_than_were_asked_for(sentences, most, left, broken) -> None:
    kept, cut = within_words(sentences, most)
    assert ("".join(kept), cut) == (left, broken)


def test_a_summary_without_a_length_ends_at_a_word_too_and_says_so(summarizer, writer) -> None:
    number = summarizer.reader.tokenizer.number
    text = "Many rivers carry sand into the wide sea."
    broken = "Many rivers carry sand into the wi"
    writer.says = lambda job: [number(word) for word in broken.split()] * 2
    summary = summarizer(text)
    assert summary.text == "Many rivers carry sand into the"
    assert (summary.cut, summary.finish_reason) == (True, "length")
    assert summary.warnings == ("cut: it met its limit and ends in the middle of a sentence",)
    assert json.loads(json.dumps(summary.to_dict()))["cut"] is True


def test_a_summary_that_ends_with_its_sentence_is_not_cut(summarizer, writer) -> None:
    text = "One two three four five six seven. Eight nine ten."
    writer.says = lambda job: job.tokens
    summary = summarizer(text, length=7)
    assert (summary.text, summary.cut, summary.warnings) == (
        "One two three four five six seven.",
        False,
        (),
    )
    assert summarizer("A b c.").cut is False


def test_sentences_that_are_left_out_take_the_cut_with_them(summarizer, writer) -> None:
    writer.says = lambda job: job.tokens
    summary = summarizer("One two. Three four. Five six seven eight nine ten.", sentences=2)
    assert (summary.text, summary.cut) == ("One two. Three four.", False)


@pytest.fixture(scope="module")
def mini() -> Summarizer:
    return Summarizer.from_pretrained("pegasus-mini", threads=1)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 9, 11, 14, 17, 20, 25, "4%"])
def test_real_summaries_end_at_words_of_the_text_and_hold_no_more_than_asked(mini, length) -> None:
    text = (EXAMPLES / "zebras.txt").read_text(encoding="utf-8")
    summary = mini(text, length=length)
    words = summary.text.split()
    assert 0 < len(words) <= (9 if length == "4%" else length)
    assert set(words) <= {word.strip(",;:") for word in text.split()} | set(text.split())
    assert summary.cut is not summary.text.endswith(".")
    assert summary.cut is any(warning.startswith("cut:") for warning in summary.warnings)


def test_a_summary_longer_than_its_text_is_warned_of(summarizer, writer) -> None:
    number = summarizer.reader.tokenizer.number
    writer.says = lambda job: [number(word) for word in ("Sand", "Sand", "Sand", "Sand", "Sand.")]
    summary = summarizer("Sand Sand.", check=True)
    assert "longer: 6 tokens, and the text has 3" in summary.warnings
    assert not summarizer("Sand Sand.", check=False).warnings
    writer.says = lambda job: job.tokens
    assert not summarizer("Sand lies here.", check=True).warnings
