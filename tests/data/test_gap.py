from __future__ import annotations

import itertools
import json
import lzma
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.data.gap import (
    STRATEGIES,
    GapSettings,
    authors_candidates,
    choose,
    choose_in_text,
    gap_count,
    score_sentences,
)
from pegasus.data.grams import STOP_WORDS, _counted, count_grams, count_many
from pegasus.data.scores import Measure, independent_scores, sequential_order
from pegasus.data.sentences import split_authors
from pegasus.errors import BadSetting

D1 = "The cat sat. A dog ran fast. The cat ran. Birds sing."
D2 = "Rain rain rain fell. Rain stopped today. The river rose today and rain fell. People slept."
COUNTINGS = ("orig", "uniq", "log")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def chosen(text: str, strategy: str, ratio: float = 0.5, **others: object) -> list[int]:
    gap = GapSettings(strategy=strategy, ratio=ratio, **others)  # type: ignore[arg-type]
    return choose_in_text(split_authors(text), gap, rng()).sentences.tolist()


# --- the rules once more, plainly and slowly -----------------------------------------------------------


def plain_words(text: str) -> list[str]:
    lowered = re.sub(r"[A-Z]", lambda letter: letter.group().lower(), text)
    return [word for word in re.split(r"[^a-z0-9]+", lowered) if word and word not in STOP_WORDS]


def plain_grams(words: Sequence[str], size: int = 1) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def plain_score(candidate: Counter, text: Counter, counting: str, exact: bool = True) -> float:
    """The score in float64, or rounded where the authors' code rounds."""
    rest = {gram: count - candidate[gram] for gram, count in text.items()}
    if counting == "log":
        weight, floor = math.log1p, 0.1
    else:
        weight, floor = (float if counting == "orig" else lambda count: float(count > 0)), 1.0
    kind = np.float64 if exact else np.float32
    overlap = math.fsum(weight(min(count, rest[gram])) for gram, count in candidate.items())
    precision = kind(overlap / max(floor, math.fsum(map(weight, candidate.values()))))
    recall = kind(overlap / max(floor, math.fsum(map(weight, rest.values()))))
    return float(kind(2) * precision * recall / (precision + recall)) if precision and recall else 0.0


def plain_scores(
    counts: Sequence[Counter], text: Counter, held: Sequence[int], counting: str
) -> list[float]:
    """The score of every sentence together with those held; -1 for these themselves."""
    base = sum((counts[i] for i in held), Counter())
    return [
        -1.0 if i in held else plain_score(base + count, text, counting) for i, count in enumerate(counts)
    ]


def plain_choice(
    sentences: Sequence[str], strategy: str, ratio: float, order: Sequence[int]
) -> tuple[list[int], float]:
    """The choice by the rules, and by how much `order`, another choice, falls short of the best
    anywhere.
    """
    counts = [plain_grams(plain_words(sentence)) for sentence in sentences]
    text = sum(counts, Counter())
    number = min(int(max(len(sentences) * ratio, 1)), len(sentences))
    kind, _, counting = strategy.partition("-")
    if kind == "continuous":
        windows = [sum(counts[i : i + number], Counter()) for i in range(len(counts) - number + 1)]
        scores = [plain_score(window, text, counting) for window in windows]
        start = max(range(len(scores)), key=lambda i: (scores[i], i))
        return list(range(start, start + number)), scores[start] - scores[min(order)]
    if kind == "ind":
        scores = plain_scores(counts, text, [], counting)
        picks = sorted(range(len(scores)), key=lambda i: (scores[i], i))[-number:]
        return sorted(picks), scores[picks[0]] - min(scores[i] for i in order)
    picks, short = [], 0.0
    for turn in range(number):
        scores = plain_scores(counts, text, picks, counting)
        picks.append(max(range(len(scores)), key=lambda i: (scores[i], i)))
        scores = (
            plain_scores(counts, text, order[:turn], counting) if picks[:turn] != order[:turn] else scores
        )
        short = max(short, max(scores) - scores[order[turn]])
    return sorted(picks), short


# --- the worked examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentences", "ratio", "count"),
    [(3, 0.15, 1), (7, 0.45, 3), (10, 0.3, 3), (100, 0.29, 29), (0, 0.5, 0)],
)
def test_how_many_sentences(sentences: int, ratio: float, count: int) -> None:
    assert gap_count(sentences, ratio) == count


def test_a_double_would_round_otherwise() -> None:
    assert gap_count(100, 0.29, "float64") == 28


def test_scores_of_the_first_example() -> None:
    scores = independent_scores(count_grams(split_authors(D1)), Measure())
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [0.2222, 0.2222, 0.4444, 0], atol=5e-5)


