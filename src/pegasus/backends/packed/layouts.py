"""The layouts of packed weights: how the bytes of a matrix lie, by the name that a saved folder carries.

"panels-16" is the library's (``native/csrc/linear/linear.h``): panels of 16 rows side by side. It serves
every processor, so what one machine packed another one opens. "rows" is that of folders which were packed
without the library; they are laid out anew when they are opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pegasus.backends.native import linears
from pegasus.backends.native.records import Linear
from pegasus.backends.packed.quantization import ITEM_BYTES, quantize, to_bfloat16, widened
from pegasus.backends.packed.weights import Kind

if TYPE_CHECKING:
    from pegasus.backends.packed.weights import Packer

PANEL = 16
#: Bytes to a multiple of which packed memory is aligned.
ALIGNMENT = 64
#: To a multiple of what the inputs are padded.
_PADDED = {"float32": 1, "float16": 1, "bfloat16": 32, "int8": 64}
#: How many numbers of one row lie side by side within a panel.
_GROUP = {"float32": 1, "float16": 1, "bfloat16": 2, "int8": 4}


def packer_of(layout: str) -> Packer | None:
    """Who unpacks a layout; None where nobody does."""
    packers: dict[str, Packer] = {PanelPacker.layout: PanelPacker(), RowPacker.layout: RowPacker()}
    return packers.get(layout)


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
