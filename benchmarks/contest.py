"""Contestants take turns: one process each, one at a time at work, round by round."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import checkpoints
from checkpoints import say
from contestants import PEERS

WORKER = Path(__file__).with_name("contestants.py")
Job = dict[str, int]


class Contestant:
    """A process that has loaded a model and waits for jobs."""

    def __init__(self, name: str, python: str, folder: Path, shape: str, threads: int) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [*worker(python, threads, shape), "generate", "--name", name, "--folder", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.loaded = self._hear()
        self.peak = self.loaded["peak_memory"]
        #: Programs that were compiled for the jobs so far, where JAX computes.
        self.compilations = 0

    def do(self, job: Job) -> float:
        """Seconds that a job took."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self._hear()
        self.peak, self.compilations = answer["peak_memory"], answer["compilations"]
        return float(answer["seconds"])

    def leave(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"bench: {self.name} ended with exit code {self.process.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def declare(parser: argparse.ArgumentParser) -> None:
    """The options that every question about inference has."""
    parser.add_argument("--shape", choices=checkpoints.SHAPES, default="large")
    parser.add_argument("--tokens", type=int, default=64, help="that everybody has to write")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=checkpoints.BYTES, default="int8", help="ours")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="", help=f"some of {', '.join(PEERS)}, with commas between")
    parser.add_argument(
        "--peer-python", default=os.environ.get("PEGASUS_PEER_PYTHON", sys.executable),
        help="the interpreter that has the peers (default: PEGASUS_PEER_PYTHON, or this one)",
    )  # fmt: skip
    parser.add_argument("--cache", help="where checkpoints are kept (default: PEGASUS_BENCH_CACHE)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def worker(python: str, threads: int, shape: str) -> list[str]:
    """The command of a contestant."""
    vocabulary = str(checkpoints.SHAPES[shape]["vocab_size"])
    return [python, str(WORKER), "--threads", str(threads), "--vocabulary", vocabulary]


def cast(
    options: argparse.Namespace, backend: str = "packed"
) -> tuple[dict[str, tuple[str, Path]], dict[str, str]]:
    """Who takes part, with interpreter and folder; and who is missing, and why. ``backend`` is ours."""
    cache = checkpoints.cache_folder(options.cache)
    if backend == "packed":
        own = {f"ours-{options.dtype}": checkpoints.packed(cache, options.shape, options.dtype)}
    else:
        own = {f"ours-{backend}-{options.dtype}": checkpoints.checkpoint(cache, options.shape)}
    taking = {name: (sys.executable, folder) for name, folder in own.items()}
    missing: dict[str, str] = {}
    for peer in filter(None, options.peers.split(",")):
        if peer not in PEERS:
            raise SystemExit(f"bench: no peer is called {peer!r}; choose from {', '.join(PEERS)}")
        family, _, kind = peer.partition("-")
        # What we export is run by our own search, over ONNX Runtime.
        python = sys.executable if family == "onnxruntime" else options.peer_python
        if lacking := _lacking(python, PEERS[peer]):
            missing[peer] = (
                f"{python} lacks {', '.join(lacking)}: name an interpreter that has them by "
                "--peer-python or PEGASUS_PEER_PYTHON"
            )
            say(f"{peer} is missing. {missing[peer]}")
            continue
        if family == "ctranslate2":
            folder = checkpoints.converted(cache, options.shape, kind, python)
        elif family == "onnxruntime":
            folder = checkpoints.exported(cache, options.shape, kind)
        else:
            folder = checkpoints.checkpoint(cache, options.shape)
        taking[peer] = (python, folder)
    return taking, missing


def _lacking(python: str, packages: Sequence[str]) -> list[str]:
    """Which packages an interpreter does not have."""
    code = (
        "import sys; from importlib.util import find_spec\n"
        "print(*(name for name in sys.argv[1:] if not find_spec(name)))"
    )
    try:
        found = subprocess.run(
            [python, "-c", code, *packages], check=True, stdout=subprocess.PIPE, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"bench: {python} is no interpreter that runs: {error}") from error
    return found.stdout.split()


def in_turns(contestants: Sequence[Contestant], job: Job, rounds: int) -> dict[str, list[float]]:
    """Seconds of everyone in every round, after a short one to warm up; another begins each time."""
    seconds: dict[str, list[float]] = {one.name: [] for one in contestants}
    for one in contestants:
        one.do(job | {"tokens": min(2, job["tokens"])})
    for number in range(rounds):
        first = number % len(contestants)
        for one in (*contestants[first:], *contestants[:first]):
            seconds[one.name].append(one.do(job | {"seed": number}))
            say(f"round {number + 1}/{rounds} {one.name} {seconds[one.name][-1]:.2f} s")
    return seconds


def summed_up(values: Iterable[float]) -> dict[str, float]:
    """Median, least and most."""
    values = [*values]
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 4) for name, value in found.items()}


def ratios(seconds: dict[str, list[float]], own: str) -> dict[str, list[float]]:
    """Ours over each peer's, round by round."""
    others = {name: times for name, times in seconds.items() if name != own}
    return {name: [a / b for a, b in zip(seconds[own], times)] for name, times in others.items()}


def machine(threads: int) -> dict[str, Any]:
    """What it ran on, and how fast its memory is read just now."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "memory_gb_per_second": round(memory_speed(threads) / 1e9, 1),
    }


def memory_speed(threads: int) -> float:
    """Bytes a second that so many threads of a process of their own read from memory just now."""
    probe = subprocess.run(
        [*worker(sys.executable, threads, "small"), "bandwidth"], check=True, stdout=subprocess.PIPE
    )
    return float(json.loads(probe.stdout)["bytes_per_second"])


def processor() -> str:
    """Its name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
