"""``pytorch_model.bin``: PyTorch's own files, read without PyTorch and without running what is in them.

Such a file is a pickle, which is a program, beside the numbers. The program is not run but *read*: a
handful of its instructions build dictionaries, tuples and references to numbers, which is all that a
state dict needs, and the first that asks for anything else ends the reading with an error that names it.

Readers of Flax's ``.msgpack`` and TensorFlow's ``.h5`` belong beside this one: path in, names and
``RawTensor`` out.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.checkpoint.pickled import Storage, Tensor, read_pickle
from pegasus.checkpoint.raw import ITEM_SIZES, Bytes, MappedFile, RawTensor
from pegasus.errors import CheckpointCorrupt, PegasusError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_SPREAD_LIMIT = 1 << 30  # bytes that a tensor may grow to when the file repeats its numbers
_PACKING_LIMIT = 50  # weights hardly shrink: a member that grows more than this was made to fill the memory


def read_bin(path: Path) -> dict[str, RawTensor]:
    """The tensors of a file written by ``torch.save(state_dict)``, of either format it ever had.

    Numbers stay in the file until they are looked at, except where they do not lie row by row.

    Raises:
        CheckpointCorrupt: the file is cut short or damaged, is no state dict, or holds code.
    """
    mapped = MappedFile(path)
    archive = bytes(mapped.bytes[:2]) == b"PK"
    try:
        loaded, storages = _from_archive(mapped) if archive else _from_legacy(mapped)
        return {name: _tensor(path, name, value, storages) for name, value in _state(path, loaded).items()}
    except PegasusError:
        raise
    except Exception as problem:  # bytes of strangers: zip, pickle and struct all fail in their own ways
        raise CheckpointCorrupt(
            f"{path} cannot be read as PyTorch weights ({type(problem).__name__}: {problem}): it is "
            "cut short, damaged or something else, fetch it again."
        ) from problem


Find = Callable[[Storage], tuple[MappedFile | None, Bytes]]


@dataclass(frozen=True)
class _Place:
    """Where a storage's numbers lie in the file."""

    start: int
    size: int


def _from_archive(mapped: MappedFile) -> tuple[Any, Find]:
    """The zip format of PyTorch 1.6 and later: data.pkl, and one member for each storage."""
    path = mapped.path
    archive = zipfile.ZipFile(path)
    members = {name.partition("/")[2]: info for name, info in archive.NameToInfo.items()}
    if "constants.pkl" in members:
        raise CheckpointCorrupt(
            f"{path} is a TorchScript program, not a state dict: save the model's state dict instead."
        )
    if "data.pkl" not in members:
        raise CheckpointCorrupt(
            f"{path} is a zip file without data.pkl, so not PyTorch weights: fetch it again."
        )
    if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
        raise CheckpointCorrupt(
            f"{path} was written on a big-endian machine: save it again on a usual one."
        )
    loaded = read_pickle(io.BytesIO(_unpacked(archive, members["data.pkl"])), path)

    def find(storage: Storage) -> tuple[MappedFile | None, Bytes]:
        info = members.get(f"data/{storage.key}")
        if info is None:
            raise CheckpointCorrupt(
                f"{path} lacks the numbers {storage.key!r} that it names: fetch it again."
            )
        if info.compress_type != zipfile.ZIP_STORED:  # somebody packed it anew
            return None, np.frombuffer(_unpacked(archive, info), np.uint8)
        place = _member(mapped, info)
        return mapped, mapped.bytes[place.start : place.start + place.size]

    return loaded, find


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > _PACKING_LIMIT * max(info.compress_size, 1 << 16):
        raise CheckpointCorrupt(
            f"{archive.filename} unpacks {info.compress_size:,} bytes of {info.filename} to "
            f"{info.file_size:,}: no weights do that, do not use this file."
        )
    return archive.read(info)


def _member(mapped: MappedFile, info: zipfile.ZipInfo) -> _Place:
    """A stored member's bytes follow its local header, whose length only the header itself says."""
    start = info.header_offset
    local = bytes(mapped.bytes[start : start + 30])
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise CheckpointCorrupt(f"{mapped.path} is damaged at byte {start:,}: fetch it again.")
    start += 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    if start + info.file_size > len(mapped.bytes):
        raise CheckpointCorrupt(f"{mapped.path} is cut short inside {info.filename}: fetch it again.")
    return _Place(start, info.file_size)


