"""Clients of a server, and the server as a process that is watched: what `serving.py` measures with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PATIENCE = 300.0  # seconds that anything may take
_OPENING = 120.0


def documents(count: int, seed: int = 0) -> list[str]:
    """Texts of 60 to 100 per cent of an article, its sentences turned round: hardly two are equal."""
    rows = (EXAMPLES / "news.jsonl").read_text("utf-8").splitlines()
    articles = [re.split(r"(?<=[.!?])\s+", json.loads(row)["text"]) for row in rows]
    dice, made = random.Random(seed), []
    for _ in range(count):
        sentences = dice.choice(articles)
        turn = dice.randrange(len(sentences))
        turned = sentences[turn:] + sentences[:turn]
        made.append(" ".join(turned[: max(3, round(len(turned) * dice.uniform(0.6, 1.0)))]))
    return made


@dataclass
class Tally:
    """What became of requests.

    Attributes:
        seconds: of each that was answered with 200.
        statuses: how many had which; "broken" had none.
        without_retry_after: refusals (429, 503) that did not say when to come back.
        elapsed: seconds from the first request to the last answer.
        computed: seconds of a processor that the server took meanwhile; others disturb them little.
        told: a few reasons of failures.
        summaries: document → its summary.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[Any] = field(default_factory=Counter)
    without_retry_after: int = 0
    elapsed: float = 0.0
    computed: float = 0.0
    told: list[str] = field(default_factory=list)
    summaries: dict[str, str] = field(default_factory=dict)

    def add(self, response: httpx.Response, seconds: float) -> None:
        self.statuses[response.status_code] += 1
        if response.status_code == 200:
            self.seconds.append(seconds)
        elif response.status_code in (429, 503):
            self.without_retry_after += "retry-after" not in response.headers
        else:
            self.told = [*self.told, response.text[:200]][:5]

    def failed(self, error: Exception, what: str = "broken") -> None:
        self.statuses[what] += 1
        self.told = [*self.told, f"{type(error).__name__}: {error}"][:5]

    def figures(self) -> dict[str, Any]:
        """What is printed."""
        found = {"statuses": {str(key): count for key, count in sorted(self.statuses.items(), key=str)}}
        if self.seconds:
            found["documents_per_second"] = round(len(self.seconds) / self.elapsed, 3)
            if self.computed:
                found["processor_s"] = round(self.computed / len(self.seconds), 4)  # of a document
            found |= {f"p{at}_s": round(quantile(self.seconds, at / 100), 3) for at in (50, 99)}
        return found


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below this share of them."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@contextlib.asynccontextmanager
async def client(url: str, keep: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of any number of connections, kept open between requests or not."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None if keep else 0)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits, trust_env=False) as made:
        yield made


async def ask(asking: httpx.AsyncClient, tally: Tally, document: str, settings: dict[str, Any]) -> bool:
    """One request; what becomes of it is noted. Returns whether it got its summary."""
    begin = time.perf_counter()
    try:
        response = await asking.post("/v1/summarize", json={"document": document, **settings})
    except httpx.ConnectError as error:
        tally.failed(error, "no connection")
    except httpx.HTTPError as error:
        tally.failed(error)
    else:
        tally.add(response, time.perf_counter() - begin)
        if response.status_code == 200:
            tally.summaries[document] = response.json()["summary"]
            return True
    return False


async def in_turn(url: str, texts: Sequence[str], clients: int, settings: dict[str, Any]) -> Tally:
    """So many clients, each of which asks again as soon as it has its answer."""
    tally, left = Tally(), iter(texts)
    async with client(url) as asking:

        async def one() -> None:
            for text in left:
                await ask(asking, tally, text, settings)

        begin = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(clients)))
        tally.elapsed = time.perf_counter() - begin
    return tally


async def at_a_pace(
    url: str, pace: float, seconds: float, settings: dict[str, Any], texts: Sequence[str]
) -> Tally:
    """So many requests a second, whether or not those before them are answered."""
    tally, tasks = Tally(), []
    async with client(url) as asking:
        begin = time.perf_counter()
        while (now := time.perf_counter() - begin) < seconds:
            while len(tasks) < now * pace:
                text = texts[len(tasks) % len(texts)]
                tasks.append(asyncio.ensure_future(ask(asking, tally, text, settings)))
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        tally.elapsed = time.perf_counter() - begin
    return tally


@dataclass
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def family(self) -> list[int]:
        """Its process and those it started, engines among them."""
        found = [self.process.pid]
        for one in found:
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found

    def memory_mb(self) -> float:
        """What it holds, in 10⁶ bytes; what processes share counts for each."""
        pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in self.family())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def descriptors(self) -> int:
        """Files and connections that it has open."""
        return sum(len(os.listdir(f"/proc/{one}/fd")) for one in self.family())

    def processor_seconds(self) -> float:
        """What it has computed, on all cores together."""
        stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in self.family()]
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")

    def tell_to_end(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def running(command: Sequence[str], ready: str = "/readyz") -> Iterator[Running]:
    """Start a server, wait until it is ready, and end it.

    Args:
        command: takes `--port N` at its end.
        ready: a path that answers 200 when it is.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, "--port", str(port)])
    server = Running(process, f"http://127.0.0.1:{port}")
    try:
        _wait(server, ready)
        yield server
    finally:
        if process.poll() is None:
            server.tell_to_end()
        process.wait(PATIENCE)


def _wait(server: Running, ready: str) -> None:
    until = time.monotonic() + _OPENING
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise SystemExit(
                f"bench: the server ended with exit code {server.process.returncode}; see above"
            )
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(server.url + ready, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"bench: the server was not ready after {_OPENING:g} s")
