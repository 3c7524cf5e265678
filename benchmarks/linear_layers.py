"""How fast are single layers, and how far from what the machine can do? Ours beside torch's `F.linear`.

    python benchmarks/linear_layers.py [--kinds float32 int8] [--rows 1 8 64] [--many 512] [--threads 2]

Two tables. The first takes the layers of a pegasus-large decoder step as they come, `--layers` of them and
the head, each with weights of its own that no cache holds: milliseconds for all, bytes of weights a second,
and the bandwidth that plain reading of as many bytes shows in the same rounds. Our time over that of
reading is the distance to the limit: 1 is as fast as memory. The second calls one layer over and over with
many rows, as an encoder does. Contestants alternate within a round; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pegasus.backends.native import linears
from pegasus.backends.native.records import Linear

WIDTH, FFN, VOCABULARY = 1024, 4096, 96103
LAYER = ((3 * WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (FFN, WIDTH), (WIDTH, FFN))
SINGLE = ((WIDTH, WIDTH), (FFN, WIDTH), (WIDTH, FFN))
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", default=["int8", "bfloat16", "float32"])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--many", nargs="*", type=int, default=[128, 512])
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    runner = linears.Runner(arguments.threads)
    found: dict[str, Any] = {
        "level": linears.level(),
        "threads": arguments.threads,
        "step": [],
        "single": [],
    }
    with torch.inference_mode():
        for kind in arguments.kinds:
            found["step"] += step(runner, kind, arguments)
        for kind in arguments.kinds:
            found["single"] += single(runner, kind, arguments)
    print(json.dumps(found) if arguments.json else table(found))


def layer(kind: str, shape: tuple[int, int], seed: int) -> Linear:
    """A layer of random weights; large ones repeat a part, which is quicker to make, not to read."""
    outputs, inputs = shape
    part = min(outputs, 1024)
    weights = np.random.default_rng(seed).standard_normal((part, inputs), np.float32)
    packed = linears.pack(kind, weights)
    whole = linears.aligned(linears.packed_bytes(kind, outputs, inputs))
    whole[:] = np.resize(packed.weights, whole.shape)
    scale_N = None if packed.scale_N is None else np.resize(packed.scale_N, outputs)
    sums_N = None if packed.sums_N is None else np.resize(packed.sums_N, outputs)
    return Linear(kind, outputs, inputs, whole, scale_N, sums_N)


def ours(runner: linears.Runner, layers: list[Linear], rows: int) -> Callable[[], None]:
    x = {
        inputs: np.random.default_rng(1).standard_normal((rows, inputs), np.float32)
        for inputs in (WIDTH, FFN)
    }
    y = {one.outputs: np.empty((rows, one.outputs), np.float32) for one in layers}
    pairs = [(one, x[one.inputs], y[one.outputs]) for one in layers]

    def run() -> None:
        for one, x_MK, y_MN in pairs:
            runner.run(one, x_MK, out_MN=y_MN)

    return run


def theirs(kind: str, shapes: list[tuple[int, int]], rows: int) -> Callable[[], None] | None:
    """The same by `F.linear`; None for int8, which it has not."""
    if kind not in TYPES:
        return None
    weights = [torch.full(shape, 0.01, dtype=TYPES[kind]) for shape in shapes]
    x = {inputs: torch.randn(rows, inputs).to(TYPES[kind]) for inputs in (WIDTH, FFN)}

    def run() -> None:
        for weight_NK in weights:
            torch.nn.functional.linear(x[weight_NK.shape[1]], weight_NK)

    return run


def seconds(run: Callable[[], Any]) -> float:
    time.sleep(0.02)  # threads of the contestant before spin for a while after their work
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def alternate(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            spent = seconds(run)
            if number:
                times[name].append(spent)
    return {name: statistics.median(spent) for name, spent in times.items()}


def step(runner: linears.Runner, kind: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All layers of one decoder step, from memory."""
    shapes = [*LAYER] * arguments.layers + [(VOCABULARY, WIDTH)]
    layers = [layer(kind, shape, number) for number, shape in enumerate(shapes)]
    size = sum(one.weights.nbytes for one in layers)
    plain = np.ones(size // 8, np.uint64)
    found = []
    for rows in arguments.rows:
        contestants = {"ours": ours(runner, layers, rows), "reading": lambda: runner.read(plain)}
        torchs = None if arguments.no_torch else theirs(kind, shapes, rows)
        if torchs is not None:
            contestants["torch"] = torchs
        spent = alternate(contestants, arguments.rounds)
        found.append(
            {
                "kind": kind,
                "rows": rows,
                "ms": spent["ours"] * 1e3,
                "gb_per_s": size / spent["ours"] / 1e9,
                "bandwidth_gb_per_s": size / spent["reading"] / 1e9,
                "to_limit": spent["ours"] / spent["reading"],
                "torch_ms": spent["torch"] * 1e3 if "torch" in spent else None,
            }
        )
    return found


def single(runner: linears.Runner, kind: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One layer again and again, with many rows."""
    found = []
    for shape in SINGLE:
        one = layer(kind, shape, 0)
        for rows in arguments.many:
            work = 2 * rows * shape[0] * shape[1]
            contestants: dict[str, Callable[[], Any]] = {"ours": ours(runner, [one], rows)}
            torchs = None if arguments.no_torch else theirs(kind, [shape], rows)
            if torchs is not None:
                contestants["torch"] = torchs
            spent = alternate(contestants, arguments.rounds)
            rates = {name: work / one_spent / 1e9 for name, one_spent in spent.items()}
            found.append(
                {
                    "kind": kind,
                    "outputs": shape[0],
                    "inputs": shape[1],
                    "rows": rows,
                    "ms": spent["ours"] * 1e3,
                    "gflops": rates["ours"],
                    "torch_gflops": rates.get("torch"),
                }
            )
    return found


def table(found: dict[str, Any]) -> str:
    lines = [f"{found['level']}, {found['threads']} threads", ""]
    lines += ["layers of a step   rows      ms    GB/s  reading  to limit  torch ms"]
    for one in found["step"]:
        theirs_ms = "-" if one["torch_ms"] is None else f"{one['torch_ms']:.1f}"
        lines.append(
            f"{one['kind']:16} {one['rows']:6} {one['ms']:7.1f} {one['gb_per_s']:7.1f} "
            f"{one['bandwidth_gb_per_s']:8.1f} {one['to_limit']:9.2f} {theirs_ms:>9}"
        )
    lines += ["", "one layer          N x K          rows      ms  GFLOP/s    torch"]
    for one in found["single"]:
        theirs_rate = "-" if one["torch_gflops"] is None else f"{one['torch_gflops']:.0f}"
        shape = f"{one['outputs']}x{one['inputs']}"
        lines.append(
            f"{one['kind']:16} {shape:>10} {one['rows']:10} {one['ms']:7.2f} {one['gflops']:8.0f} "
            f"{theirs_rate:>8}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
