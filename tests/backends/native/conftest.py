"""Fixtures of the native engine's tests; they are skipped where the library was not built."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pegasus.backends import native


@pytest.fixture(scope="session")
def building() -> ModuleType:
    """``building.py`` beside this file: small models, packed by hand."""
    if why := native.reason():
        pytest.skip(why)
    spec = importlib.util.spec_from_file_location("building", Path(__file__).with_name("building.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
