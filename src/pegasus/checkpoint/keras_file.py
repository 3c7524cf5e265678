"""Keras' ``tf_model.h5``: arrays in a tree of groups, read without TensorFlow.

The path of an array is the name of its layer and, within it, the whole name of the variable. Numbers stay
in the file until they are looked at, where the file keeps them in one piece.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pegasus.checkpoint.raw import NUMPY_TYPES, MappedFile, RawTensor
from pegasus.errors import BackendMissing, CheckpointCorrupt, PegasusError

_DTYPES = {numpy_name: name for name, numpy_name in NUMPY_TYPES.items()}


def read_h5(path: Path) -> dict[str, RawTensor]:
    """The arrays of a file by their paths, parts joined by ``/``.

    Raises:
        BackendMissing: the h5py package is not installed.
        CheckpointCorrupt: the file is cut short or damaged, or keeps numbers that are no weights.
    """
    mapped = MappedFile(path)
    h5py = _library()
    found: dict[str, RawTensor] = {}
    try:
        with h5py.File(path, "r") as file:
            # Links that lead out of the file are not followed: only its own groups are walked.
            file.visititems(
                lambda name, item: (
                    found.update({name: _tensor(mapped, name, item)})
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
        return found
    except PegasusError:
        raise
    except Exception as problem:  # bytes of strangers: the library fails in many ways
        raise CheckpointCorrupt(
            f"{path} cannot be read as Keras weights ({type(problem).__name__}: {problem}): it is "
            "cut short, damaged or something else, fetch it again."
        ) from problem


def _library() -> Any:
    try:
        import h5py
    except ImportError as problem:
        raise BackendMissing(
            "Keras weights are read by h5py, which is not installed: pip install "
            "'pegasus-summarizer[convert]'"
        ) from problem
    return h5py


def _tensor(mapped: MappedFile, name: str, dataset: Any) -> RawTensor:
    if dataset.dtype.name not in _DTYPES:
        raise CheckpointCorrupt(
            f"{mapped.path} keeps {name!r} as {dataset.dtype}, and weights are numbers: give the weights "
            "of a Keras model."
        )
    start, size = dataset.id.get_offset(), dataset.nbytes
    plain = dataset.chunks is None and dataset.external is None and dataset.dtype.byteorder in "=<|"
    if start is None or not plain:
        return RawTensor.from_array(np.asarray(dataset[()]))
    if start + size > len(mapped.bytes):
        raise CheckpointCorrupt(f"{mapped.path} is cut short inside {name!r}: fetch it again.")
    return mapped.tensor(_DTYPES[dataset.dtype.name], tuple(dataset.shape), start)
