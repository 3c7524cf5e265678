"""Keras' ``tf_model.h5``: arrays in a tree of groups, read and written without TensorFlow.

The path of an array is the name of its layer and, within it, the whole name of the variable. Numbers stay
in the file until they are looked at, where the file keeps them in one piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.checkpoint.raw import NUMPY_TYPES, MappedFile, RawTensor
from pegasus.checkpoint.strangers import needing, reading
from pegasus.errors import BadSetting, CheckpointCorrupt

_DTYPES = {numpy_name: name for name, numpy_name in NUMPY_TYPES.items()}
_ATTRIBUTE_LIMIT = 64_000  # bytes that an attribute of a file may have
_LAYER = "tf_pegasus_for_conditional_generation"
_OWN_LAYERS = ("model.shared", "final_logits_bias")


def read_h5(path: Path) -> dict[str, RawTensor]:
    """The arrays of a file by their paths, parts joined by ``/``.

    Raises:
        BackendMissing: the h5py package is not installed.
        CheckpointCorrupt: the file is cut short or damaged, or keeps numbers that are no weights.
    """
    mapped = MappedFile(path)
    h5py = _h5py()
    found: dict[str, RawTensor] = {}
    with reading(path, "Keras weights"), h5py.File(path, "r") as file:
        # Links that lead out of the file are not followed: only its own groups are walked.
        file.visititems(
            lambda name, item: (
                found.update({name: _tensor(mapped, name, item)})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def _h5py() -> Any:
    with needing("Keras weights are read by h5py"):
        import h5py
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


# -- writing ---------------------------------------------


def write_h5(path: Path, tensors: Mapping[str, RawTensor]) -> None:
    """Writes arrays as transformers' TensorFlow classes read them, one in memory at a time.

    Args:
        path: the file.
        tensors: by the names of ``spec.names.KERAS``.

    Raises:
        BadSetting: numbers of a type that the format does not have.
        BackendMissing: the h5py package is not installed.
    """
    _write(path, {name: _variable(name) for name in tensors}, tensors)


def write_h5_shard(path: Path, tensors: Mapping[str, RawTensor]) -> None:
    """The same for one of several files, in which variables have no layer that they belong to."""
    _write(path, {name: ("", f"{name}:0") for name in tensors}, tensors)


def shard_name(name: str) -> str:
    """What the list of files calls a parameter."""
    return f"{name}:0"


def _variable(name: str) -> tuple[str, str]:
    """The layer that a parameter belongs to, and the name of its variable there."""
    if name == "final_logits_bias":
        return name, f"{name}:0"
    return "model", f"{name}:0" if name.startswith(_OWN_LAYERS) else f"{_LAYER}/{name}:0"


def _write(path: Path, places: Mapping[str, tuple[str, str]], tensors: Mapping[str, RawTensor]) -> None:
    h5py = _h5py()
    layers: dict[str, list[str]] = {}
    with h5py.File(path, "w") as file:
        for name, tensor in tensors.items():
            if tensor.dtype not in NUMPY_TYPES:
                raise BadSetting(
                    f"HDF5 has no numbers of type {tensor.dtype} ({name}): choose float16 or float32."
                )
            layer, variable = places[name]
            layers.setdefault(layer, []).append(variable)
            file.create_dataset(f"{layer}/{variable}".lstrip("/"), data=tensor.array())
            tensor.release()
        for layer, variables in layers.items():
            if layer:
                _list(file[layer], "weight_names", variables)
        _list(file, "layer_names", layers.get("") or list(layers))


def _list(group: Any, name: str, words: Sequence[str]) -> None:
    """An attribute with a list of words, in several where one would be too large, as Keras has it."""
    encoded = [word.encode() for word in words]
    most = max(1, _ATTRIBUTE_LIMIT // max(len(word) for word in encoded))
    if len(encoded) <= most:
        group.attrs[name] = encoded
        return
    for number, start in enumerate(range(0, len(encoded), most)):
        group.attrs[f"{name}{number}"] = encoded[start : start + most]