@pytest.mark.parametrize(
    ("counting", "scores"),
    [
        ("orig", [0.42857146, 0.28571, 0.42857143, 0]),
        ("uniq", [0.4, 0.4, 0.54545, 0]),
        ("log", [0.4248, 0.3359, 0.4869, 0]),
    ],
)
def test_scores_of_the_second_example(counting: str, scores: list[float]) -> None:
    found = independent_scores(count_grams(split_authors(D2)), Measure(counting))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, scores, atol=5e-5)


def test_one_rounding_of_float32_decides() -> None:
    first, third = independent_scores(count_grams(split_authors(D2)), Measure())[[0, 2]]
    assert first.tobytes() == np.float32(0.42857146).tobytes()
    assert third.tobytes() == np.float32(0.42857143).tobytes()
    double = independent_scores(count_grams(split_authors(D2)), Measure(precision="float64"))
    assert abs(double[0] - double[2]) < 1e-15
    assert chosen(D2, "seq-orig") == [0, 3]


@pytest.mark.parametrize(
    ("text", "strategy", "ratio", "sentences"),
    [
        (D1, "ind-orig", 0.5, [1, 2]),
        (D1, "ind-orig", 0.45, [2]),
        (D1, "seq-orig", 0.5, [2, 3]),
        (D1, "continuous-orig", 0.5, [2, 3]),
        (D1, "lead", 0.5, [0, 1]),
        (D1, "none", 0.5, []),
        (D2, "ind-orig", 0.5, [0, 2]),
        (D2, "ind-uniq", 0.5, [1, 2]),
        (D2, "ind-log", 0.5, [0, 2]),
        (D2, "seq-uniq", 0.5, [2, 3]),
        (D2, "seq-log", 0.5, [2, 3]),
    ],
)
def test_choices_of_the_examples(text: str, strategy: str, ratio: float, sentences: list[int]) -> None:
    assert chosen(text, strategy, ratio) == sentences


def test_counting_class_examples() -> None:
    # reference "aa bb cc", candidate "aa bb"
    text = count_grams(["aa bb.", "aa bb cc."])
    assert independent_scores(text, Measure(metric="recall"))[0] == pytest.approx(2 / 3)
    assert independent_scores(text, Measure(metric="precision"))[0] == 1
    assert independent_scores(text, Measure())[0] == pytest.approx(0.8)
    # reference "bb bb bb", candidate "bb"
    text = count_grams(["bb.", "bb bb bb."])
    assert independent_scores(text, Measure("uniq"))[0] == 1
    assert independent_scores(text, Measure(metric="recall"))[0] == pytest.approx(1 / 3)
    assert independent_scores(text, Measure())[0] == pytest.approx(0.5)


def test_runs_of_words_reach_over_borders_only_in_the_rest() -> None:
    # "red fox" stands in sentence 0 and across the border of 1 and 2, which no sentence has
    scores = independent_scores(
        count_grams(["red fox.", "big red.", "fox ran."], 2), Measure(metric="precision")
    )
    assert scores.tolist() == [1, 0, 0]


def test_other_letters_separate_words_and_other_languages_have_their_own_rule() -> None:
    assert count_grams(["naïve café"]).counts.sum() == 3  # na, ve, caf
    gap = GapSettings(words="unicode", ratio=0.3)
    assert choose_in_text(
        ["Кошка спит. ", "Собака ест. ", "Кошка ест. "], gap, rng()
    ).sentences.tolist() == [2]


# --- strategies left to chance
# -----------------------------------------------------------------------------


def test_random_choices_are_of_the_right_number_and_everywhere() -> None:
    gap = GapSettings("random", ratio=0.3)
    picks = [choose(10, gap, rng(seed)).sentences for seed in range(400)]
    assert all(len(set(pick)) == 3 and sorted(pick) == pick.tolist() for pick in picks)
    hits = np.bincount(np.concatenate(picks), minlength=10)
    assert hits.min() > 80
    assert hits.max() < 160


def test_a_range_of_ratios_is_drawn_evenly() -> None:
    gap = GapSettings("random", ratio=(0.1485, 0.45))
    counts = [len(choose(1000, gap, rng(seed)).sentences) for seed in range(400)]
    assert min(counts) >= 148
    assert max(counts) < 450
    assert np.mean(counts) == pytest.approx(299, abs=15)


