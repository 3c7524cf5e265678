"""Where tests find things that lie outside the project."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Real text and the real vocabulary, beside the checkout where they exist.
SHARED = ROOT.parent / "shared"


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
