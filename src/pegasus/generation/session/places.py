"""Columns of each row of an array as places in the whole of it, which ``take`` finds quickest."""

from __future__ import annotations

import numpy as np


def flat_places(columns_NK: np.ndarray, width: int) -> np.ndarray:
    """Return where columns stand in the flattened array.

    Args:
        columns_NK: int64, columns of each row.
        width: how many columns the array has.
    """
    places_NK: np.ndarray = columns_NK + np.arange(0, len(columns_NK) * width, width)[:, None]
    return places_NK
