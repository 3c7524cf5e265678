"""NumPy arrays as torch tensors, for ``return_tensors="pt"``, and types by their names."""

from __future__ import annotations

import numpy as np
import torch

from pegasus.errors import BadSetting


def from_array(array: np.ndarray) -> torch.Tensor:
    """A torch tensor with the numbers and the type of an array; it owns its memory."""
    return torch.tensor(array)


def dtype_named(name: str) -> torch.dtype:
    """The type of a name such as "float16" or "torch.float16".

    Raises:
        BadSetting: PyTorch has no such type.
    """
    found = getattr(torch, str(name).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        raise BadSetting(f"{name!r} is no type of PyTorch: use float32, bfloat16 or float16")
    return found
