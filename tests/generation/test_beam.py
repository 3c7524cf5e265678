"""Beam search against brute force, and what it does with texts that are done."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.generation.search.authors_beam import AuthorsBeam
from pegasus.generation.search.beam import Beam
from pegasus.generation.search.finished_hypotheses import FinishedHypotheses, LengthNormalization
from pegasus.generation.search.greedy import Greedy
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import run_search
from pegasus.generation.table_session import LogitsOf, TableSession, log_softmax

EOS = 1


def random_logits(vocabulary: int, seed: int, eos_lift: float = 0.0) -> LogitsOf:
    """Logits that depend on the text and on everything written."""

    def of(text: int, written: tuple[int, ...]) -> np.ndarray:
        generator = np.random.default_rng([seed, text, *written])
        logits = (generator.standard_normal(vocabulary) * 2).astype(np.float32)
        logits[EOS] += eos_lift
        return logits

    return of


def prompts(texts: int) -> np.ndarray:
    return np.zeros((texts, 1), dtype=np.int64)


def sum_of(logits_of: LogitsOf, text: int, tokens: tuple[int, ...]) -> float:
    """The log-probability of what follows the start token."""
    written, total = (0,), 0.0
    for token in tokens:
        total += float(log_softmax(logits_of(text, written)[None])[0, token])
        written += (token,)
    return total


def every_sequence(vocabulary: int, longest: int):
    """All that can be said with at most ``longest`` new tokens: ended, or cut at the limit."""
    words = [token for token in range(vocabulary) if token != EOS]
    for length in range(longest):
        for head in itertools.product(words, repeat=length):
            yield (*head, EOS)
    yield from itertools.product(words, repeat=longest)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0]))
def test_enough_beams_find_the_true_best(seed, penalty):
    vocabulary, longest = 3, 4
    logits_of = random_logits(vocabulary, seed)
    beams = 2**longest
    search_settings = SearchSettings(
        max_length=1 + longest, eos=(EOS,), beams=beams, length_penalty=penalty, early_stopping="never"
    )
    found = run_search(Beam(prompts(1), search_settings), TableSession(vocabulary, 1, logits_of))

    def score(tokens: tuple[int, ...]) -> float:
        # The length counts the start token and not EOS.
        length = len(tokens) if tokens[-1] == EOS else 1 + len(tokens)
        return sum_of(logits_of, 0, tokens) / length**penalty

    best = max(map(score, every_sequence(vocabulary, longest)))
    assert found.scores_N[0] == pytest.approx(best, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.0, 0.6, 0.8, 1.0]))
def test_enough_beams_find_the_authors_best(seed, alpha):
    vocabulary, longest = 3, 4
    logits_of = random_logits(vocabulary, seed)
    search_settings = SearchSettings(
        max_length=1 + longest,
        eos=(EOS,),
        beams=2**longest,
        length_penalty=alpha,
        length_normalization="authors",
    )
    found = run_search(AuthorsBeam(prompts(1), search_settings), TableSession(vocabulary, 1, logits_of))
    ended = [tokens for tokens in every_sequence(vocabulary, longest) if tokens[-1] == EOS]
    scores = [sum_of(logits_of, 0, tokens) / ((5 + len(tokens)) / 6) ** alpha for tokens in ended]
    assert found.finished_N[0]
    assert found.scores_N[0] == pytest.approx(max(scores), abs=1e-4)


@pytest.mark.parametrize("search", [Greedy, Beam, AuthorsBeam])
@pytest.mark.parametrize("all_rows", [False, True])
def test_a_batch_finds_what_each_text_finds_alone(search, all_rows):
    """Texts that are done are dropped from the session, and the others do not notice."""
    vocabulary, texts, beams = 9, 12, 1 if search is Greedy else 4
    logits_of = random_logits(vocabulary, seed=5, eos_lift=1.5)
    search_settings = SearchSettings(
        max_length=20, eos=(EOS,), beams=beams, returned=1 if search is Greedy else 2, all_rows=all_rows
    )
    session = TableSession(vocabulary, texts, logits_of)
    together = run_search(search(prompts(texts), search_settings), session)
    for text in range(texts):
        alone = run_search(
            search(prompts(1), search_settings),
            TableSession(vocabulary, 1, lambda _, written, text=text: logits_of(text, written)),
        )
        for place in range(search_settings.returned):
            row, length = text * search_settings.returned + place, alone.lengths_N[place]
            assert together.lengths_N[row] == length
            assert (
                together.sequences_NT[row, :length].tolist() == alone.sequences_NT[place, :length].tolist()
            )
            assert together.scores_N[row] == alone.scores_N[place]
    full = texts * beams * session.passes
    if all_rows:
        assert session.rows_read == full
    else:
        share = 1.0 if search is AuthorsBeam else 0.8
        assert session.rows_read < share * full, "rows of texts that were done were still read"


def test_several_ends():
    """With two EOS tokens 3M continuations are looked at, so that M can always go on."""
    logits_of = random_logits(8, seed=2)
    search_settings = SearchSettings(max_length=10, eos=(EOS, 5), beams=4, returned=4)
    found = run_search(Beam(prompts(3), search_settings), TableSession(8, 3, logits_of))
    for row, length in zip(found.sequences_NT, found.lengths_N):
        assert not np.isin(row[1 : length - 1], [EOS, 5]).any()


def test_scores_are_sums_over_lengths():
    logits_of = random_logits(7, seed=11)
    search_settings = SearchSettings(max_length=8, eos=(EOS,), beams=3, returned=3, length_penalty=0.8)
    found = run_search(Beam(prompts(2), search_settings), TableSession(7, 2, logits_of))
    for place, (row, length) in enumerate(zip(found.sequences_NT, found.lengths_N)):
        tokens = tuple(row[1:length].tolist())
        ended = bool(found.finished_N[place])
        divisor = (length - ended) ** 0.8
        assert found.scores_N[place] == pytest.approx(
            sum_of(logits_of, place // 3, tokens) / divisor, rel=1e-4
        )


def peaked(script: list[int], vocabulary: int) -> LogitsOf:
    """A model that is almost sure of the next token of a script, whatever was written."""

    def of(text: int, written: tuple[int, ...]) -> np.ndarray:
        logits = np.zeros(vocabulary, dtype=np.float32)
        logits[script[len(written) - 1]] = 10.0
        return logits

    return of


@pytest.mark.parametrize(
    ("start", "alpha", "script", "expected"),
    [
        (5.0, 1.0, [3, 4, 2, 5, 3], [3, 4, 2, 5, 1]),
        (0.0, 1.0, [3, 4, 1, 5, 3], [3, 4, 1, 0, 0]),
    ],
)
def test_the_authors_own_cases(start, alpha, script, expected):
    """Unit tests of google-research/pegasus, beam_search_test.py."""
    search_settings = SearchSettings(
        max_length=6, eos=(EOS,), beams=3, length_penalty=alpha, length_normalization="authors"
    )
    search = AuthorsBeam(prompts(1), search_settings)
    search.finished.normalization.start = start
    found = run_search(search, TableSession(7, 1, peaked(script, 7)))
    said = found.sequences_NT[0, 1:].tolist()
    assert said + [0] * (5 - len(said)) == expected


def test_the_authors_prefer_a_finished_one():
    """Beam 2, four tokens, the same logits at each step, alpha 0.1: 3 3 1 beats the likelier 3 3 3."""
    search_settings = SearchSettings(
        max_length=4, eos=(EOS,), beams=2, length_penalty=0.1, length_normalization="authors"
    )
    logits = 3 * np.array([1, 2, 3, 4], dtype=np.float32)
    found = run_search(
        AuthorsBeam(prompts(1), search_settings), TableSession(4, 1, lambda text, written: logits)
    )
    assert found.sequences_NT[0].tolist() == [0, 3, 3, 1]
    assert found.finished_N[0]


@pytest.mark.parametrize(
    ("length", "alpha", "authors", "transformers"),
    [
        (10, 0.6, 1.733, 3.981),
        (20, 0.8, 3.132, 10.986),
        (64, 0.8, 7.056, 27.858),
        (256, 0.8, 20.455, 84.449),
    ],
)
def test_divisors(length, alpha, authors, transformers):
    """The table of the authors' and transformers' divisors for the same number of tokens said."""
    of_authors = LengthNormalization("authors", alpha, prompt=1).divisor(length, ended=True)
    assert of_authors == pytest.approx(authors, abs=6e-4)
    # transformers 4.34 counts the start token and not EOS, which comes to the same number.
    assert LengthNormalization("transformers", alpha, 1).divisor(length, True) == pytest.approx(
        transformers, abs=6e-4
    )


def test_closing():
    """When a bank is done: at once when full, when the best cannot win now, or when it never can."""
    finished = FinishedHypotheses(1, 2, LengthNormalization("transformers", 1.0, 1))
    bank, best = np.array([0]), np.array([-8.0])

    def closed(early):
        return bool(finished.closed(bank, best, 5, early, max_length=50)[0])

    def add(total):
        one = np.ones((1, 1), dtype=bool)
        finished.add(bank, one, np.array([[total]], dtype=np.float32), np.array([[0]]), 3, 4, ended=True)

    add(-4.0)
    assert not closed(True)
    add(-6.0)
    assert closed(True)
    assert closed(False), "-6/4 = -1.5 against -8/5 = -1.6"
    assert not closed("never"), "-8/50 could still win"
    add(-0.1)
    assert math.isclose(finished.scores_KM[0, 1], -1.0), "the worse of the two made place"
