"""Logits, their sum and the best of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pegasus.backends.torch.inference.kernels.tuning import Tuning

vocabulary = pytest.importorskip(
    "pegasus.backends.torch.inference.kernels.vocabulary", exc_type=ImportError
)


def check(logits, found, count):
    """Best first, of equal ones the lower token first, log-probabilities in float32."""
    order = np.lexsort((np.broadcast_to(np.arange(logits.shape[1]), logits.shape), -logits.numpy()), axis=1)
    tokens = torch.from_numpy(order[:, :count].copy())
    assert torch.equal(found[:, count:].long(), tokens)
    expected = torch.log_softmax(logits, dim=-1).gather(1, tokens)
    torch.testing.assert_close(
        found[:, :count].contiguous().view(torch.float32), expected, rtol=1e-5, atol=2e-5
    )


@pytest.mark.parametrize(
    ("rows", "width", "size"), [(1, 40, 128), (8, 33, 130), (17, 64, 1000), (40, 20, 65)]
)
@pytest.mark.parametrize("biased", [False, True])
def test_logits_and_the_best(numbers, same, dtype, rows, width, size, biased):
    states, head = numbers.draw(rows, width, dtype=dtype), numbers.draw(size, width, dtype=dtype)
    bias = numbers.draw(size) if biased else None
    logits, blocks = vocabulary.project(states, head, bias, Tuning(vocabulary_depth=32))
    expected = states.float() @ head.float().T
    assert logits.dtype == torch.float32
    same(logits, expected if bias is None else expected + bias)
    for one, other in zip(blocks, vocabulary.survey(logits)):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    check(logits, vocabulary.pick(logits, blocks, 4), 4)


@pytest.mark.parametrize("count", [1, 5, 16, 64])
@pytest.mark.parametrize("size", [64, 200, 2500])
def test_equal_scores_and_none_at_all(numbers, count, size):
    """Few different numbers, of both signs, zero and minus zero, and tokens that are never said."""
    logits = torch.randint(-3, 3, (3, size), generator=numbers.generator).float()
    logits[0, ::2] *= -0.0
    logits[1, : size - 70] = -torch.inf  # whole blocks
    logits[2] = -torch.inf
    logits[2, size - 2] = 1.5
    check(logits, vocabulary.pick(logits, vocabulary.survey(logits), count), count)
