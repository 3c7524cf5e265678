"""Targets that a source bears out, mixtures of sources, windows and extraction, passages of documents."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pegasus.data.gap import GapSettings
from pegasus.data.mask import Fates, Symbols, WordMasking
from pegasus.data.mixture import LengthTokens, MixtureSource, ToldSource
from pegasus.data.pretraining import Extraction, PretrainingSettings, make_example
from pegasus.data.records import Pair, Rows
from pegasus.data.shard_workers import Passages, cut_passages
from pegasus.data.sources import PairSource
from pegasus.data.targets import TargetMaker, TargetSettings, subject
from pegasus.errors import BadSetting


class Words:
    """A tokenizer of which every word is a token."""

    def encode_ids(self, texts, add_special_tokens=True):
        return [np.arange(len(text.split()) + add_special_tokens) for text in texts]


SOURCE = (
    "Ann Marlow opened the old bridge in 1966. It had been closed for two years after a flood. "
    "Repairs cost nine million pounds. Who paid for the repairs of the bridge? The county paid half of it."
)


def made(summary, document=SOURCE, most=100, tokens=40, **settings):
    maker = TargetMaker(TargetSettings(**settings), Words(), most, tokens)
    return next(maker.make([Pair(document, (summary,))]), None)


@pytest.mark.parametrize(
    ("summary", "settings", "target"),
    [
        ("Ann Marlow opened the bridge in 1966.", {}, "Ann Marlow opened the bridge in 1966."),
        ("Ann Marlow opened the bridge. John Smith built it in 1960.", {}, "Ann Marlow opened the bridge."),
        ("John Smith built the bridge. Ann Marlow opened the bridge.", {}, None),
        (
            "John Smith built the bridge. Ann Marlow opened the bridge.",
            {"anywhere": True},
            "Ann Marlow opened the bridge.",
        ),
        ("Ann Marlow opened the bridge in 1967.", {}, None),
        ("Ann Marlow (of Leeds) opened a bridge (in 1966).", {}, "Ann Marlow opened a bridge (in 1966)."),
        ("Ann Marlow celebrated wonderful architecture.", {}, None),
        # Two of five are there.
        (
            "Ann Marlow celebrated wonderful architecture.",
            {"coverage": 0.4},
            "Ann Marlow celebrated wonderful architecture.",
        ),
        ("Ann Marlow opening repairing bridges.", {}, "Ann Marlow opening repairing bridges."),  # stems
        ("Repairs cost millions.", {"nearest": True, "sentences": 1}, "Repairs cost millions."),
        ("Who paid? Nobody knows who paid.", {"nearest": True}, "The county paid half of it."),
        ("Ann Marlow opened a bridge. It was old.", {"sentences": 1}, "Ann Marlow opened a bridge."),
    ],
)  # fmt: skip
def test_a_target_says_what_its_source_says(summary, settings, target):
    found = made(summary, **settings)
    assert (found and found.summary) == target


def test_only_what_the_model_reads_bears_out():
    assert made("The county paid half.", most=100) is not None
    assert made("The county paid half.", most=20) is None


def test_a_target_is_never_cut():
    assert made("Ann Marlow opened the bridge in 1966.", tokens=7) is None
    assert made("Ann Marlow opened the bridge in 1966.", tokens=8) is not None


def test_sentences_that_are_most_like_a_summary():
    found = made(
        "In 1966 the bridge was opened by Ann Marlow; repairs had cost nine million.", kind="extract"
    )
    assert found.summary == "Ann Marlow opened the old bridge in 1966. Repairs cost nine million pounds."
    assert made("Something else entirely happened elsewhere.", kind="extract") is None


OPENING = (
    "Leeds Bridge is an old bridge (1870) of Leeds. It crosses the river and was repaired.\n"
    "The old bridge of the city of Leeds crosses the river Aire where a ford had been for many years.\n"
    "It was repaired twice, and nobody knows what the repairs had cost the people of the town."
)


def test_an_opening_becomes_the_target_of_what_follows():
    found = made("", OPENING, kind="opening", least_words=5, paragraph=True, coverage=0.5, sentences=1)
    assert found.summary == "Leeds Bridge is an old bridge of Leeds."
    assert "Leeds Bridge" not in found.document
    first = made("", OPENING, kind="opening", least_words=5, coverage=0.5)
    assert first.document.startswith("It crosses the river")
    stays = made("", OPENING, kind="opening", least_words=5, paragraph=True, coverage=0.5, keep=1.0)
    assert stays.document == " ".join(OPENING.split())
    assert made("", OPENING, kind="opening", least_words=500) is None


def test_no_opening_is_about_what_is_measured_on():
    settings = TargetSettings(kind="opening", least_words=5, coverage=0.5)
    held = ["Leeds Bridge (in Leeds) was built by someone."]
    assert subject(held[0]) == "leeds bridge"
    assert list(TargetMaker(settings, Words(), 100, 40, held).make([Pair(OPENING, ())])) == []


@pytest.mark.parametrize(
    "settings",
    [{"coverage": 1.1}, {"sentences": 0}, {"keep": -0.1}, {"likeness": 3.0}, {"splitter": "mine"}],
)
def test_settings_without_sense(settings):
    with pytest.raises(BadSetting):
        TargetSettings(**settings)


# -- mixtures ----------------------------------------------------------------------------------------------


def pairs(first, count, length=3):
    rows = Rows.join([np.full(length, first + i, np.int32) for i in range(count)])
    return PairSource(rows, rows)


def test_an_epoch_of_a_mixture_reads_each_as_often_as_its_share_says():
    mixture = MixtureSource([pairs(100, 10), pairs(200, 3)], [0.5, 0.5])
    assert len(mixture) == 20
    found = Counter(int(mixture.example(i, 0).labels[0]) for i in range(20))
    assert {key: value for key, value in found.items() if key < 200} == dict.fromkeys(range(100, 110), 1)
    assert sorted(value for key, value in found.items() if key >= 200) == [3, 3, 4]
    inputs, labels = mixture.sizes(np.arange(20))
    assert inputs.tolist() == labels.tolist() == [3] * 20


def test_shares_are_met_whatever_the_sizes():
    sizes, shares = [700, 40, 900], [1.0, 2.0, 5.0]
    mixture = MixtureSource([pairs(1000 * k, size) for k, size in enumerate(sizes, 1)], shares)
    found = Counter(int(mixture.example(i, 0).labels[0]) // 1000 for i in range(len(mixture)))
    for number, share in enumerate(shares, 1):
        assert found[number] / len(mixture) == pytest.approx(share / 8, abs=2e-3)
    with pytest.raises(BadSetting, match="above 0"):
        MixtureSource([pairs(0, 1)], [0.0])


class Drawn:
    """One example, which tells the epoch it was asked for."""

    pad = 0

    def __len__(self):
        return 1

    def sizes(self, indices):
        return np.ones(len(indices), np.int64), np.ones(len(indices), np.int64)

    def example(self, index, epoch):
        from pegasus.data.records import Example

        return Example(np.array([epoch], np.int32), np.array([epoch], np.int32))


def test_a_row_that_comes_again_is_drawn_anew():
    mixture = MixtureSource([Drawn(), pairs(100, 5)], [0.5, 0.5])
    seen = [int(mixture.example(i, epoch).labels[0]) for epoch in range(3) for i in range(5)]
    assert len(set(seen)) == 15


def test_some_sources_say_how_long_their_target_is():
    rows = [np.arange(105, 105 + n, dtype=np.int32) for n in (3, 10, 30)]
    source = PairSource(Rows.join(rows), Rows.join(rows))
    told = ToldSource(source, LengthTokens((5, 20), first=8, share=1.0), 20, seed=1)
    found = [told.example(i, 0) for i in range(3)]
    assert [int(one.input_ids[0]) for one in found] == [8, 9, 10]
    assert [len(one.input_ids) for one in found] == [4, 11, 20]
    assert found[0].input_ids[1:].tolist() == rows[0].tolist()
    half = ToldSource(source, LengthTokens(share=0.5), 20, seed=1)
    asked = [int(half.example(0, epoch).input_ids[0]) == 4 for epoch in range(200)]
    assert 70 < sum(asked) < 130
    assert asked == [int(half.example(0, epoch).input_ids[0]) == 4 for epoch in range(200)]
    with pytest.raises(BadSetting, match="ascend"):
        LengthTokens((20, 5))


# -- windows, extraction, passages -------------------------------------------------------------------------

SYMBOLS = Symbols(500, 105, np.ones(500, bool))
SENTENCES = [np.full(10, 110 + i, np.int32) for i in range(20)]
SCORES = np.array([0.1, 0.9, 0.3, 0.8] * 5, np.float32)


def example(seed=0, **settings):
    gap, rng = GapSettings(ratio=0.2), np.random.default_rng(seed)
    return make_example(
        SENTENCES, PretrainingSettings(gap, Fates(1.0, intact=0.0), **settings), SYMBOLS, rng, scores=SCORES
    )


def test_a_window_takes_whole_sentences_in_a_row():
    starts = set()
    for seed in range(60):
        parts = example(seed, window=(40, 60)).parts
        assert 2 <= len(parts) <= 6
        known = [int(part[0]) for part in parts if len(part) == 10]
        starts.add(known[0])
        assert known == sorted(known)
    assert len(starts) > 10
    assert len(example(window=(1000, 1000)).parts) == 20


@pytest.mark.parametrize("early", [0.0, 0.9])
def test_a_document_that_is_left_whole_has_its_best_sentences_as_target(early):
    found = example(extraction=Extraction(1.0, (2, 2), early), words=WordMasking(0.2))
    assert found.example.input_ids.tolist() == [*np.concatenate(SENTENCES).tolist(), 1]
    # Of equal scores the later comes first; a loss for each sentence before it prefers the first ones.
    rated = SCORES * (1 - early) ** np.arange(20)
    best = sorted(np.argsort(rated, kind="stable")[::-1][:2].tolist())
    assert found.example.labels.tolist() == [*[110 + best[0]] * 10, *[110 + best[1]] * 10, 1]
    assert (found.example.mlm_labels == -100).all()


def test_sentences_of_a_target_are_whole_as_long_as_one_fits():
    assert len(example(extraction=Extraction(1.0, (3, 3)), max_target=25).example.labels) == 21
    assert len(example(extraction=Extraction(1.0), max_target=6).example.labels) == 6


def test_the_share_of_documents_that_are_left_whole():
    whole = sum(example(seed, extraction=Extraction(0.3)).fates.count("intact") > 0 for seed in range(300))
    assert 60 < whole < 120
    with pytest.raises(BadSetting, match="share"):
        Extraction(1.5)
    with pytest.raises(BadSetting, match="scores"):
        PretrainingSettings(GapSettings("lead"), extraction=Extraction(0.5))
    with pytest.raises(BadSetting, match="window"):
        PretrainingSettings(window=(9, 3))


def test_passages_are_whole_sentences_within_the_limit():
    documents = [["a", "b", "c", "d"], ["e"], ["f", "g", "h"]]
    sizes = [3, 4, 5, 9, 2, 3, 4, 2]
    rows = [np.full(size, i, np.int32) for i, size in enumerate(sizes)]
    made, kept = cut_passages(documents, rows, Passages(8, 1))
    assert made == [["a", "b"], ["c"], ["e"], ["f", "g"], ["h"]]
    assert [int(row[0]) for row in kept] == [0, 1, 2, 4, 5, 6, 7]  # the fourth sentence alone is too long
    assert cut_passages(documents, rows, Passages(8, 2))[0] == [["a", "b"], ["f", "g"]]
