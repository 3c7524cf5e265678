"""Writing ``pytorch_model.bin`` without PyTorch: the pickle of a state dict, and the numbers beside it.

The pickle holds what ``torch.save`` would have written: for each tensor the name of a function that
rebuilds it, with the number of its storage, its sizes and its strides.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pegasus.checkpoint.raw import ITEM_SIZES, RawTensor

_STORAGES = {
    "F64": "DoubleStorage", "F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage",
    "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage",
    "U8": "ByteStorage", "BOOL": "BoolStorage",
}  # fmt: skip
_PIECE = 1 << 24  # bytes that are written at a time


def write_bin(path: Path, tensors: Mapping[str, RawTensor]) -> None:
    """Writes a state dict as ``torch.load`` reads it, one tensor in memory at a time.

    Args:
        path: the file.
        tensors: by name.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member("data.pkl"), _state(tensors))
        archive.writestr(_member("byteorder"), b"little")
        for number, tensor in enumerate(tensors.values()):
            with archive.open(_member(f"data/{number}"), "w", force_zip64=True) as file:
                data = tensor.data
                for start in range(0, data.nbytes, _PIECE):
                    file.write(data[start : start + _PIECE].data)
            tensor.release()
        archive.writestr(_member("version"), b"3\n")


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(
        f"pytorch_model/{name}"
    )  # of a fixed date, so that equal weights are equal files


def _state(tensors: Mapping[str, RawTensor]) -> bytes:
    parts = [pickle.PROTO + b"\x02", pickle.EMPTY_DICT, pickle.MARK]
    for number, (name, tensor) in enumerate(tensors.items()):
        parts += [_text(name), _rebuilt(number, tensor)]
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])


def _rebuilt(number: int, tensor: RawTensor) -> bytes:
    count = tensor.nbytes // ITEM_SIZES[tensor.dtype]
    strides = [1] * len(tensor.shape)
    for axis in range(len(tensor.shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * max(tensor.shape[axis], 1)
    storage = [
        _text("storage"),
        _global("torch", _STORAGES[tensor.dtype]),
        _text(str(number)),
        _text("cpu"),
    ]
    hooks = _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    arguments = [
        _tuple([*storage, _whole(count)]) + pickle.BINPERSID,
        _whole(0),
        _tuple([_whole(size) for size in tensor.shape]),
        _tuple([_whole(stride) for stride in strides]),
        pickle.NEWFALSE,
        hooks,
    ]
    return _global("torch._utils", "_rebuild_tensor_v2") + _tuple(arguments) + pickle.REDUCE


def _tuple(parts: Sequence[bytes]) -> bytes:
    return b"".join([pickle.MARK, *parts, pickle.TUPLE])


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    content = text.encode()
    return pickle.BINUNICODE + len(content).to_bytes(4, "little") + content


def _whole(number: int) -> bytes:
    if number < 1 << 31:
        return pickle.BININT + number.to_bytes(4, "little")
    content = pickle.encode_long(number)
    return pickle.LONG1 + bytes([len(content)]) + content
