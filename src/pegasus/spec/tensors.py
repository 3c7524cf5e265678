"""From the word "pt", "np", "tf" or "jax" to the function that makes such tensors.

The functions live in the rooms of the backends, which lie on a floor above: they are named here by
string and imported when used, so that asking for NumPy arrays loads no framework.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from pegasus.errors import BackendMissing, BadSetting

#: The word → the module of the backend that makes such tensors, and what to install for it.
ROOMS = {
    "pt": ("pegasus.backends.torch.tensors", "pip install torch"),
    "jax": ("pegasus.backends.jax.tensors", "pip install 'pegasus-summarizer[jax]'"),
    "tf": ("pegasus.backends.tensorflow.tensors", "pip install 'pegasus-summarizer[tensorflow]'"),
}


def to_tensor(value: Any, kind: str, name: str = "value") -> Any:
    """Make a tensor out of (nested lists of) numbers.

    Args:
        value: numbers, rows of numbers, or an array.
        kind: "pt", "np", "tf" or "jax".
        name: what the value is called in an error.

    Returns:
        A tensor of that framework; whole numbers become int64 (int32 where the framework prefers it).

    Raises:
        BadSetting: when rows have different lengths or the word is unknown.
        BackendMissing: when the framework is not installed.
    """
    make = tensor_maker(kind)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise _ragged(name) from error
    if array.dtype == object:
        raise _ragged(name)
    if array.size == 0 and array.dtype == np.float64:
        array = array.astype(np.int64)  # no numbers at all: still ids
    return make(array)


def tensor_maker(kind: str) -> Callable[[np.ndarray], Any]:
    """The function that turns a NumPy array into a tensor of this kind.

    Raises:
        BadSetting: for an unknown word.
        BackendMissing: when the framework is not installed.
    """
    word = str(getattr(kind, "value", kind))  # transformers' TensorType holds the same words
    if word == "np":
        return np.asarray
    if word not in ROOMS:
        raise BadSetting(f"return_tensors={kind!r} is not known. Use 'pt', 'tf', 'jax' or 'np'.")
    module, remedy = ROOMS[word]
    try:
        maker: Callable[[np.ndarray], Any] = import_module(module).from_array
    except ImportError as error:
        raise BackendMissing(
            f"Tensors of kind {word!r} cannot be made here ({error}). Run: {remedy}"
        ) from error
    return maker


def dtype_of(name: str) -> Any:
    """PyTorch's type of that name, such as "float16"; the name itself where PyTorch is not installed.

    Raises:
        BadSetting: there is no such type.
    """
    if importlib.util.find_spec("torch") is None:
        return name
    return import_module("pegasus.backends.torch.tensors").dtype_named(name)


def _ragged(name: str) -> BadSetting:
    return BadSetting(
        f"{name!r} has rows of different lengths, or no numbers, and cannot become one tensor. "
        "Use padding=True, and truncation=True for texts that are too long."
    )
