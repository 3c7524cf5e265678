"""Each processor against its obvious reading, on trails that branch and are reordered."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.errors import BadSetting
from pegasus.generation.processors.logits_processors import (
    AllowedNext,
    Called,
    ForcedAt,
    LengthDecay,
    LogitsProcessors,
    MinLength,
    Processor,
    RepetitionPenalty,
    SourceAffinity,
    Suppressed,
    Whole,
)
from pegasus.generation.processors.ngram_tables import RowTables, keys_of
from pegasus.generation.processors.phrase_processors import NoRepeatedNgrams, NoSourceNgrams, PhraseBias
from pegasus.generation.search.beam import Beam
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Answer
from pegasus.generation.table_session import edited, log_softmax

VOCABULARY = 7


def walk(
    processors: LogitsProcessors, steps: int, seed: int, texts: int = 2, beams: int = 3, prompt: int = 1
):
    """A history that grows by random parents and tokens; yields it with the rows written out plainly."""
    generator = np.random.default_rng(seed)
    first = generator.integers(0, VOCABULARY, (texts * beams, prompt))
    history, rows = TokenHistory(first, beams), first.tolist()
    yield history, rows
    for _ in range(steps):
        own = np.repeat(np.arange(texts) * beams, beams)
        parents = own + generator.integers(0, beams, texts * beams)
        tokens = generator.integers(0, VOCABULARY, texts * beams)
        history.grow(parents, tokens)
        processors.carry(history, parents)
        rows = [[*rows[parent], int(token)] for parent, token in zip(parents, tokens)]
        yield history, rows


def scores_after(processor: Processor, history: TokenHistory, scores: np.ndarray) -> np.ndarray:
    for edit in processor.edits(history):
        scores = edited(scores, edit)
    return scores


def ngrams_after(row: list[int], size: int, where: list[int]) -> set[int]:
    """The tokens that would complete a run of ``where``, the slow way."""
    if len(row) < size - 1:
        return set()
    tail = row[len(row) - size + 1 :]
    runs = [where[at : at + size] for at in range(len(where) - size + 1)]
    return {run[-1] for run in runs if run[:-1] == tail}


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 5), seed=st.integers(0, 10_000), prompt=st.integers(1, 6))
def test_no_repeated_ngrams(size, seed, prompt):
    processor = NoRepeatedNgrams(size)
    for history, rows in walk(LogitsProcessors([processor]), 25, seed, prompt=prompt):
        found = scores_after(processor, history, np.zeros((len(rows), VOCABULARY)))
        for row, scores in zip(rows, found):
            banned = set(np.flatnonzero(scores == -np.inf).tolist())
            assert banned == (ngrams_after(row, size, row) if len(row) >= size else set())


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 4), seed=st.integers(0, 10_000))
def test_no_source_ngrams(size, seed):
    sources = [np.array([1, 2, 3, 1, 2, 4, 0, 0]), np.array([5, 5, 5, 2, 1, 3, 6, 2])]
    processor = NoSourceNgrams(size, sources)
    for history, rows in walk(LogitsProcessors([processor]), 12, seed):
        found = scores_after(processor, history, np.zeros((len(rows), VOCABULARY)))
        for number, (row, scores) in enumerate(zip(rows, found)):
            banned = set(np.flatnonzero(scores == -np.inf).tolist())
            assert banned == ngrams_after(row, size, sources[number // 3].tolist())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_phrase_bias(seed):
    biases = {(2,): -1.5, (3,): 0.5, (1, 2): 2.0, (4, 2): -np.inf, (0, 1, 2): 1.0, (5, 5, 5, 5): -3.0}
    processor = PhraseBias(biases)
    for history, rows in walk(LogitsProcessors([processor]), 15, seed):
        found = scores_after(processor, history, np.zeros((len(rows), VOCABULARY), dtype=np.float32))
        for row, scores in zip(rows, found):
            expected = np.zeros(VOCABULARY)
            for phrase, bias in biases.items():
                head = list(phrase[:-1])
                if len(phrase) == 1 or (len(row) >= len(phrase) and row[len(row) - len(head) :] == head):
                    expected[phrase[-1]] += bias
            np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_penalties():
    history = TokenHistory(np.array([[2, 3, 2], [0, 1, 1]]))
    scores = np.array([[1.0, -2.0, 4.0, -8.0]] * 2)
    found = scores_after(RepetitionPenalty(2.0), history, scores)
    assert found.tolist() == [[1.0, -2.0, 2.0, -16.0], [0.5, -4.0, 4.0, -8.0]]
    sources = [np.array([3, 3]), np.array([0, 1])]
    found = scores_after(SourceAffinity(2.0, sources), history, scores)
    assert found.tolist() == [[1.0, -2.0, 4.0, -4.0], [2.0, -1.0, 4.0, -8.0]]


def test_places():
    scores = np.array([[1.0, 2.0, 3.0, 4.0]])
    three = TokenHistory(np.array([[0, 0, 0]]))
    assert scores_after(MinLength(4, (1,)), three, scores)[0, 1] == -np.inf
    assert scores_after(MinLength(3, (1,)), three, scores).tolist() == scores.tolist()
    forced = scores_after(ForcedAt({3: (2,)}), three, scores)[0]
    assert forced.tolist() == [-np.inf, -np.inf, 0, -np.inf]
    assert scores_after(ForcedAt({2: (2,)}), three, scores).tolist() == scores.tolist()
    assert scores_after(Suppressed((0, 3)), three, scores)[0].tolist() == [-np.inf, 2, 3, -np.inf]
    assert scores_after(Suppressed((0,), only_at=4), three, scores).tolist() == scores.tolist()
    lifted = scores_after(LengthDecay(1, 1.5, (1, 3)), three, scores)[0]
    assert lifted.tolist() == [1.0, 2 * 1.5**2, 3.0, 4 * 1.5**2]
    assert scores_after(LengthDecay(3, 1.5, (1,)), three, scores).tolist() == scores.tolist()


def test_whole_distribution():
    history = TokenHistory(np.array([[0]]))
    broken = np.array([[np.nan, np.inf, -np.inf, 1.0]], dtype=np.float32)
    repaired = scores_after(Whole("repair"), history, broken)[0]
    assert repaired.tolist() == [0.0, np.finfo(np.float32).max, -np.inf, 1.0]
    scores = np.array([[1.0, 2.0, -np.inf]])
    assert scores_after(Whole("normalize"), history, scores).tolist() == log_softmax(scores).tolist()


def test_allowed_next():
    history = TokenHistory(np.array([[0, 5], [0, 6]]))
    processor = AllowedNext(lambda text, ids: [text, int(ids[-1]) - 3], lambda ids: ids)
    found = scores_after(processor, history, np.ones((2, 4)))
    assert np.isfinite(found).tolist() == [[True, False, True, False], [False, True, False, True]]
    with pytest.raises(BadSetting, match="allows nothing at length 2 of text 0"):
        list(AllowedNext(lambda text, ids: [], lambda ids: ids).edits(history))


def test_a_function_of_the_caller():
    history = TokenHistory(np.array([[0, 5]]))
    found = scores_after(Called(lambda ids, scores: scores + ids[:, -1:]), history, np.ones((1, 3)))
    assert found.tolist() == [[6, 6, 6]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_tables_of_rows_share_and_never_mix(seed):
    """A row sees what it and its ancestors put in, and nothing of its sisters."""
    generator = np.random.default_rng(seed)
    tables, plain = RowTables(3), [[], [], []]
    for _ in range(60):
        parents = generator.integers(0, 3, 3)
        tables.reorder(parents)
        plain = [list(plain[parent]) for parent in parents]
        keys, values = generator.integers(0, 9, 3), generator.integers(0, 100, 3)
        tables.put(keys.astype(np.uint64), values)
        for row, (key, value) in enumerate(zip(keys, values)):
            plain[row].append((key, value))
        asked = generator.integers(0, 9, 3)
        found = list(zip(*(part.tolist() for part in tables.find(asked.astype(np.uint64)))))
        expected = [(row, value) for row in range(3) for key, value in plain[row] if key == asked[row]]
        assert sorted(found) == sorted(expected)


def test_keys_tell_runs_apart():
    runs = np.array([[1, 2], [2, 1], [0, 12], [1, 12]])
    assert len(set(keys_of(runs).tolist())) == 4
    long_runs = np.random.default_rng(0).integers(0, 4, (4000, 6))
    assert len(set(keys_of(long_runs).tolist())) == len(np.unique(long_runs, axis=0))


def bookkeeping(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """What each step of a search for 32 texts with 8 beams under n-gram processors costs, without a model.

    Returns:
        How many functions are called, and the most bytes that are held beside what was held before.
    """
    generator = np.random.default_rng(0)
    texts, beams, count = 32, 8, 16
    sources = [generator.integers(2, 90_000, 512) for _ in range(texts)]
    processors = LogitsProcessors(
        [NoRepeatedNgrams(3), NoSourceNgrams(4, sources), ForcedAt({steps: (1,)})]
    )
    search = Beam(
        np.zeros((texts, 1), dtype=np.int64),
        SearchSettings(max_length=steps, eos=(1,), beams=beams, processors=processors),
    )
    called: list[int] = []
    held: list[int] = []
    rows = texts

    def count_calls(_: Any, event: str, __: Any) -> None:
        called[-1] += event in ("call", "c_call")

    tracemalloc.start()
    while True:
        called.append(0)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with profiled(count_calls):
            ask = search.ask()
        if ask is None:
            tracemalloc.stop()
            return np.array(called[:-1]), np.array(held)
        log_probs = -np.sort(generator.exponential(3, (rows, count)), axis=1).astype(np.float32)
        answer = Answer(log_probs, generator.integers(2, 60, (rows, count)))
        with profiled(count_calls):
            search.update(answer)
        held.append(tracemalloc.get_traced_memory()[1] - before)
        rows = texts * beams


@contextmanager
def profiled(function: Any) -> Iterator[None]:
    before = sys.getprofile()
    sys.setprofile(function)
    yield
    sys.setprofile(before)


def test_bookkeeping_costs_the_same_at_any_length():
    """No loop over rows or over what was said: after 500 tokens as many calls and as much memory as before.

    How long a step takes, `scripts/bench bookkeeping` measures.
    """
    called, held = bookkeeping(500)
    assert len(called) == len(held) == 499
    assert np.median(called[10:110]) < 2500  # 256 rows: a loop over them would call more
    assert np.median(called[-100:]) < 1.05 * np.median(called[10:110])
    assert np.median(held[-100:]) < 1.05 * np.median(held[10:110])
