"""Ordinary clients beside hostile ones for a long time: does a server's memory or number of files grow?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from serving_clients import Running, Tally, ask, client, documents

HALF_OPEN = 1000
LARGE = 150_000_000
SLOW = 50
_CYCLE = 60.0
_ORDINARY = (
    {"long": "truncate"},
    {"long": "chunk", "num_beams": 1},
    {"long": "truncate", "num_beams": 2, "explain": True},
    {"long": "truncate", "length": "short", "faithful": "words"},
)


async def soak(server: Running, seconds: float, every: float, say: Callable[..., None]) -> dict[str, Any]:
    """Ask, and be hostile once a minute; look at memory and files when the hostile have been shown out.

    Args:
        server: is asked.
        seconds: how long.
        every: seconds from one request of an ordinary client to its next; 0: as soon as it has its answer.
        say: is told of each minute.
    """
    tally, hostile, samples = Tally(), Counter[str](), []
    begin = time.perf_counter()
    async with client(server.url) as asking:
        until = begin + seconds
        ordinary = [
            asyncio.ensure_future(_ordinary(asking, tally, number, until, every)) for number in range(4)
        ]
        while (left := until - time.perf_counter()) > 0:
            cycle = time.perf_counter()
            await _be_hostile(server, hostile)
            least = server.memory_mb()
            while time.perf_counter() < cycle + min(left, _CYCLE):
                await asyncio.sleep(0.5)
                least = min(least, server.memory_mb())  # with as little as possible under way
            sample = (time.perf_counter() - begin, least, server.descriptors())
            samples.append(sample)
            say(second=round(sample[0]), memory_mb=round(sample[1], 1), descriptors=sample[2], **hostile)
        await asyncio.gather(*ordinary)
    tally.elapsed = time.perf_counter() - begin
    return {**_slope(samples), "ordinary": tally.figures(), "told": tally.told, "hostile": dict(hostile)}


def _slope(samples: list[tuple[float, float, int]]) -> dict[str, Any]:
    """MB a minute, by least squares without the first two minutes."""
    settled = samples[2:] or samples
    minutes, memory = np.array([[second / 60, held] for second, held, _ in settled]).T
    slope = float(np.polyfit(minutes, memory, 1)[0]) if len(settled) > 1 else 0.0
    return {
        "memory_mb": [round(held, 1) for _, held, _ in samples],
        "descriptors": [count for _, _, count in samples],
        "mb_per_minute": round(slope, 3),
    }


async def _ordinary(
    asking: httpx.AsyncClient, tally: Tally, number: int, until: float, every: float
) -> None:
    texts, turn = documents(64, number), 0
    while (begin := time.perf_counter()) < until:
        settings = _ORDINARY[(number + turn) % len(_ORDINARY)]
        if turn % 8 == 7:
            await _stream(asking, tally, texts[turn % 64])
        else:
            await ask(asking, tally, texts[turn % 64], settings)
        turn += 1
        await asyncio.sleep(max(0.0, begin + every - time.perf_counter()))


async def _stream(asking: httpx.AsyncClient, tally: Tally, text: str) -> None:
    body = {"document": text, "num_beams": 1, "stream": True}
    begin = time.perf_counter()
    async with asking.stream("POST", "/v1/summarize", json=body) as response:
        told = [line async for line in response.aiter_lines() if line.startswith("event: ")]
    if told[-1:] != ["event: end"]:
        tally.failed(ValueError(f"a stream ended in {told[-1:]}"))
        return
    tally.add(response, time.perf_counter() - begin)


async def _be_hostile(server: Running, hostile: Counter[str]) -> None:
    half_open = [_half_open(server.port, hostile) for _ in range(HALF_OPEN)]
    slow = [_slow_body(server.port, hostile) for _ in range(SLOW)]
    large = [_large_body(server.port, hostile, stated) for stated in (True, True, False, False)]
    await asyncio.gather(*half_open, *slow, *large)


async def _half_open(port: int, hostile: Counter[str]) -> None:
    """Half of a head, and silence: the server is to close it."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/summarize HTTP/1.1\r\nHost: loc")
        rest = await reader.read()
        hostile["half-open closed" if not rest else "half-open answered"] += 1
        writer.close()


async def _slow_body(port: int, hostile: Counter[str]) -> None:
    """A byte a second."""
    head = b"POST /v1/summarize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    answer = asyncio.ensure_future(reader.read(12))
    with contextlib.suppress(OSError):
        while not answer.done():
            writer.write(b"{")
            await writer.drain()
            await asyncio.wait({answer}, timeout=1.0)
    said = b""
    with contextlib.suppress(OSError):  # what it was sent after its answer may cost the answer
        said = await answer
    hostile[f"slow {said[9:12].decode() or 'cut off'}"] += 1
    writer.close()


async def _large_body(port: int, hostile: Counter[str], stated: bool) -> None:
    """150 MB, of which the server is to read a little at most; of a length that is said or not."""
    length = f"Content-Length: {LARGE}" if stated else "Transfer-Encoding: chunked"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /v1/summarize HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
    answer = asyncio.ensure_future(reader.read(12))
    block = b"x" * 1_000_000
    with contextlib.suppress(OSError):
        for _ in range(LARGE // len(block)):
            writer.write(block if stated else b"%x\r\n%s\r\n" % (len(block), block))
            await writer.drain()
    said = b""
    with contextlib.suppress(OSError):
        said = await answer
    hostile[f"large {said[9:12].decode() or 'cut off'}"] += 1
    writer.close()
