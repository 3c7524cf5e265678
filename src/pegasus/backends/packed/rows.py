"""The layout of folders that were packed without the library: row by row; laid out anew when opened."""

from __future__ import annotations

import numpy as np

from pegasus.backends.packed.native.records import Linear
from pegasus.backends.packed.weights import Kind

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
_INT8_MOST = 127


class RowPacker:
    """Keeps a matrix row by row; int8 with one scale a row, symmetric."""

    layout = "rows"

    def pack(self, kind: Kind, weights_NK: np.ndarray, bias_N: np.ndarray | None) -> Linear:
        """The matrix in that layout."""
        scale_N = sums_N = None
        if kind == "int8":
            values, scale_N = quantize(weights_NK)
            sums_N = values.sum(axis=1, dtype=np.int32)
        elif kind == "bfloat16":
            values = to_bfloat16(weights_NK)
        else:
            values = np.array(weights_NK, dtype=kind)
        rows, columns = weights_NK.shape
        return Linear(kind, rows, columns, values.reshape(-1).view(np.uint8), scale_N, sums_N, bias_N)

    def nbytes(self, kind: Kind, outputs: int, inputs: int) -> int:
        """How many bytes the weights of such a matrix take."""
        return outputs * inputs * ITEM_BYTES[kind]

    def take(self, linear: Linear, rows_M: np.ndarray) -> np.ndarray:
        """Some rows of the matrix, float32 [M, K]."""
        return widened(linear, linear.weights.reshape(linear.outputs, -1)[rows_M], rows_M)

    def unpack(self, linear: Linear) -> np.ndarray:
        """The matrix again, float32 [N, K]."""
        everything = np.arange(linear.outputs)
        return widened(linear, linear.weights.reshape(linear.outputs, -1), everything)


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
