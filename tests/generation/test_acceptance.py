"""The best tokens that a rule accepts, of the rows of a text together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.generation.session.acceptance import MORE, Together, best_accepted
from pegasus.generation.session.host_scores import HostScores

BEAMS, COUNT, END, VOCABULARY = 3, 6, 1, 60


class Lists:
    """Accepts what stands in a list for each row."""

    ends = frozenset({END})

    def __init__(self, allowed: list[set[int]]) -> None:
        self.allowed, self.refused = allowed, Counter[int]()

    def verdict(self, row: int) -> Callable[[int], bool]:
        return self.allowed[row].__contains__

    def few(self, row: int) -> None:
        return None

    def tokens(self, row: int) -> np.ndarray:
        return np.array(sorted(self.allowed[row]))

    def note_refused(self, row: int) -> None:
        self.refused[row] += 1


class Watched(HostScores):
    """Notes how many of the best are asked for."""

    def __init__(self, scores_NV: np.ndarray) -> None:
        super().__init__(scores_NV)
        self.counts: list[int] = []

    def best(self, count: int, shift: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        self.counts.append(count)
        return super().best(count, shift)


def found(scores: HostScores, lists: Lists, sums_BM: np.ndarray, ends: frozenset[int] | None) -> list[list]:
    """Rows and tokens of each text, best sum first."""
    asked = [(lists, row) for row in range(scores.rows)]
    together = Together(sums_BM, BEAMS, ends)
    values_NC, tokens_NC = best_accepted(scores, asked, COUNT, None, np.asarray, together)
    totals_BN = (values_NC + sums_BM.reshape(-1, 1)).reshape(len(sums_BM), -1)
    order_BK = np.argsort(-totals_BN, axis=1, kind="stable")[:, :COUNT]
    rows_BK = order_BK // values_NC.shape[1] + BEAMS * np.arange(len(sums_BM))[:, None]
    tokens_BK = np.take_along_axis(tokens_NC.reshape(totals_BN.shape), order_BK, axis=1)
    return [list(zip(*text)) for text in zip(rows_BK.tolist(), tokens_BK.tolist())]


def by_hand(scores_NV: np.ndarray, lists: Lists, sums_BM: np.ndarray, ends: frozenset[int] | None) -> list:
    """The same by looking at all tokens, as far as they matter; what is refused on the way is counted."""
    texts = []
    for text in range(len(sums_BM)):
        rows = range(BEAMS * text, BEAMS * (text + 1))
        pairs = [(row, token) for row in rows for token in range(VOCABULARY)]
        pairs.sort(key=lambda one: -(scores_NV[one] + sums_BM.reshape(-1)[one[0]]))
        kept: list[tuple[int, int]] = []
        for row, token in pairs:
            alive = sum(one != END for _, one in kept)
            if len(kept) == COUNT or (ends is not None and alive == BEAMS):
                break
            if token in lists.allowed[row]:
                kept.append((row, token))
            elif alive < BEAMS:
                lists.refused[row] += 1
        texts.append(kept)
    return texts


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.15, 0.4, 0.8, 1.0]), ends=st.booleans())
def test_the_best_of_a_text_are_those_of_a_look_at_all_tokens(seed, share, ends):
    generator = np.random.default_rng(seed)
    scores_NV = generator.normal(size=(2 * BEAMS, VOCABULARY)).astype(np.float32)
    sums_BM = generator.normal(size=(2, BEAMS)).astype(np.float32) * np.float32(2)
    allowed = [set(np.flatnonzero(generator.random(VOCABULARY) < share).tolist()) for _ in scores_NV]
    for row in allowed:
        row.update(generator.permutation(VOCABULARY)[:COUNT].tolist())
    asked, plain = Lists(allowed), Lists(allowed)
    known = frozenset({END}) if ends else None
    scores = Watched(scores_NV)
    expected = by_hand(scores_NV, plain, sums_BM, known)
    for mine, right in zip(found(scores, asked, sums_BM, known), expected, strict=True):
        assert mine[: len(right)] == right
    assert scores.counts in ([COUNT], [COUNT, COUNT + MORE])
    if (
        len(scores.counts) == 1
    ):  # else a row may have been seen to its end, and what lies behind does not count
        assert asked.refused == plain.refused


@pytest.mark.parametrize(("refused", "counts"), [(0, [COUNT]), (COUNT + 2, [COUNT, COUNT + MORE])])
def test_more_is_asked_for_where_too_much_is_refused_and_nothing_is_counted_twice(refused, counts):
    """One row is far ahead of the others, and its best tokens are refused."""
    scores_NV = -np.tile(np.arange(VOCABULARY, dtype=np.float32), (BEAMS, 1))
    lists = Lists([set(range(refused, VOCABULARY)) for _ in range(BEAMS)])
    scores = Watched(scores_NV)
    sums_BM = np.array([[0, -1000, -1000]], dtype=np.float32)
    (text,) = found(scores, lists, sums_BM, frozenset({END}))
    assert text[:BEAMS] == [(0, refused), (0, refused + 1), (0, refused + 2)]
    assert scores.counts == counts
    assert lists.refused == ({0: refused} if refused else {})
