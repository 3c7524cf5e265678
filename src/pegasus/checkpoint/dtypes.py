"""Which type of numbers a model is opened with and saved as, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pegasus.checkpoint.raw import FLOATS, RawTensor
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
