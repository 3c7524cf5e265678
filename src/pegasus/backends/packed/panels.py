"""The layout of the native library: panels of 16 rows, side by side (``native/csrc/linear.h``).

One layout serves every processor, so what one machine packed another one opens.
"""

from __future__ import annotations

import numpy as np

from pegasus.backends.packed.native import linears
from pegasus.backends.packed.native.records import Linear
from pegasus.backends.packed.rows import ITEM_BYTES, widened
from pegasus.backends.packed.weights import Kind

PANEL = 16
#: Bytes to a multiple of which packed memory is aligned.
ALIGNMENT = 64
#: To a multiple of what the inputs are padded.
_PADDED = {"float32": 1, "float16": 1, "bfloat16": 32, "int8": 64}
#: How many numbers of one row lie side by side within a panel.
_GROUP = {"float32": 1, "float16": 1, "bfloat16": 2, "int8": 4}


class PanelPacker:
    """Packs with the native library, over some threads; unpacks without it."""

    layout = "panels-16"

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def pack(self, kind: Kind, weights_NK: np.ndarray, bias_N: np.ndarray | None) -> Linear:
        """The matrix in that layout.

        Raises:
            NotOffered: the library is not there.
        """
        return linears.pack(kind, weights_NK, bias_N, threads=self.threads)

    def nbytes(self, kind: Kind, outputs: int, inputs: int) -> int:
        """How many bytes the weights of such a matrix take, padding included."""
        padded = -(-inputs // _PADDED[kind]) * _PADDED[kind]
        return -(-outputs // PANEL) * PANEL * padded * ITEM_BYTES[kind]

    def take(self, linear: Linear, rows_M: np.ndarray) -> np.ndarray:
        """Some rows of the matrix, float32 [M, K]."""
        rows_M = np.asarray(rows_M)
        found = _blocks(linear)[rows_M // PANEL, :, rows_M % PANEL]
        return self._widened(linear, found.reshape(len(rows_M), -1), rows_M)

    def unpack(self, linear: Linear) -> np.ndarray:
        """The matrix again, float32 [N, K]."""
        blocks = _blocks(linear)
        bytes_NK = blocks.transpose(0, 2, 1, 3).reshape(len(blocks) * PANEL, -1)[: linear.outputs]
        return self._widened(linear, bytes_NK, np.arange(linear.outputs))

    def _widened(self, linear: Linear, bytes_MK: np.ndarray, rows_M: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(widened(linear, bytes_MK, rows_M)[:, : linear.inputs])


def _blocks(linear: Linear) -> np.ndarray:
    """The bytes by panel, group of inputs, row of the panel, and byte within the group."""
    group = _GROUP[linear.kind] * ITEM_BYTES[linear.kind]
    return linear.weights.reshape(-(-linear.outputs // PANEL), -1, PANEL, group)
