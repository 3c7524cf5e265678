"""Fixtures: the command run within the test, over a stand-in for the model."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pegasus.cli.app import main
from pegasus.summarizer import Summarizer
from pegasus.summarizer.text_codec import TextCodec

STANDIN = Path(__file__).parents[1] / "summarizer" / "standin.py"
SMALL_TOKENIZER = Path(__file__).parents[1] / "fixtures" / "tokenizer-small"


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The folder of a tiny model with random weights, for commands in processes of their own."""
    from pegasus import AutoTokenizer, PegasusConfig, PegasusForConditionalGeneration

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(SMALL_TOKENIZER)
    small = {"d_model": 16, "max_position_embeddings": 64, "max_length": 8, "vocab_size": len(tokenizer)}
    sides = {
        f"{side}_{what}": count
        for side in ("encoder", "decoder")
        for what, count in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 16))
    }
    PegasusForConditionalGeneration(PegasusConfig(**small, **sides)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def standin() -> Any:
    if "standin" not in sys.modules:
        spec = importlib.util.spec_from_file_location("standin", STANDIN)
        sys.modules["standin"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["standin"])
    return sys.modules["standin"]


@pytest.fixture
def writer(standin: Any) -> Any:
    return standin.LeadWriter()


@dataclass(frozen=True)
class Ran:
    """How a run of the command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(standin: Any, writer: Any, monkeypatch, capsys, tmp_path) -> Callable[..., Ran]:
    """Run the command in an empty folder; `opened` counts how often a model was opened."""

    def open_standin(name: str, **_: Any) -> Summarizer:
        run_it.opened += 1  # type: ignore[attr-defined]
        reader = TextCodec(standin.WordTokenizer())
        return Summarizer(writer, reader, name=name)

    def run_it(*arguments: str, stdin: bytes = b"", terminal: bool = False) -> Ran:
        pipe = tmp_path / "stdin.pipe"
        pipe.write_bytes(stdin)
        with pipe.open("rb") as raw:
            stream = io.TextIOWrapper(raw)
            stream.isatty = lambda: terminal  # type: ignore[method-assign]
            monkeypatch.setattr(sys, "stdin", stream)
            try:
                code = main(arguments)
            except SystemExit as end:
                code = int(end.code or 0)
        told = capsys.readouterr()
        pipe.unlink()
        return Ran(code, told.out, told.err)

    run_it.opened = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(Summarizer, "from_pretrained", staticmethod(open_standin))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEGASUS_MODEL", raising=False)
    return run_it
