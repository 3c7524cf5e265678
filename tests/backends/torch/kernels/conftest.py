"""Triton's interpreter, with products of bfloat16 as a GPU takes them; skipped where Triton is absent."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

#: Numbers of either sign near 1, and what a product of them may be off by once it is rounded.
DTYPES = {"float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The interpreter is slow: each case of a test is run in one type, and with --slow in all of them."""
    tests: dict[Any, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if Path(__file__).parent in item.path.parents and "dtype" in getattr(item, "fixturenames", ()):
            tests[item.function].append(item)  # type: ignore[attr-defined]
    for cases in tests.values():
        count = len(cases) // len(DTYPES)
        for number, case in enumerate(cases):
            if count > 2 and (number % count + number // count) % len(DTYPES):
                case.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    """The interpreter keeps bfloat16 as 16 bits and multiplies the bits."""
    pytest.importorskip("triton")
    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    ordinary = builder.create_dot

    def create_dot(self, a, b, d, *rest):
        return ordinary(self, _widened(a), _widened(b), d, *rest)

    monkeypatch.setattr(builder, "create_dot", create_dot)


def _widened(handle: Any) -> Any:
    from triton import language
    from triton.runtime.interpreter import TensorHandle

    if handle.dtype.scalar != language.bfloat16:
        return handle
    return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), language.float32)


@pytest.fixture(params=DTYPES)
def dtype(request) -> torch.dtype:
    return getattr(torch, request.param)


@dataclass
class Numbers:
    """Random numbers, and whether others are the same."""

    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(3))

    def draw(self, *shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=self.generator) * scale).to(dtype)

    def layer(self, out: int, inputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Weights whose products with numbers near 1 are near 1, and a bias."""
        return self.draw(out, inputs, dtype=dtype, scale=inputs**-0.5), self.draw(out, dtype=dtype)

    def norm(self, width: int) -> tuple[Tensor, Tensor]:
        return 1 + 0.1 * self.draw(width), self.draw(width)


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
def same():
    """found and expected are the same up to the rounding of a type."""

    def check(found: Tensor, expected: Tensor, dtype: torch.dtype = torch.float32) -> None:
        slack = DTYPES[str(dtype).removeprefix("torch.")]
        torch.testing.assert_close(found.float(), expected.float(), rtol=slack, atol=slack)

    return check
