"""A JAX that compiles quickly rather than well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiling_quickly() -> Iterator[None]:
    """Programs of these tests run once or twice each."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
