"""The small vocabulary, opened by both tokenizers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pegasus import PegasusTokenizer, PegasusTokenizerFast

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SMALL = FIXTURES / "tokenizer-small" / "spiece.model"
KINDS = {"slow": PegasusTokenizer, "fast": PegasusTokenizerFast}


@pytest.fixture(scope="session")
def small() -> str:
    """The path of the small spiece.model."""
    return str(SMALL)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type:
    """Each of the two classes."""
    return KINDS[request.param]


@pytest.fixture
def tokenizer(kind: type, small: str):
    """Each of the two tokenizers, fresh."""
    return kind(small, model_max_length=64)


@pytest.fixture(scope="session")
def pair(small: str):
    """The two tokenizers, for comparing; not to be changed."""
    return PegasusTokenizer(small), PegasusTokenizerFast(small)
