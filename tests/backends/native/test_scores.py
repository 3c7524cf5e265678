"""Questions about scores: the best of each row, single numbers, sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.native.inference import Decoding, NativeModel
from pegasus.errors import BadSetting

VOCABULARY, ROWS = 1111, 40


@pytest.fixture(scope="module")
def decoding(building: Any) -> Decoding:
    """Forty rows of logits."""
    torch.manual_seed(0)
    model = PegasusForConditionalGeneration(building.config(vocab_size=VOCABULARY)).eval()
    building.shake(model, 1)
    engine = NativeModel(building.network(model), 2)
    engine.set_positions(None, building.array(model.get_position_embeddings()[1].weight))
    opened = engine.open(None, None)
    opened.step(np.arange(ROWS)[:, None])
    return opened


def best_of(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """By the rule: the largest first, of equal ones the lower token."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(scores, order, 1), order


def sums_of(scores: np.ndarray) -> np.ndarray:
    return torch.logsumexp(torch.from_numpy(scores.astype(np.float64)), dim=1).numpy()


@pytest.mark.parametrize("count", [1, 2, 16, 100, VOCABULARY])
def test_best(decoding: Decoding, count: int) -> None:
    scores = decoding.scores()
    values, tokens = scores.best(count)
    expected, places = best_of(scores.view(), count)
    np.testing.assert_array_equal(tokens, places)
    np.testing.assert_array_equal(values, expected)
    some = np.array([7, 7, 0])
    np.testing.assert_array_equal(scores.best(count, some)[1], places[some])


def test_of_equal_scores_the_lower_token_comes_first(decoding: Decoding) -> None:
    scores = decoding.copied()
    numbers = scores.view()
    numbers[:] = np.random.default_rng(1).integers(0, 4, numbers.shape)
    numbers[3] = 1.5
    numbers[4] = -np.inf
    numbers[5, 10:] = -np.inf
    scores.changed()
    for count in (1, 8, 300):
        values, tokens = scores.best(count)
        expected, places = best_of(numbers, count)
        np.testing.assert_array_equal(tokens, places)
        np.testing.assert_array_equal(values, expected)


def test_scores_are_compared_after_the_shift(decoding: Decoding) -> None:
    """Numbers that become equal by rounding are equal."""
    scores = decoding.copied(np.arange(3))
    numbers = scores.view()
    numbers[:] = np.random.default_rng(1).uniform(0, 1e-6, numbers.shape)
    scores.changed()
    shift = np.array([0.0, 12.0, 40.0], np.float32)
    values, tokens = scores.best(5, None, shift)
    expected, places = best_of(numbers - shift[:, None], 5)
    np.testing.assert_array_equal(tokens, places)
    np.testing.assert_array_equal(values, expected)
    assert (tokens[2] == np.arange(5)).all()


def test_sums(decoding: Decoding) -> None:
    scores = decoding.scores()
    np.testing.assert_allclose(scores.logsumexp(), sums_of(scores.view()), rtol=1e-6)
    copy = decoding.copied()
    copy.log_softmax()
    expected = scores.view() - sums_of(scores.view())[:, None]
    np.testing.assert_allclose(copy.view(), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(copy.logsumexp(), 0, atol=1e-6)
    np.testing.assert_array_equal(copy.best(4)[1], best_of(copy.view(), 4)[1])


def test_sums_of_extreme_scores(decoding: Decoding) -> None:
    scores = decoding.copied(np.arange(6))
    numbers = scores.view()
    numbers[0] = -np.inf
    numbers[1] = -np.inf
    numbers[1, 900] = 3
    numbers[2] += 3e4
    numbers[3] -= 3e4
    numbers[4, :1000] = -200
    numbers[5, 17] = np.nan
    scores.changed()
    sums = scores.logsumexp()
    assert sums[0] == -np.inf
    np.testing.assert_allclose(sums[1:5], sums_of(numbers[1:5]), rtol=1e-6)
    assert np.isnan(sums[5])


def test_not_a_number_comes_first_and_infinity_next(decoding: Decoding) -> None:
    scores = decoding.copied(np.arange(3))
    scores.put(np.array([0, 1, 1]), np.array([500, 600, 20]), np.array([np.nan, np.inf, np.inf]))
    values, tokens = scores.best(3)
    assert tokens[0, 0] == 500
    assert np.isnan(values[0, 0])
    assert tokens[1, :2].tolist() == [20, 600]
    plain = best_of(decoding.scores().view()[:3], 3)[1]
    np.testing.assert_array_equal(tokens[2], plain[2])
    assert tokens[0, 1:].tolist() == [token for token in plain[0] if token != 500][:2]


def test_single_numbers_change_what_is_best(decoding: Decoding) -> None:
    scores = decoding.copied()
    plain = decoding.scores().view().copy()
    rng = np.random.default_rng(4)
    rows, tokens = rng.integers(0, ROWS, 300), rng.integers(0, VOCABULARY, 300)
    best = scores.best(3)[1]
    rows, tokens = np.append(rows, np.arange(ROWS)), np.append(tokens, best[:, 0])
    values = np.append(rng.normal(0, 10, 300), np.full(ROWS, -np.inf)).astype(np.float32)
    np.testing.assert_array_equal(scores.get(rows, tokens), plain[rows, tokens])
    scores.put(rows, tokens, values)
    changed = plain.copy()
    changed[rows, tokens] = values
    np.testing.assert_array_equal(scores.view(), changed)
    np.testing.assert_array_equal(scores.best(5)[1], best_of(changed, 5)[1])
    np.testing.assert_allclose(scores.logsumexp(), sums_of(changed), rtol=1e-6)
    scores.put(np.arange(ROWS), np.int64(9), 50.0)
    assert (scores.best(1)[1] == 9).all()
    np.testing.assert_array_equal(decoding.scores().view(), plain)


def test_whole_rows(decoding: Decoding) -> None:
    scores = decoding.copied(np.array([5, 6, 5]))
    plain = decoding.scores().view()
    np.testing.assert_array_equal(scores.view(), plain[[5, 6, 5]])
    scores.fill(np.array([0]), -np.inf)
    scores.put(np.array([0, 0]), np.array([70, 3]), np.array([0.0, 0.0]))
    values, tokens = scores.best(3)
    assert tokens[0].tolist() == [3, 70, 0]
    assert values[0].tolist() == [0, 0, -np.inf]
    np.testing.assert_array_equal(tokens[1:], best_of(plain[[6, 5]], 3)[1])
    np.testing.assert_allclose(scores.logsumexp()[0], np.log(2), rtol=1e-6)


def test_what_is_not_there_is_refused(decoding: Decoding) -> None:
    scores = decoding.scores()
    row, token = np.array([0]), np.array([0])
    for wrong in (lambda: scores.get(row + ROWS, token), lambda: scores.get(row, token + VOCABULARY)):
        with pytest.raises(BadSetting):
            wrong()
    with pytest.raises(BadSetting):
        scores.put(row - 1, token, 0.0)
    with pytest.raises(BadSetting):
        scores.fill(row + ROWS, 0.0)
    with pytest.raises(BadSetting):
        scores.best(VOCABULARY + 1)
    with pytest.raises(BadSetting):
        scores.best(1, np.array([ROWS]))
    with pytest.raises(BadSetting, match="3 shifts"):
        scores.best(1, None, np.zeros(3, np.float32))
    with pytest.raises(BadSetting):
        decoding.copied(np.array([ROWS]))
