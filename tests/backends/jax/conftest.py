"""Flax models of the golden weights, and a JAX that compiles quickly rather than well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(scope="session", autouse=True)
def compiling_quickly() -> Iterator[None]:
    """Programs of these tests run once or twice each."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def small() -> Any:
    """The model that the golden files of generation were made with."""
    from pegasus import FlaxPegasusForConditionalGeneration

    return FlaxPegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """Grows by one entry for each program that is compiled."""
    found: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)
