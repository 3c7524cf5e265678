"""The embedding, and the norm with what is added before it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

pytest.importorskip("triton")
from pegasus.backends.torch.inference.kernels import states


@pytest.mark.parametrize(("rows", "width"), [(1, 16), (3, 50), (5, 129)])
@pytest.mark.parametrize(("parts", "biased"), [(0, False), (1, False), (3, True)])
def test_a_sum_and_its_norm(numbers, same, dtype, rows, width, parts, biased):
    residual, norm = numbers.draw(rows, width, scale=1e3), numbers.norm(width)
    kind = dtype if parts == 1 else torch.float32  # what a library gives, and what ours leaves
    change = numbers.draw(parts, rows, width, dtype=kind) if parts else None
    bias = numbers.draw(width, dtype=dtype) if biased else None
    expected = residual.clone()
    if change is not None:
        expected += 64 * (change.float().sum(0) + (0 if bias is None else bias.float()))
    found = states.add_norm(residual, change, bias, norm, 1e-5, 64.0, dtype)
    torch.testing.assert_close(residual, expected, rtol=1e-6, atol=1e-3)
    assert found.dtype == dtype
    same(found, functional.layer_norm(expected, (width,), *norm, 1e-5), dtype)


@pytest.mark.parametrize("zero_start", [None, 0, 5])
@pytest.mark.parametrize("place", [0, 3])
def test_embeddings(numbers, dtype, zero_start, place):
    table, positions = numbers.draw(11, 20, dtype=dtype), numbers.draw(4, 20)
    tokens = torch.tensor([0, 5, 10])
    found = states.embed(tokens, torch.tensor([place]), table, positions, 2.5, zero_start)
    expected = table[tokens].float() * 2.5
    if zero_start is not None and place == 0:
        expected[tokens == zero_start] = 0
    torch.testing.assert_close(found, expected + positions[place], rtol=1e-6, atol=1e-6)
