"""Fixtures: both engines of packed inference, each where it can compute."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pegasus.backends.packed.engine import NO_NATIVE
from pegasus.backends.packed.native import reason


@pytest.fixture(scope="module", params=["native", "torch"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an engine, which is the one that opens while a test of this module runs."""
    if request.param == "native" and (why := reason()):
        pytest.skip(why)
    before = os.environ.get(NO_NATIVE)
    os.environ[NO_NATIVE] = "1" if request.param == "torch" else ""
    yield request.param
    if before is None:
        del os.environ[NO_NATIVE]
    else:
        os.environ[NO_NATIVE] = before


@pytest.fixture(scope="module")
def packed(engine: str) -> Callable[..., Any]:
    """A function that packs a model for that engine."""
    from pegasus.backends.torch.packed import PackedForConditionalGeneration

    def pack(model: Any, dtype: str = "float32", **options: Any) -> Any:
        made = PackedForConditionalGeneration.from_model(model, dtype, **options)
        assert ("Native" in type(made.engine).__name__) == (engine == "native")
        return made

    return pack
