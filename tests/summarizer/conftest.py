"""Fixtures: a summarizer whose model is a stand-in."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from pegasus.summarizer import Settings, Summarizer
from pegasus.summarizer.text_codec import TextCodec


def load_standin() -> Any:
    """Import the stand-in beside this file, which lies in no package."""
    if "standin" not in sys.modules:
        spec = importlib.util.spec_from_file_location("standin", Path(__file__).with_name("standin.py"))
        sys.modules["standin"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["standin"])
    return sys.modules["standin"]


@pytest.fixture
def writer() -> Any:
    return load_standin().LeadWriter()


@pytest.fixture
def summarizer(writer: Any) -> Summarizer:
    tokenizer = load_standin().WordTokenizer()
    return Summarizer(writer, TextCodec(tokenizer), name="lead", settings=Settings(check=False))
