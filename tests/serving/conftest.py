"""Fixtures: a server on loopback whose model is a stand-in that is stepped, and held on request."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from pegasus.serving.interleaving import Sharing
from pegasus.serving.options import ServeOptions
from pegasus.serving.server import Server, make_server
from pegasus.summarizer import Settings, Summarizer
from pegasus.summarizer.text_codec import TextCodec

_PLACE = Path(__file__).resolve().parents[1] / "summarizer" / "standin.py"
LONG_WAIT = 20  # of a test that would otherwise hang


def load_standin() -> Any:
    if "standin" not in sys.modules:
        spec = importlib.util.spec_from_file_location("standin", _PLACE)
        sys.modules["standin"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["standin"])
    return sys.modules["standin"]


@dataclass
class Steps:
    """A batch under way: as many steps as its longest draft has tokens."""

    writer: Any
    batch: list[Any]
    made: list[Any]
    tell: Any
    done: int = 0
    dropped: list[int] = field(default_factory=list)

    def step(self) -> bool:
        self.writer.pass_gate()
        left = [draft for index, draft in enumerate(self.made) if index not in self.dropped]
        if self.done >= max(len(draft.tokens) for draft in left):
            return False
        if self.tell is not None and self.done < len(self.made[0].tokens):
            self.tell(self.made[0].tokens[self.done])
        self.done += 1
        self.writer.steps.append(self)
        return True

    def drop(self, jobs: Any) -> None:
        self.dropped += jobs

    def drafts(self) -> list[Any]:
        return self.made


def make_writer(**about: Any) -> Any:
    """A stand-in's writer that can be stepped; `open_gate` and `shut_gate` hold it between two steps."""
    standin = load_standin()

    @dataclass
    class SteppedWriter(standin.LeadWriter):
        beams: int = 1
        steps: list[Steps] = field(default_factory=list)
        begun: list[Steps] = field(default_factory=list)
        gate: threading.Event = field(default_factory=threading.Event)
        reached: threading.Event = field(default_factory=threading.Event)

        def begin(self, batch: Any, settings: Any, tell: Any = None) -> Steps:
            steps = Steps(self, list(batch), self.write(batch, settings), tell)
            self.begun.append(steps)
            return steps

        def pass_gate(self) -> None:
            self.reached.set()
            assert self.gate.wait(LONG_WAIT)

        def shut_gate(self) -> None:
            self.reached.clear()
            self.gate.clear()

    writer = SteppedWriter(**about)
    writer.gate.set()
    return writer


def make_summarizer(writer: Any) -> Summarizer:
    tokenizer = load_standin().WordTokenizer()
    return Summarizer(writer, TextCodec(tokenizer), name="lead", settings=Settings(check=False))


@dataclass
class Served:
    """A running server and its model."""

    server: Server
    writer: Any
    client: httpx.Client
    summarizer: Summarizer

    def wait_until_computing(self) -> None:
        assert self.writer.reached.wait(LONG_WAIT)

    def wait_for_texts(self, count: int) -> None:
        wait_until(lambda: self.server.room.texts == count)


def wait_until(true: Any) -> None:
    until = time.monotonic() + LONG_WAIT
    while not true():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.005)


@contextmanager
def served(
    options: ServeOptions | None = None,
    writer: Any = None,
    sharing: Any = None,
    opened: Any = None,
    opening: Any = None,
) -> Iterator[Served]:
    writer = writer or make_writer()
    summarizer = opened or make_summarizer(writer)
    server = make_server(
        opening or (lambda: summarizer),
        options or ServeOptions(port=0),
        sharing or Sharing(join_seconds=0),
    )
    thread = threading.Thread(target=server.serve_to_the_end, daemon=True)
    thread.start()
    wait_until(lambda: server.room.state == "ready")
    with httpx.Client(base_url=server.url, timeout=LONG_WAIT, trust_env=False) as client:
        yield Served(server, writer, client, summarizer)
    writer.gate.set()
    server.should_exit = True
    thread.join(LONG_WAIT)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    """A server for tests that leave it as it was."""
    with served() as one:
        yield one


@pytest.fixture
def serving() -> Any:
    """`with serving(options, writer) as served`: a server of the test's own."""
    return served


@pytest.fixture
def stepped() -> Any:
    """Makes a stand-in's writer."""
    return make_writer


@pytest.fixture(scope="module")
def module_serving() -> Any:
    """The same for fixtures of a module."""
    return served


@pytest.fixture(scope="module")
def module_stepped() -> Any:
    """The same for fixtures of a module."""
    return make_writer


@pytest.fixture
def stand_in() -> Any:
    """Makes a summarizer of such a writer."""
    return make_summarizer


@pytest.fixture(scope="session")
def bundled() -> Summarizer:
    """The bundled model."""
    return Summarizer.from_pretrained("pegasus-mini", threads=1)
