"""Near-copies of a text's words are put right, and nothing else is touched."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pegasus.errors import BadSetting
from pegasus.summarizer import Settings, Summarizer
from pegasus.summarizer.repair import Repaired, Repairer, slips

TEXT = (
    "Person1 asked Person2 about Northbridge. The committee of Mayor Helen Okafor met on Tuesday, and "
    "Grzegorz Brzęczyszczykiewicz spoke of blockchain, photosynthesis and O'Neill's 1,200 letters to "
    "Americans."
)
COMMON = frozenset(
    [
        "the",
        "committee",
        "met",
        "of",
        "spoke",
        "letters",
        "person",
        "asked",
        "about",
        "form",
        "from",
        "walk",
    ]
)


def repaired(summary: str, text: str = TEXT, common: frozenset[str] = COMMON) -> str:
    return Repairer(text, common)(summary)[0]


@pytest.mark.parametrize(
    ("written", "now"),
    [
        ("Perley2 asked", "Person2 asked"), ("Pere2 asked", "Person2 asked"),
        ("the Perley1 of", "the Person1 of"),
        ("Mayor Okafr met", "Mayor Okafor met"), ("Mayor Okfaor met", "Mayor Okafor met"),
        ("in Northbrige", "in Northbridge"), ("in Northbridg", "in Northbridge"),
        ("spoke of blokchain", "spoke of blockchain"), ("of photosynthsis.", "of photosynthesis."),
        ("Blokchain met", "Blockchain met"), ("Grzegroz's letters", "Grzegorz's letters"),
        ("Brzeczyszczykewicz", "Brzęczyszczykiewicz"), ("the commitee", "the committee"),
    ],
)  # fmt: skip
def test_what_is_put_right(written, now):
    assert repaired(written) == now


@pytest.mark.parametrize(
    "text",
    [
        TEXT, "Person2", "person2", "NORTHBRIDGE", "walked", "the walks", "American", "an American's",
        "Person3", "Perley3", "1,201", "12000", "Brzeczyszczykiewicz", "qwertz", "Northern", "Zokafor",
        "committees", "blockchains", "Neill", "Tues", "", "Oka", "photographs",
    ],
)  # fmt: skip
def test_what_is_left_alone(text):
    assert Repairer(TEXT, COMMON)(text) == (text, ())


def test_of_two_that_are_equally_near_neither_is_taken():
    assert repaired("Mr Hansan", "Hansen met Hanson") == "Mr Hansan"


def test_without_a_list_words_in_small_letters_are_left_alone():
    assert repaired("blokchain of Okafr", common=frozenset()) == "blokchain of Okafor"


def test_what_was_changed_is_told():
    pairs = Repairer(TEXT, COMMON)("Perley2 and Okafr met.")[1]
    assert pairs == (Repaired("Perley2", "Person2"), Repaired("Okafr", "Okafor"))


@given(st.text(alphabet="abc", max_size=6), st.text(alphabet="abc", max_size=6))
def test_slips_are_a_measure(one, other):
    assert slips(one, other) == slips(other, one) <= max(len(one), len(other))
    assert (slips(one, other) == 0) == (one == other)
    if one:
        assert slips(one, one[1:]) == 1


@given(st.lists(st.sampled_from(TEXT.split() + sorted(COMMON)), max_size=12))
def test_words_of_the_text_and_the_list_never_change(words):
    assert Repairer(TEXT, COMMON)(" ".join(words)) == (" ".join(words), ())


def test_a_summary_says_what_was_repaired(summarizer, monkeypatch):
    text = "Northbridge flooded on Tuesday. The mayor left."
    decode = type(summarizer.reader).decode
    monkeypatch.setattr(
        type(summarizer.reader),
        "decode",
        lambda reader, tokens: decode(reader, tokens).replace("Northbridge", "Northbrige"),
    )
    free, held = summarizer(text), summarizer(text, repair=True)
    assert "Northbrige" in free.text
    assert free.repaired == ()
    assert "repaired" not in free.to_dict()
    assert "Northbridge" in held.text
    assert held.to_dict()["repaired"] == ({"written": "Northbrige", "now": "Northbridge"},)
    assert "repaired: Northbrige to Northbridge" in held.warnings
    told = summarizer(text, repair=True, explain=True).explanation
    assert told is not None
    assert "Northbridge" in told[0].sentence


def test_the_setting_is_checked():
    with pytest.raises(BadSetting, match="repair must be True or False"):
        Settings(repair="yes")


def test_copies_of_a_summarizer_repair_too(tmp_path):
    mini = Summarizer.from_pretrained("pegasus-mini", device="cpu", threads=1, num_beams=1, repair=True)
    assert isinstance(mini(TEXT).repaired, tuple)
