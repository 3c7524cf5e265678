"""Which type of numbers a model is opened with and saved as, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pegasus.checkpoint.raw import FLOATS, MadeTensor, RawTensor
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig


def chosen_dtype(asked: Any, config: PegasusConfig, tensors: Mapping[str, RawTensor]) -> str:
    """ "float32" and its like, from a name, a framework's type, or what the checkpoint has.

    Raises:
        BadSetting: what was asked for is none of them.
    """
    if asked is None:
        return "float32"
    if isinstance(asked, str) and asked == "auto":
        named = config.dtype_name
        return _plain_dtype(named) if named else stored_dtype(tensors.values()) or "float32"
    return _plain_dtype(asked)


def _plain_dtype(asked: Any) -> str:
    found = re.search(r"\b(b?float\d+)\b", str(asked))
    if found is None or found[1] not in FLOATS.values():
        raise BadSetting(f"dtype is {asked!r}: give 'auto' or one of {', '.join(FLOATS.values())}.")
    return found[1]


def stored_dtype(tensors: Iterable[RawTensor]) -> str | None:
    """The type of the first tensor of floating-point numbers; None where there is none."""
    return next((FLOATS[tensor.dtype] for tensor in tensors if tensor.dtype in FLOATS), None)


def cast(name: str, tensor: RawTensor, dtype: str | None) -> RawTensor:
    """A tensor of floating-point numbers in another type, computed when it is looked at.

    Args:
        name: what to call it.
        tensor: the numbers; whole numbers stay as they are.
        dtype: as in ``FLOATS``, such as "F16"; None: its own.

    Raises:
        BadSetting: when it is looked at: a number is too large for the type.
    """
    if dtype is None or tensor.dtype not in FLOATS or tensor.dtype == dtype:
        return tensor
    return MadeTensor(dtype, tensor.shape, lambda: _rounded(name, tensor.array(), dtype), tensor)


def _rounded(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return _to_bfloat16(array.astype(np.float32, copy=False))
    with np.errstate(over="ignore"):
        found = array.astype(np.dtype(FLOATS[dtype]))
    lost = int(np.isinf(found).sum() - np.isinf(array).sum())
    if lost:
        raise BadSetting(
            f"{lost:,} of the {array.size:,} numbers of {name} are too large for {FLOATS[dtype]}: choose "
            "bfloat16, or keep float32."
        )
    return found


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """The upper halves of float32, rounded to the nearest, to the even one of two; what is NaN stays so."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    upper = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    nan = np.isnan(array)
    return np.where(nan, np.uint16(0x7FC0), upper) if nan.any() else upper