@pytest.mark.parametrize(("kind", "spread"), [("gaussian", 0.04), ("uniform", 0.2 / 3**0.5)])
def test_noise_has_the_spread_of_its_kind(kind: str, spread: float) -> None:
    # Of two sentences whose scores differ by 4 %, the lower one wins as often as two noises differ by that
    # much.
    gap = GapSettings(ratio=0.5, noise=0.2, noise_kind=kind)  # type: ignore[arg-type]
    scores = np.array([1.0, 0.96], np.float32)
    wins = np.mean([choose(2, gap, rng(seed), scores=scores).sentences[0] for seed in range(3000)])
    expected = 0.5 * math.erfc(0.04 / spread / 2) if kind == "gaussian" else 0.4
    assert wins == pytest.approx(expected, abs=0.03)


def test_noise_is_fresh_for_every_document() -> None:
    gap = GapSettings(ratio=0.1, noise=0.2, noise_kind="uniform")
    picks = {
        int(choose(50, gap, rng(seed), scores=np.ones(50, np.float32)).sentences[0]) for seed in range(60)
    }
    assert len(picks) > 12


def test_hybrid_says_which_of_three_it_was() -> None:
    gap = GapSettings("hybrid", ratio=0.25)
    scores = score_sentences(gap.count(split_authors(D1)), gap)
    found = [choose(4, gap, rng(seed), scores=scores) for seed in range(60)]
    assert {choice.token for choice in found} == {5, 6, 7}
    assert all(choice.sentences.tolist() == [0] for choice in found if choice.token == 6)
    assert all(choice.sentences.tolist() == [2] for choice in found if choice.token == 7)


# --- borders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_empty_and_one_sentence(strategy: str) -> None:
    gap = GapSettings(strategy)
    assert choose_in_text([], gap, rng()).sentences.tolist() == []
    assert choose_in_text(["One."], gap, rng()).sentences.tolist() == ([] if strategy == "none" else [0])
    assert choose_in_text(["...", "the a of", "—"], gap, rng()).sentences.size == (
        0 if strategy == "none" else 1
    )


def test_the_authors_cut_of_the_greedy_list() -> None:
    assert authors_candidates() == 28
    many = [f"word{number} common." for number in range(100)]
    gap = GapSettings("seq-orig", ratio=0.45, candidates=28)
    found = choose_in_text(many, gap, rng()).sentences
    assert len(found) == gap_count(28, 0.45) == 12
    assert found.max() < 28


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in (
        {"strategy": "ind"},
        {"ratio": 0.0},
        {"ratio": (0.5, 0.4)},
        {"noise": 0.2, "strategy": "seq-orig"},
        {"noise_kind": "white"},
        {"noise": 1.5},
        {"words": "latin"},
    ):
        with pytest.raises(BadSetting):
            GapSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match="scores"):
        choose(3, GapSettings(), rng())
    with pytest.raises(BadSetting, match="no score"):
        score_sentences(count_grams(["a b"]), GapSettings("continuous-orig"))
    with pytest.raises(BadSetting, match="ngram"):
        count_grams(["a b"], 0)


# --- the fast way and the plain way
# ------------------------------------------------------------------------

words = st.sampled_from(["rain", "river", "People", "the", "7", "a,", "fell", "x-ray", "Ünder", "don't"])
documents = st.lists(st.lists(words, max_size=7).map(" ".join), max_size=9)


@pytest.mark.parametrize("counting", COUNTINGS)
@given(sentences=documents, size=st.integers(1, 3))
@settings(max_examples=60)
def test_independent_scores_equal_the_plain_ones(counting: str, sentences: list[str], size: int) -> None:
    text = plain_grams(plain_words("\n".join(sentences)), size)
    counts = [plain_grams(plain_words(sentence), size) for sentence in sentences]
    expected = [plain_score(count, text, counting) for count in counts]
    found = independent_scores(count_grams(sentences, size), Measure(counting, precision="float64"))  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(texts=st.lists(documents, min_size=1, max_size=5), size=st.integers(1, 2))
@settings(max_examples=60)
def test_documents_counted_together_are_counted_each_for_itself(texts: list[list[str]], size: int) -> None:
    together = count_many(texts, size)
    scores = iter(independent_scores(together, Measure()))
    for number, sentences in enumerate(texts):
        alone = count_grams(sentences, size)
        one = together.document(number)
        assert one.sentences == alone.sentences
        assert sorted(one.totals) == sorted(alone.totals)
        assert independent_scores(one, Measure()).tolist() == independent_scores(alone, Measure()).tolist()
        assert independent_scores(one, Measure()).tolist() == list(itertools.islice(scores, len(sentences)))


@pytest.mark.parametrize("counting", COUNTINGS)
@given(texts=st.lists(documents, min_size=1, max_size=5), candidates=st.sampled_from([None, 3]))
@settings(max_examples=40)
def test_documents_chosen_from_in_step_are_chosen_from_each_for_itself(
    counting: str, texts: list[list[str]], candidates: int | None
) -> None:
    gap = GapSettings(f"seq-{counting}", candidates=candidates)
    together = score_sentences(gap.count_many(texts), gap).tolist()
    alone = [number for text in texts for number in score_sentences(gap.count(text), gap).tolist()]
    assert together == alone


