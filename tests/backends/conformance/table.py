"""The table of backends that the batteries run over: one row each, and what it does not offer."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pegasus.backends import load_backend

#: Where the double lies as an installed package would: with its entry point beside it.
DOUBLE = Path(__file__).parents[1] / "double"


@dataclass(frozen=True)
class Row:
    """One way of computing.

    Attributes:
        name: what it is called.
        open: a folder → a model that generates.
        records: whether it records attentions and hidden states.
        masks: whether the decoder's prompt may have holes.
        share: of the recorded settings of transformers, every how many-th is run.
    """

    name: str
    open: Callable[[Path], Any]
    records: bool = True
    masks: bool = True
    share: int = 1


def _torch(folder: Path) -> Any:
    pytest.importorskip("torch")
    return load_backend("torch").open_model(folder, device="cpu", threads=1)


def _static(folder: Path) -> Any:
    model = _torch(folder)
    model.static_memory = True
    return model


def _packed(folder: Path) -> Any:
    backend = load_backend("packed")
    if why := backend.unavailable():
        pytest.skip(why)
    return backend.open_model(folder, dtype="float32", threads=1)


def _jax(folder: Path) -> Any:
    pytest.importorskip("flax")
    return load_backend("jax").open_model(folder, device="cpu")


def _tensorflow(folder: Path) -> Any:
    pytest.importorskip("tensorflow")
    return load_backend("tensorflow").open_model(folder, device="cpu")


def _double(folder: Path) -> Any:
    return load_backend("double").open_model(folder)


ROWS = [
    Row("torch", _torch),
    Row("static", _static),
    Row("packed", _packed, records=False, masks=False),
    Row("jax", _jax, share=25),
    Row("tensorflow", _tensorflow, share=25),
    Row("double", _double, share=25),
]


def find_double() -> None:
    """Make the double appear installed."""
    if str(DOUBLE) not in sys.path:
        sys.path.insert(0, str(DOUBLE))
        importlib.invalidate_caches()