def _from_legacy(mapped: MappedFile) -> tuple[Any, Find]:
    """The format before PyTorch 1.6: five pickles in a row, then each storage after its length."""
    path = mapped.path
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic[:1] != b"\x80" or read_pickle(file, path) != _LEGACY_MAGIC:
            raise CheckpointCorrupt(
                f"{path} is no PyTorch file (it starts with {magic!r}): fetch it again."
            )
        read_pickle(file, path)  # the version of the protocol
        system = read_pickle(file, path)
        if not system.get("little_endian", True):
            raise CheckpointCorrupt(
                f"{path} was written on a big-endian machine: save it again on a usual one."
            )
        used: dict[str, Storage] = {}
        loaded = read_pickle(file, path, used)
        keys = read_pickle(file, path)
        start = file.tell()
    places = _legacy_places(mapped, start, keys, used)

    def find(storage: Storage) -> tuple[MappedFile | None, Bytes]:
        place = places[storage.key]
        return mapped, mapped.bytes[place.start : place.start + place.size]

    return loaded, find


def _legacy_places(
    mapped: MappedFile, start: int, keys: list[str], used: Mapping[str, Storage]
) -> dict[str, _Place]:
    places = {}
    for key in keys:
        count = int.from_bytes(bytes(mapped.bytes[start : start + 8]), "little")
        size = count * ITEM_SIZES[used[key].dtype or "U8"]
        if start + 8 + size > len(mapped.bytes):
            raise CheckpointCorrupt(
                f"{mapped.path} is cut short: {start + 8 + size:,} bytes are needed and "
                f"{len(mapped.bytes):,} are "
                "there. Fetch it again."
            )
        places[key] = _Place(start + 8, size)
        start += 8 + size
    return places


def _state(path: Path, loaded: Any) -> dict[str, Tensor]:
    """A state dict and nothing else."""
    if not isinstance(loaded, dict):
        raise CheckpointCorrupt(
            f"{path} holds a {type(loaded).__name__}, not a state dict: save `model.state_dict()`."
        )
    others = [name for name, value in loaded.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointCorrupt(
            f"{path} is no plain state dict, {', '.join(map(repr, others[:6]))} in it is no tensor: it "
            "may be a "
            "training checkpoint; save `model.state_dict()` alone."
        )
    return loaded


def _tensor(path: Path, name: str, tensor: Tensor, find: Find) -> RawTensor:
    """The numbers of one tensor out of its storage, which others may share."""
    home, content = find(tensor.storage)
    dtype = tensor.dtype or tensor.storage.dtype
    item = ITEM_SIZES[dtype]
    numbers = (*tensor.shape, *tensor.strides, tensor.offset)
    if len(tensor.shape) != len(tensor.strides) or not all(type(n) is int and n >= 0 for n in numbers):
        raise CheckpointCorrupt(
            f"{path} gives {name} the shape {tensor.shape} and strides {tensor.strides}: fetch it again."
        )
    empty = 0 in tensor.shape
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if not empty and (tensor.offset + reach + 1) * item > len(content):
        raise CheckpointCorrupt(
            f"{path} needs {(tensor.offset + reach + 1) * item:,} bytes for {name} and holds "
            f"{len(content):,}: "
            "it is cut short or damaged, fetch it again."
        )
    count = math.prod(tensor.shape)
    if empty or _row_by_row(tensor):
        start = tensor.offset * item
        return RawTensor(dtype, tensor.shape, content[start : start + count * item], home)
    if count * item > max(len(content), _SPREAD_LIMIT):
        raise CheckpointCorrupt(
            f"{path} blows {name} up to {count * item:,} bytes: do not use this checkpoint."
        )
    elements = content[: len(content) // item * item].view(f"<u{item}")[tensor.offset :]
    rows = np.lib.stride_tricks.as_strided(
        elements, tensor.shape, [stride * item for stride in tensor.strides]
    )
    return RawTensor(dtype, tensor.shape, np.ascontiguousarray(rows).reshape(-1).view(np.uint8))


def _row_by_row(tensor: Tensor) -> bool:
    due = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != due:
            return False
        due *= size
    return True