def test_words_that_differ_only_in_low_bits_of_their_number_are_told_apart() -> None:
    # Numbers of words go into a sort with few bits; a function that makes such words shows they are not
    # mixed up.
    keys = np.array([8, 9, 8, 9, 10, 8], np.uint64)
    rows = np.array([0, 0, 1, 1, 1, 2])
    counted = _counted(keys, rows, rows, np.zeros(3, np.int64))
    assert sorted(counted.totals.tolist()) == [1, 2, 3]
    assert counted.counts.tolist() == [1] * 6


def test_a_long_document_is_counted_in_blocks() -> None:
    sentences = [f"alpha{number % 97} beta gamma{number}. " for number in range(9000)]
    grams = count_grams(sentences)
    assert grams.totals.sum() == 27_000
    assert sorted(grams.totals)[-1] == 9000
    assert len(grams.totals) == 1 + 97 + 9000


def test_greedy_order_begins_with_every_smaller_choice() -> None:
    grams = count_grams(split_authors(D2 + " " + D1))
    for counting in COUNTINGS:
        measure = Measure(counting)  # type: ignore[arg-type]
        whole = sequential_order(grams, measure, 8).tolist()
        assert sorted(whole) == list(range(8))
        for picks in range(1, 8):
            assert sequential_order(grams, measure, picks).tolist() == whole[:picks]


@pytest.mark.parametrize(
    "text",
    [
        "a " * 500_000,
        "a. " * 333_333,
        "x" * 1_000_000,
        "é" * 1_000_000,
        ". ".join(f"w{n}x" for n in range(110_000)),
    ],
    ids=["short words", "short sentences", "no blank", "no ascii", "all different"],
)
@pytest.mark.parametrize("strategy", ["ind-orig", "continuous-log"])
@pytest.mark.usefixtures("endless")
def test_a_megabyte_of_anything_is_scored(text: str, strategy: str) -> None:
    sentences = split_authors(text)
    chosen = choose_in_text(sentences, GapSettings(strategy, ratio=0.3), rng())
    assert 0 < len(chosen.sentences) < len(sentences) or len(sentences) == 1


def real_documents(folder: Path, count: int) -> list[list[str]]:
    """A few of every kind of text."""
    files = sorted(folder.glob("*.jsonl.xz"))
    found = []
    for file in files:
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            found += [json.loads(line)["text"] for line in itertools.islice(lines, -(-count // len(files)))]
    return [split_authors(text) for text in found[:count]]


def compare(texts: list[list[str]], strategy: str, ratio: float) -> tuple[int, list[str]]:
    """How many choices are equal, and a line for each document where scores equal but for rounding
    decided.
    """
    equal, ties = 0, []
    gap = GapSettings(strategy, ratio=ratio, precision="float64")
    for number, sentences in enumerate(texts):
        fast = choose_in_text(sentences, gap, rng()).sentences.tolist()
        order = fast
        if gap.kind == "seq":
            order = sequential_order(gap.count(sentences), gap.measure, len(fast)).tolist()
        plain, short = plain_choice(sentences, strategy, ratio, order)
        assert short < 1e-12, f"{strategy} document {number}: {fast} is {short} worse than {plain}"
        equal += fast == plain
        if fast != plain:
            ties.append(f"{strategy} document {number}: {short:.1e} apart, {fast} and {plain}")
    return equal, ties


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if "-" in name])
def test_choices_equal_the_plain_ones_on_real_documents(shared: Path, strategy: str) -> None:
    texts = [text[:40] for text in real_documents(shared / "data" / "pretrain", 28)]
    equal, ties = compare(texts, strategy, 0.3)
    # Sums of logarithms that are equal on paper differ in their last digits with the order of adding.
    assert equal >= (12 if strategy.endswith("log") else 28), ties


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if "-" in name])
def test_choices_equal_the_plain_ones_on_two_thousand_documents(
    shared: Path, strategy: str, capsys: pytest.CaptureFixture
) -> None:
    texts = real_documents(shared / "data" / "pretrain", 2000)
    equal, ties = compare(texts, strategy, 0.3)
    with capsys.disabled():
        print(
            f"\n{strategy}: {equal} of {len(texts)} equal, {len(ties)} decided by a tie", *ties, sep="\n  "
        )
    # Every other choice was within 1e-12 of the best at its turn, which `compare` has asserted.
    assert equal >= len(texts) * (0.4 if strategy.endswith("log") else 1)
