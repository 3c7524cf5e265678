"""Tensors of PyTorch and the raw ones that files hold: the same bytes, and the types by their names."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import BadSetting

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_SPELLINGS = {dtype: spelling for spelling, dtype in DTYPES.items()}


def to_torch(raw: RawTensor) -> Tensor:
    """A tensor over the same memory as ``raw``, which may be a read-only map: copy before changing it."""
    flat = raw.data if raw.data.flags.writeable else _writeable_view(raw.data)
    return torch.from_numpy(flat).view(DTYPES[raw.dtype]).reshape(raw.shape)


def _writeable_view(data: np.ndarray) -> np.ndarray:
    # torch warns of read-only arrays, although nobody writes here; an address carries no such flag.
    address = data.__array_interface__["data"][0]
    interface = {"data": (address, False), "shape": data.shape, "typestr": "|u1", "version": 3}
    holder = type("Bytes", (), {"__array_interface__": interface, "kept": data})()
    return np.asarray(holder)


def from_torch(tensor: Tensor) -> RawTensor:
    """The bytes of a tensor, moved to the host when they are elsewhere."""
    plain = tensor.detach().to("cpu").contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy()
    return RawTensor(dtype=_SPELLINGS[plain.dtype], shape=tuple(tensor.shape), data=data)


def torch_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """A dtype by its name, with or without ``torch.`` before it.

    Raises:
        BadSetting: no floating-point dtype has that name.
    """
    found = (
        dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype).removeprefix("torch."), None)
    )
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise BadSetting(f"unknown dtype {dtype!r}: use float32, bfloat16 or float16")
    return found
