from __future__ import annotations

import sys

import pytest

from pegasus.errors import BackendMissing, BadSetting
from pegasus.evaluation import baselines
from pegasus.evaluation.baselines import BASELINES, cut, extract, find_baseline

DOCUMENT = (
    "The harbour was quiet. The storm broke the north pier of the harbour at night. "
    "Nobody was hurt. Engineers say repairs of the pier will take a year after the storm. Gulls returned."
)


def test_lead_is_the_beginning_cut_to_length() -> None:
    assert extract(DOCUMENT, "lead", 6) == "The harbour was quiet. The storm"
    assert extract(DOCUMENT, "lead", 1000) == DOCUMENT
    assert extract(DOCUMENT, "first", 1000) == "The harbour was quiet."


def test_lead_takes_more_than_three_sentences_where_references_are_long() -> None:
    assert extract("A b. C d. E f. G h. I j.", "lead", 7) == "A b. C d. E f. G"


def test_principal_says_most_of_the_others() -> None:
    assert extract(DOCUMENT, "principal", 11) == "The storm broke the north pier of the harbour at night."
    both = extract(DOCUMENT, "principal", 20)
    assert both.startswith("The storm broke the north pier of the harbour at night. Engineers say")


def test_lexrank_needs_no_download_and_keeps_document_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sumy")
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk, "download", lambda *_: pytest.fail("tried to download"))
    found = extract(DOCUMENT, "lexrank", 25)
    assert "storm broke" in found
    assert found.index("storm broke") < found.index("Engineers")
    assert len(found.split()) == 25


def test_of_two_equal_sentences_both_may_be_chosen() -> None:
    pytest.importorskip("sumy")
    assert extract("The cat sat. The cat sat. A dog ran.", "lexrank", 9).count("The cat sat.") == 2


@pytest.mark.parametrize("name", BASELINES)
def test_short_documents(name: str) -> None:
    pytest.importorskip("sumy")
    assert extract("Only this.", name, 5) == "Only this."
    assert extract("...", name, 5) == "..."


def test_cut_counts_words_and_keeps_lines() -> None:
    assert cut("a b\nc  d", 3) == "a b\nc"
    assert cut("a b", 9) == "a b"
    assert cut("a b", 0) == cut("", 3) == ""


def test_unknown_names_and_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSetting, match="lexrank"):
        find_baseline("textrank")
    baselines._sumy.cache_clear()
    monkeypatch.setitem(sys.modules, "sumy.summarizers.lex_rank", None)
    with pytest.raises(BackendMissing, match=r"pegasus-summarizer\[eval\]"):
        extract(DOCUMENT, "lexrank", 3)
