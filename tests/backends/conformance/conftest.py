"""Fixtures of the batteries: each row of the table, the golden models on it, and the double beside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import conformance_table as table
import pytest

from pegasus.backends import load_backend

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(scope="session", autouse=True)
def double() -> Iterator[Any]:
    """The double, installed for as long as tests run; its entry point makes it a backend by name."""
    before = list(sys.path)
    table.find_double()
    yield load_backend("double")
    sys.path[:] = before


@pytest.fixture(scope="session", params=table.ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Any:
    """Each row of the table in turn."""
    return request.param


@pytest.fixture(scope="session")
def opened(row: Any, double: Any) -> Callable[[Path], Any]:
    """A function that opens a folder with this row, once."""
    models: dict[Path, Any] = {}

    def open_once(folder: Path) -> Any:
        if folder not in models:
            models[folder] = row.open(folder)
        return models[folder]

    return open_once


@pytest.fixture(scope="session")
def model(opened: Callable[[Path], Any]) -> Any:
    """The model of the recorded generations, on this row."""
    return opened(GOLDEN / "generation-model")


@pytest.fixture(scope="session")
def reference(double: Any) -> Any:
    """The same model on the double, whose session is the statement that others are compared with."""
    return double.open_model(GOLDEN / "generation-model")
