"""Weights into panels and out of them again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pegasus.backends import native
from pegasus.backends.native import linears
from pegasus.backends.native.records import KINDS

if why := native.reason():
    pytest.skip(why, allow_module_level=True)

SHAPES = ((16, 64), (1, 1), (31, 33), (50, 130), (97, 1024), (2051, 520))


def weights_of(shape: tuple[int, int]) -> np.ndarray:
    """Numbers from the smallest halves upwards, of both signs."""
    random = np.random.default_rng(shape)
    sizes = np.exp(random.uniform(-20, 5, shape))
    return (sizes * random.choice([-1, 1], shape)).astype(np.float32)


def after_packing(kind: str, weights_NK: np.ndarray) -> np.ndarray:
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if kind in types:
        return torch.from_numpy(weights_NK).to(types[kind]).float().numpy()
    scale_N1 = np.abs(weights_NK).max(axis=1, keepdims=True) / np.float32(127)
    return np.rint(weights_NK / scale_N1.astype(np.float64)) * scale_N1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_out_as_they_went_in(kind: str, shape: tuple[int, int]) -> None:
    weights = weights_of(shape)
    packed = linears.pack(kind, weights, threads=2)
    assert packed.weights.nbytes == linears.packed_bytes(kind, *shape)
    assert packed.weights.ctypes.data % 64 == 0
    found = linears.rows(packed, np.arange(shape[0]))
    if kind != "int8":
        assert np.array_equal(found, after_packing(kind, weights))
        return
    assert packed.scale_N is not None
    assert packed.sums_N is not None
    steps = np.rint(found / packed.scale_N[:, None])
    assert np.abs(steps).max(axis=1).tolist() == [127] * shape[0]
    assert np.array_equal(packed.sums_N, steps.sum(axis=1))
    assert np.all(np.abs(found - weights) <= 0.5001 * packed.scale_N[:, None])
    apart = np.abs(found - after_packing(kind, weights)) / packed.scale_N[:, None]
    assert np.mean(apart > 0.5) < 1e-4  # numbers halfway between two steps may go either way


def test_halves_end_where_halves_end() -> None:
    values = np.array(
        [[65519, 65520, 1e6, -7e4, 2**-24, 2**-25, 2**-25 * 1.001, 2**-14 * 0.9999]], np.float32
    )
    packed = linears.pack("float16", values)
    with np.errstate(over="ignore"):
        assert np.array_equal(
            linears.rows(packed, np.arange(1)), values.astype(np.float16).astype(np.float32)
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_zeros(kind: str) -> None:
    weights = weights_of((5, 40))
    weights[3] = 0
    packed = linears.pack(kind, weights)
    found = linears.rows(packed, np.arange(5))
    assert np.all(found[3] == 0)
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_zero_and_threads_change_nothing(kind: str) -> None:
    """Packed bytes are the same every time, so that a saved folder can be compared by its hash."""
    weights = weights_of((2051, 523))
    one = linears.aligned(linears.packed_bytes(kind, 2051, 523))
    one[:] = 255
    linears.pack(kind, weights, out=one)
    two = linears.pack(kind, weights, threads=2).weights
    assert np.array_equal(one, two)


def test_a_row_that_is_not_there() -> None:
    packed = linears.pack("float32", weights_of((5, 4)))
    with pytest.raises(IndexError, match="row 5 of weights that have 5"):
        linears.rows(packed, np.array([5]))


def test_other_types_are_converted() -> None:
    weights = weights_of((5, 40)).astype(np.float16)
    assert np.array_equal(
        linears.rows(linears.pack("float32", weights), np.arange(5)), weights.astype(np.float32)
    )
