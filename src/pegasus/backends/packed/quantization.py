"""How the numbers of a matrix are kept: float32, bfloat16, float16, or int8 with a scale for each row.

The library rounds alike when it packs (``native/csrc/linear/linear_pack.cpp``). The inputs of an
int8 product are rounded while it multiplies: see ``csrc/linear/linear.h``.
"""

from __future__ import annotations

import numpy as np

from pegasus.backends.native.records import Linear

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
_INT8_MOST = 127


def widened(linear: Linear, bytes_MK: np.ndarray, rows_M: np.ndarray) -> np.ndarray:
    """Rows of a matrix as float32, from their bytes."""
    if linear.kind == "bfloat16":
        return (bytes_MK.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    values_MK = bytes_MK.view(linear.kind).astype(np.float32)
    return values_MK if linear.scale_N is None else values_MK * linear.scale_N[rows_M, None]


def quantize(weights_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers from -127 to 127 and the float32 scale of each row; a row of zeros has scale 1."""
    most_N = np.abs(weights_NK).max(axis=1)
    scale_N = np.where(most_N > 0, most_N / np.float32(_INT8_MOST), 1).astype(np.float32)
    values_NK = np.rint(weights_NK * (1 / scale_N)[:, None]).clip(-_INT8_MOST, _INT8_MOST).astype(np.int8)
    return values_NK, scale_N


def to_bfloat16(weights: np.ndarray) -> np.ndarray:
    """The upper half of each float32 as uint16, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(weights, dtype=np.float32).view(np.uint32)
    rounded: np.ndarray = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded
