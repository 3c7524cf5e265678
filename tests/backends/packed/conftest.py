"""Fixtures: packed inference, where the native library is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pegasus.backends.native import reason


@pytest.fixture(scope="module")
def engine() -> None:
    """The native library; a test of it is skipped where it was not built."""
    if why := reason():
        pytest.skip(why)


@pytest.fixture(scope="module")
def packed(engine: None) -> Callable[..., Any]:
    """A function that packs a model."""
    from pegasus import PackedForConditionalGeneration

    def pack(model: Any, dtype: str = "float32", **options: Any) -> Any:
        return PackedForConditionalGeneration.from_model(model, dtype, **options)

    return pack
