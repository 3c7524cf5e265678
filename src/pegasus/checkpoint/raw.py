"""A tensor as bytes: what lies between a file and a framework, copied by neither until it must be."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointNotFound

#: safetensors' names of number types, with their bytes per element.
ITEM_SIZES: dict[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
#: Those that NumPy has too. bfloat16 it has not: see ``RawTensor.array``.
NUMPY_TYPES: dict[str, str] = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16",
    "U32": "uint32", "I32": "int32", "U64": "uint64", "I64": "int64",
    "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip
FLOATS: dict[str, str] = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RawTensor:
    """The bytes of one tensor, row by row, little endian.

    Attributes:
        dtype: in safetensors' spelling: "F32", "BF16", "F16", "I64" and so on.
        shape: the sizes.
        data: a flat view of the bytes; from a file it is memory-mapped, read-only and read when touched.
    """

    dtype: str
    shape: tuple[int, ...]
    data: Bytes
    _home: MappedFile | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_array(cls, array: npt.NDArray[np.generic]) -> RawTensor:
        """The bytes of a NumPy array; a view where the array lies row by row already.

        Raises:
            BadSetting: the type of its numbers has no name in a checkpoint.
        """
        names = {numpy_name: name for name, numpy_name in NUMPY_TYPES.items()} | {"bfloat16": "BF16"}
        if array.dtype.name not in names:
            raise BadSetting(
                f"Numbers of type {array.dtype} cannot be kept in a checkpoint: convert them to float32."
            )
        rows = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        return cls(names[array.dtype.name], array.shape, rows.reshape(-1).view(np.uint8))

    def array(self) -> npt.NDArray[np.generic]:
        """The numbers as a NumPy array: a view, except for bfloat16, which becomes float32 exactly."""
        if self.dtype == "BF16":
            upper = self.data.view("<u2").astype(np.uint32) << 16
            return upper.view(np.float32).reshape(self.shape)
        if self.dtype not in NUMPY_TYPES:
            raise BadSetting(
                f"NumPy has no numbers of type {self.dtype}: convert the checkpoint to float32 first."
            )
        return self.data.view(np.dtype(NUMPY_TYPES[self.dtype]).newbyteorder("<")).reshape(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it is, without reading them."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]

    def release(self) -> None:
        """Gives the mapped memory back to the system: the bytes are read anew if they are touched again.

        Without it a load that copies would hold every weight twice at its end.
        """
        if self._home is not None:
            self._home.release(self.data)


class MadeTensor(RawTensor):
    """A tensor that is computed anew each time it is looked at, so that it never exists longer than that.

    Args:
        dtype: of the result.
        shape: of the result.
        make: the numbers, or bytes row by row.
        source: whose mapped memory is given back when that of this one is.
    """

    def __init__(
        self,
        dtype: str,
        shape: tuple[int, ...],
        make: Callable[[], npt.NDArray[np.generic]],
        source: RawTensor | None = None,
    ) -> None:
        for name, value in (("dtype", dtype), ("shape", shape), ("_make", make), ("_source", source)):
            object.__setattr__(self, name, value)

    @property
    def data(self) -> Bytes:  # type: ignore[override]
        """The bytes row by row, made anew."""
        return np.ascontiguousarray(self.__dict__["_make"]()).reshape(-1).view(np.uint8)

    def release(self) -> None:
        """Gives the mapped memory of the source back."""
        if self.__dict__["_source"] is not None:
            self.__dict__["_source"].release()


class TurnedTensor(RawTensor):
    """A matrix that another framework keeps the other way round; it is turned each time it is looked at.

    Args:
        source: the matrix [in, out].
    """

    def __init__(self, source: RawTensor) -> None:
        rows, columns = source.shape
        object.__setattr__(self, "dtype", source.dtype)
        object.__setattr__(self, "shape", (columns, rows))
        object.__setattr__(self, "_source", source)

    @property
    def data(self) -> Bytes:  # type: ignore[override]
        """The bytes row by row, made anew."""
        item, source = ITEM_SIZES[self.dtype], self.source
        matrix = source.data.reshape(-1).view(np.dtype(("V", item))).reshape(source.shape)
        return np.ascontiguousarray(matrix.T).reshape(-1).view(np.uint8)

    @property
    def source(self) -> RawTensor:
        """The matrix as it is kept."""
        source: RawTensor = self.__dict__["_source"]
        return source

    def release(self) -> None:
        """Gives the mapped memory back."""
        self.source.release()


def turned(tensor: RawTensor) -> RawTensor:
    """A matrix the other way round; one that was turned already as it is kept."""
    return tensor.source if isinstance(tensor, TurnedTensor) else TurnedTensor(tensor)


class MappedFile:
    """A file seen as an array of bytes that the system reads when they are touched."""

    def __init__(self, path: Path) -> None:
        self.path = path
        refuse_what_is_no_weight_file(path)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes: Bytes = np.frombuffer(self._map, dtype=np.uint8)

    def tensor(self, dtype: str, shape: tuple[int, ...], start: int) -> RawTensor:
        """The tensor whose first byte is the file's byte ``start``; the caller has checked the bounds."""
        count = math.prod(shape) * ITEM_SIZES[dtype]
        return RawTensor(dtype, shape, self.bytes[start : start + count], self)

    def release(self, view: Bytes) -> None:
        """Drops the whole pages inside a view of this file; the mapping is read-only, so nothing is "
        "lost."""
        if not hasattr(self._map, "madvise") or not view.size:
            return
        first = view.ctypes.data - self.bytes.ctypes.data
        start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        stop = (first + view.size) // mmap.PAGESIZE * mmap.PAGESIZE
        if stop > start:
            self._map.madvise(mmap.MADV_DONTNEED, start, stop - start)


def refuse_what_is_no_weight_file(path: Path) -> None:
    """Names the usual things that are saved in the place of weights.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointCorrupt: it is empty, a git-lfs pointer or a web page.
    """
    if not path.is_file():
        raise CheckpointNotFound(
            f"The weight file {path} does not exist: fetch the whole checkpoint again."
        )
    with path.open("rb") as file:
        start = file.read(256)
    if not start:
        raise CheckpointCorrupt(
            f"{path} is empty, 0 bytes: the copy or download was cut off, fetch it again."
        )
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointCorrupt(
            f"{path} is a git-lfs pointer of {path.stat().st_size} bytes, not the weights: run `git lfs "
            "pull` there."
        )
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise CheckpointCorrupt(
            f"{path} is a web page, not weights: download the file itself, not its page."
        )
