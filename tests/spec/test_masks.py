"""The masks, over plain NumPy arrays."""

from __future__ import annotations

import numpy as np

from pegasus.spec import masks


def test_causal_at_the_start():
    seen = masks.causal(np.arange(3), np.arange(3))
    np.testing.assert_array_equal(seen[0, 0], [[1, 0, 0], [1, 1, 0], [1, 1, 1]])


def test_causal_behind_a_cache():
    seen = masks.causal(np.arange(2, 4), np.arange(4))
    np.testing.assert_array_equal(seen[0, 0], [[1, 1, 1, 0], [1, 1, 1, 1]])


def test_padding_takes_any_kind_of_number():
    for dtype in (bool, np.int32, np.int64, np.float32):
        seen = masks.padding(np.array([[1, 1, 0], [1, 0, 0]], dtype=dtype))
        assert seen.shape == (2, 1, 1, 3)
        assert seen.dtype == bool
        np.testing.assert_array_equal(seen[:, 0, 0], [[True, True, False], [True, False, False]])


def test_both():
    causal, padding = masks.causal(np.arange(3), np.arange(3)), masks.padding(np.array([[0, 1, 1]]))
    np.testing.assert_array_equal(masks.both(causal, padding)[0, 0], [[0, 0, 0], [0, 1, 0], [0, 1, 1]])
    assert masks.both(None, padding) is padding
    assert masks.both(causal, None) is causal
    assert masks.both(None, None) is None
