"""Flax's ``flax_model.msgpack``: a tree of arrays, read without Flax.

Arrays are extensions of the msgpack format that hold shape, type and bytes. Large ones are cut into pieces
of one dimension, under keys that say so. Nothing in such a file is a program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.checkpoint.raw import ITEM_SIZES, NUMPY_TYPES, RawTensor, refuse_what_is_no_weight_file
from pegasus.errors import BackendMissing, CheckpointCorrupt, PegasusError

#: The number of the extension that is an array; the others (complex numbers, scalars) are no weights.
_ARRAY = 1
_CUT = "__msgpack_chunked_array__"
_DTYPES = {numpy_name: name for name, numpy_name in NUMPY_TYPES.items()} | {"bfloat16": "BF16"}


def read_msgpack(path: Path) -> dict[str, RawTensor]:
    """The arrays of a file by the names of their places in the tree, parts joined by ``/``.

    Raises:
        BackendMissing: the msgpack package is not installed.
        CheckpointCorrupt: the file is cut short or damaged, or no tree of arrays.
    """
    refuse_what_is_no_weight_file(path)
    msgpack = _library()
    try:
        tree = msgpack.unpackb(
            path.read_bytes(), ext_hook=lambda code, data: _array(path, msgpack, code, data), raw=False
        )
        return dict(_leaves(path, tree))
    except PegasusError:
        raise
    except Exception as problem:  # bytes of strangers: the library fails in many ways
        raise CheckpointCorrupt(
            f"{path} cannot be read as Flax weights ({type(problem).__name__}: {problem}): it is "
            "cut short, damaged or something else, fetch it again."
        ) from problem


def _library() -> Any:
    try:
        import msgpack
    except ImportError as problem:
        raise BackendMissing(
            "Flax weights are read by msgpack, which is not installed: pip install "
            "'pegasus-summarizer[convert]'"
        ) from problem
    return msgpack


def _array(path: Path, msgpack: Any, code: int, data: bytes) -> RawTensor:
    if code != _ARRAY:
        raise CheckpointCorrupt(
            f"{path} holds a value of kind {code} where arrays should be: fetch it again."
        )
    shape, dtype, content = msgpack.unpackb(data, raw=False)
    sized = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if dtype not in _DTYPES or not sized or not isinstance(content, bytes):
        raise CheckpointCorrupt(f"{path} describes an array as {shape}, {dtype!r}: it is damaged.")
    name = _DTYPES[dtype]
    if len(content) != math.prod(shape) * ITEM_SIZES[name]:
        raise CheckpointCorrupt(
            f"{path} gives an array of shape {shape} and type {dtype} {len(content):,} bytes: it is "
            "damaged, fetch it again."
        )
    return RawTensor(name, tuple(shape), np.frombuffer(content, np.uint8))


def _leaves(path: Path, tree: Any, prefix: str = "") -> Iterator[tuple[str, RawTensor]]:
    if isinstance(tree, RawTensor):
        yield prefix, tree
    elif isinstance(tree, dict) and _CUT in tree:
        yield prefix, _joined(path, prefix, tree)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(path, value, f"{prefix}/{key}" if prefix else str(key))
    else:
        raise CheckpointCorrupt(
            f"{path} holds a {type(tree).__name__} at {prefix or 'its top'!r} where arrays should be: give "
            "the parameters of a Flax model."
        )


def _joined(path: Path, name: str, tree: Mapping[str, Any]) -> RawTensor:
    """An array out of its pieces."""
    shape = tuple(tree["shape"][str(axis)] for axis in range(len(tree["shape"])))
    pieces = [tree["chunks"][str(number)] for number in range(len(tree["chunks"]))]
    dtypes = {piece.dtype for piece in pieces}
    size = sum(piece.data.nbytes for piece in pieces)
    if len(dtypes) != 1 or size != math.prod(shape) * ITEM_SIZES[next(iter(dtypes))]:
        raise CheckpointCorrupt(
            f"{path} cuts {name} of shape {list(shape)} into pieces that do not fit: it is damaged."
        )
    return RawTensor(pieces[0].dtype, shape, np.concatenate([piece.data for piece in pieces]))
