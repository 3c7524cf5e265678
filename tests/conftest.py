"""Where tests find things that lie outside the project."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Real text and the real vocabulary, beside the checkout where they exist.
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def levels_of_logging() -> Iterator[None]:
    """A command that ran inside a test sets the levels for its process: the next test gets the old ones."""
    loggers = [logging.getLogger(name) for name in (None, "pegasus", "py.warnings")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no real data beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def vocabulary_96k(shared: Path) -> Path:
    """The folder that holds the real 96,103-token PEGASUS vocabulary."""
    return shared / "vocab" / "pegasus-96k"
