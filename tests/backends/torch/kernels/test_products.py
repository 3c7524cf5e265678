"""Products of few rows, against PyTorch's in float32."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pegasus.backends.torch.inference.kernels.tuning import Tuning

pytest.importorskip("triton")
from pegasus.backends.torch.inference.kernels import products

#: No side of these is a multiple of a block, or of 16; the second has blocks that nothing of is missing of.
SIZES = [(1, 40, 17), (5, 100, 48), (16, 64, 64), (7, 33, 130)]
#: Small blocks, so that small sizes have several.
TUNING = Tuning(columns=16, wide_columns=32, depth=32)


@pytest.mark.parametrize(("rows", "width", "columns"), SIZES)
def test_a_norm_and_the_product_behind_it(numbers, same, dtype, rows, width, columns):
    relu = rows > 5
    states, norm = 3 * numbers.draw(rows, width) + 2, numbers.norm(width)
    layer = numbers.layer(columns, width, dtype)
    found = products.norm_product(states, norm, layer, 1e-5, relu, TUNING)
    normed = functional.layer_norm(states, (width,), *norm, 1e-5).to(dtype)
    expected = functional.linear(normed.float(), *(one.float() for one in layer))
    assert found.dtype == dtype
    same(found, expected.relu() if relu else expected, dtype)


@pytest.mark.parametrize(("rows", "width", "columns"), [*SIZES, (33, 70, 40), (64, 130, 33)])
def test_products(numbers, same, dtype, rows, width, columns):
    inputs, layer = numbers.draw(rows, width, dtype=dtype), numbers.layer(columns, width, dtype)
    expected = functional.linear(inputs.float(), *(one.float() for one in layer))
    same(products.product(inputs, layer, True, TUNING), expected.relu(), dtype)

    states = numbers.draw(rows, columns, scale=1e5)  # beyond float16
    before = states.clone()
    products.add_product(states, inputs, layer, 64.0, TUNING)
    torch.testing.assert_close(states, before + 64 * expected, rtol=1e-5, atol=2e-3)

    parts = products.partial_products(inputs, layer, 3, TUNING)
    assert parts.shape == (3, rows, columns)
    assert parts.dtype == torch.float32
    same(parts.sum(0) + layer[1], expected)


def test_runs_are_equal_bit_for_bit(numbers):
    inputs, layer = numbers.draw(8, 300), numbers.layer(64, 300, torch.float32)
    runs = [products.partial_products(inputs, layer, 4, TUNING) for _ in range(2)]
    assert torch.equal(*runs)


def test_what_leaves_float16_is_added_whole(numbers):
    """A change of four million, 64 times smaller in the product: the residual takes it in 32 bits."""
    inputs = torch.full((2, 64), 1000.0, dtype=torch.float16)
    layer = torch.ones((16, 64), dtype=torch.float16), torch.zeros(16, dtype=torch.float16)
    states = torch.zeros(2, 16)
    products.add_product(states, inputs, layer, 64.0, TUNING)
    assert (states == 64 * 64_000.0).all()
