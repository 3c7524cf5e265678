"""The sliced cross-entropy: equal to the plain one, and never as large."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from pegasus.backends.torch.learning.loss import chunked_cross_entropy

N, D, V = 23, 8, 61


@pytest.fixture
def numbers():
    torch.manual_seed(3)
    states = torch.randn(N, D, requires_grad=True)
    weight = torch.randn(V, D, requires_grad=True)
    return states, weight, torch.randint(0, V, (N,)), torch.randn(V)


@pytest.mark.parametrize("elements", [1, 5 * V, 10**6])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("biased", [False, True])
def test_loss_and_gradients_equal_the_plain_ones(numbers, smoothing, elements, biased):
    states, weight, labels, bias = numbers
    bias = bias if biased else None
    plain = functional.cross_entropy(
        functional.linear(states, weight, bias), labels, label_smoothing=smoothing, reduction="sum"
    )
    expected = torch.autograd.grad(3 * plain, (states, weight))
    found = chunked_cross_entropy(
        states, weight, labels, bias_V=bias, smoothing=smoothing, elements=elements
    )
    torch.testing.assert_close(found, plain)
    for one, other in zip(torch.autograd.grad(3 * found, (states, weight)), expected):
        torch.testing.assert_close(one, other)


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary():
    found = chunked_cross_entropy(torch.zeros(1, 2), torch.ones(4, 2), torch.tensor([2]), smoothing=0.1)
    assert float(found) == pytest.approx(math.log(4))


def test_a_perfect_prediction_costs_the_floor_of_smoothing():
    # q is 0.925 on the right token and 0.025 on each other; logits ln q reach the entropy of q, the least.
    q = torch.tensor([0.025, 0.925, 0.025, 0.025])
    found = chunked_cross_entropy(torch.ones(1, 1), q.log()[:, None], torch.tensor([1]), smoothing=0.1)
    assert float(found) == pytest.approx(float(-(q * q.log()).sum()))
    worse = chunked_cross_entropy(
        torch.ones(1, 1), 1.1 * q.log()[:, None], torch.tensor([1]), smoothing=0.1
    )
    assert float(worse) > float(found)


def test_no_token_costs_nothing_and_gives_zero_gradients(numbers):
    _, weight, _, _ = numbers
    states = torch.zeros(0, D, requires_grad=True)
    found = chunked_cross_entropy(states, weight, torch.zeros(0, dtype=torch.long))
    found.backward()
    assert float(found.detach()) == 0
    assert not weight.grad.any()


def test_the_row_of_padding_gets_no_gradient(numbers):
    states, weight, labels, _ = numbers
    chunked_cross_entropy(states, weight, labels, pad=0).backward()
    assert not weight.grad[0].any()
    assert weight.grad[1:].any(dim=1).all()


@pytest.mark.parametrize("frozen", ["states", "weight"])
def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same(numbers, frozen):
    states, weight, labels, _ = numbers
    both = torch.autograd.grad(chunked_cross_entropy(states, weight, labels), (states, weight))
    free, expected = (weight, both[1]) if frozen == "states" else (states, both[0])
    (states if frozen == "states" else weight).requires_grad_(False)
    (found,) = torch.autograd.grad(chunked_cross_entropy(states, weight, labels), (free,))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_products_leave_sums_in_float32(numbers, dtype):
    states, weight, labels, _ = numbers
    expected = chunked_cross_entropy(states, weight, labels, smoothing=0.1)
    wanted = torch.autograd.grad(expected, (states, weight))
    with torch.autocast("cpu", dtype):
        found = chunked_cross_entropy(states, weight, labels, smoothing=0.1, elements=4 * V)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)
    for one, other in zip(torch.autograd.grad(found, (states, weight)), wanted):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.02 * other.norm()


def test_the_whole_table_of_logits_never_exists(largest_tensor):
    states, weight = torch.randn(400, D, requires_grad=True), torch.randn(V, D, requires_grad=True)
    labels = torch.randint(0, V, (400,))
    with largest_tensor() as largest:
        chunked_cross_entropy(states, weight, labels, elements=20 * V).backward()
    assert 20 * V <= largest.numbers < 400 * V / 4
    with largest_tensor() as plain:
        functional.cross_entropy(states @ weight.T, labels).backward()
    assert plain.numbers >= 400 * V
