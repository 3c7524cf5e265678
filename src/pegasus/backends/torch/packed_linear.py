"""Single packed matrices on PyTorch: float32 laid out by oneDNN where it helps, and whole numbers.

Axes: M rows of the input, N outputs, K inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from pegasus.backends.torch.pretrained import to_torch
from pegasus.checkpoint.raw import RawTensor

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from jaxtyping import Float

#: A decoder step reads about so many rows; oneDNN lays a matrix out for a number of rows.
_STEP_ROWS = 8
_INT8_MOST = 127.0


def tensor(array: np.ndarray) -> Tensor:
    """A tensor over the same memory, which may be a file's: nobody writes into it."""
    return to_torch(RawTensor.from_array(array))


class FloatLinear:
    """A float32 matrix.

    Args:
        weights_NK: the matrix.
        bias_N: its bias, or None.
        few_rows: whether it meets few rows at a time, as in a decoder step: then oneDNN lays it out anew.
    """

    def __init__(self, weights_NK: np.ndarray, bias_N: np.ndarray | None, few_rows: bool) -> None:
        self.bias_N = None if bias_N is None else tensor(bias_N)
        self.weights = tensor(weights_NK)
        self.laid_out: Callable[..., Tensor] | None = None
        if few_rows and torch.backends.mkldnn.is_available():
            self.weights = torch.ops.mkldnn._reorder_linear_weight(self.weights, _STEP_ROWS)
            self.laid_out = torch.ops.mkldnn._linear_pointwise

    def __call__(self, x_MK: Float[Tensor, "M K"]) -> Float[Tensor, "M N"]:
        """The outputs."""
        if self.laid_out is None:
            return functional.linear(x_MK, self.weights, self.bias_N)
        return self.laid_out(x_MK, self.weights, self.bias_N, "none", [], "")


class WholeLinear:
    """A matrix of whole numbers with one scale an output; inputs are rounded too, with one scale a row.

    Args:
        values_NK: int8.
        scale_N: float32.
        bias_N: its bias, or None.
    """

    def __init__(self, values_NK: np.ndarray, scale_N: np.ndarray, bias_N: np.ndarray | None) -> None:
        self.values_KN = tensor(values_NK).t()
        self.scale_N = tensor(scale_N)
        self.bias_N = None if bias_N is None else tensor(bias_N)

    def __call__(self, x_MK: Float[Tensor, "M K"]) -> Float[Tensor, "M N"]:
        """The outputs."""
        most_M1 = x_MK.abs().amax(dim=1, keepdim=True)
        scale_M1 = torch.where(most_M1 > 0, most_M1 / _INT8_MOST, 1.0)
        whole_MK = (x_MK * (1.0 / scale_M1)).round().to(torch.int8)
        y_MN = torch._int_mm(whole_MK, self.values_KN).float() * (scale_M1 * self.scale_N)
        return y_MN if self.bias_N is None else y_MN + self.bias_N
