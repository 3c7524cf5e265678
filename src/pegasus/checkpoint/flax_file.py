"""Flax's ``flax_model.msgpack``: a tree of arrays, read and written without Flax.

Arrays are extensions of the msgpack format that hold shape, type and bytes. Large ones are cut into pieces
of one dimension, under keys that say so. Nothing in such a file is a program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.checkpoint.msgpack_tree import Extension, read_tree
from pegasus.checkpoint.raw import ITEM_SIZES, NUMPY_TYPES, MappedFile, RawTensor
from pegasus.checkpoint.strangers import needing, reading
from pegasus.errors import CheckpointCorrupt

#: The number of the extension that is an array; the others (complex numbers, scalars) are no weights.
_ARRAY = 1
_CUT = "__msgpack_chunked_array__"
_CUT_AT = 1 << 30  # bytes of an array that Flax still writes in one piece
_DTYPES = {numpy_name: name for name, numpy_name in NUMPY_TYPES.items()} | {"bfloat16": "BF16"}
_NAMES = {name: numpy_name for numpy_name, name in _DTYPES.items()}


def read_msgpack(path: Path, is_left_out: Callable[[str], bool] | None = None) -> dict[str, RawTensor]:
    """The arrays of a file by the names of their places in the tree, parts joined by ``/``.

    Their numbers stay in the file, except those of arrays that are cut.

    Args:
        path: the file.
        is_left_out: of a place, whether nothing at or below it is wanted, and it may be of any kind.

    Raises:
        CheckpointCorrupt: the file is cut short or damaged, or no tree of arrays.
    """
    mapped = MappedFile(path)
    with reading(path, "Flax weights"):
        return dict(_leaves(mapped, read_tree(mapped.bytes), is_left_out or (lambda place: False)))


def _array(mapped: MappedFile, value: Extension) -> RawTensor:
    path = mapped.path
    if value.kind != _ARRAY:
        raise CheckpointCorrupt(
            f"{path} holds a value of kind {value.kind} where arrays should be: fetch it again."
        )
    shape, dtype, content = read_tree(value.data)
    sized = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not isinstance(dtype, str) or dtype not in _DTYPES or not sized:
        raise CheckpointCorrupt(f"{path} describes an array as {shape}, {dtype!r}: it is damaged.")
    name = _DTYPES[dtype]
    if not isinstance(content, np.ndarray) or len(content) != math.prod(shape) * ITEM_SIZES[name]:
        size = f"{len(content):,}" if isinstance(content, np.ndarray) else "no"
        raise CheckpointCorrupt(
            f"{path} gives an array of shape {shape} and type {dtype} {size} bytes: it is "
            "damaged, fetch it again."
        )
    return RawTensor(name, tuple(shape), content, mapped)


def _leaves(
    mapped: MappedFile, tree: Any, is_left_out: Callable[[str], bool], prefix: str = ""
) -> Iterator[tuple[str, RawTensor]]:
    if prefix and is_left_out(prefix):
        return
    if isinstance(tree, Extension):
        yield prefix, _array(mapped, tree)
    elif isinstance(tree, dict) and _CUT in tree:
        yield prefix, _joined(mapped, prefix, tree)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(mapped, value, is_left_out, f"{prefix}/{key}" if prefix else str(key))
    else:
        raise CheckpointCorrupt(
            f"{mapped.path} holds a {type(tree).__name__} at {prefix or 'its top'!r} where arrays should "
            "be: give the parameters of a Flax model."
        )


def _joined(mapped: MappedFile, name: str, tree: Mapping[str, Any]) -> RawTensor:
    """An array out of its pieces."""
    shape = tuple(tree["shape"][str(axis)] for axis in range(len(tree["shape"])))
    pieces = [_array(mapped, tree["chunks"][str(number)]) for number in range(len(tree["chunks"]))]
    dtypes = {piece.dtype for piece in pieces}
    size = sum(piece.data.nbytes for piece in pieces)
    if len(dtypes) != 1 or size != math.prod(shape) * ITEM_SIZES[next(iter(dtypes))]:
        raise CheckpointCorrupt(
            f"{mapped.path} cuts {name} of shape {list(shape)} into pieces that do not fit: it is damaged."
        )
    return RawTensor(pieces[0].dtype, shape, np.concatenate([piece.data for piece in pieces]))


# -- writing ---------------------------------------------


def msgpack_parts(tensors: Mapping[str, RawTensor]) -> Iterator[bytes | memoryview]:
    """The bytes of a file of these arrays, of which only one at a time is in memory.

    Args:
        tensors: by the names of their places, parts joined by ``/``.

    Raises:
        BackendMissing: the msgpack package is not installed.
    """
    with needing("Flax weights are written by msgpack"):
        import msgpack
    packer = msgpack.Packer(use_bin_type=True)
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *parts, last = name.split("/")
        place = tree
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = tensor
    yield from _packed_tree(tree, packer)


def _packed_tree(tree: Mapping[str, Any], packer: Any) -> Iterator[bytes | memoryview]:
    yield packer.pack_map_header(len(tree))
    for name, value in tree.items():
        yield packer.pack(name)
        if isinstance(value, RawTensor):
            yield from _packed_array(value, packer)
            value.release()
        else:
            yield from _packed_tree(value, packer)


def _packed_array(tensor: RawTensor, packer: Any) -> Iterator[bytes | memoryview]:
    data = tensor.data
    if data.nbytes <= _CUT_AT:
        yield from _packed_piece(tensor.shape, tensor.dtype, data, packer)
        return
    item = ITEM_SIZES[tensor.dtype]
    step = max(1, _CUT_AT // item) * item
    pieces = [data[start : start + step] for start in range(0, data.nbytes, step)]
    yield packer.pack_map_header(3)
    yield packer.pack(_CUT) + packer.pack(True) + packer.pack("shape")
    yield packer.pack({str(axis): size for axis, size in enumerate(tensor.shape)})
    yield packer.pack("chunks") + packer.pack_map_header(len(pieces))
    for number, piece in enumerate(pieces):
        yield packer.pack(str(number))
        yield from _packed_piece((piece.nbytes // item,), tensor.dtype, piece, packer)


def _packed_piece(
    shape: Iterable[int], dtype: str, data: np.ndarray, packer: Any
) -> Iterator[bytes | memoryview]:
    size = data.nbytes
    inner = packer.pack_array_header(3) + packer.pack(list(shape)) + packer.pack(_NAMES[dtype])
    inner += b"\xc6" + size.to_bytes(4, "big")
    yield b"\xc9" + (len(inner) + size).to_bytes(4, "big") + bytes([_ARRAY]) + inner
    yield data.data
