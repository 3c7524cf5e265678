"""How long do summaries take, beside the peers? Same shape, same random weights, same number of tokens.

    scripts/bench inference --shape large --source 512 --beams 8 --documents 1 --rounds 5 \\
        --dtype int8 --peers ctranslate2-int8,transformers-fp32 --peer-python PYTHON
    scripts/bench inference --backend jax --dtype float32 --peers flax-fp32 --peer-python PYTHON

Everybody writes exactly --tokens tokens for each document. A ratio is our seconds over a peer's in the
same round; the median of them is told. The limit of a step is the time that reading its weights from
memory takes, at the speed that memory shows around it; our step is what a token more costs.
"""

from __future__ import annotations

import argparse
import json
from statistics import median
from typing import Any

import checkpoints
from contest import (
    Contestant,
    Job,
    cast,
    declare,
    in_turns,
    machine,
    memory_speed,
    ratios,
    summed_up,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    declare(parser)
    for name, usual in (("source", 512), ("beams", 8), ("documents", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--backend", default="packed", help="ours: packed, or a framework such as jax")
    options = parser.parse_args()
    report = measure(options)
    print(json.dumps(report) if options.json else table(report))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    job = {name: getattr(options, name) for name in ("source", "beams", "documents", "tokens")}
    taking, missing = cast(options, options.backend)
    here = machine(options.threads)
    contestants = [
        Contestant(name, python, folder, options.shape, options.threads)
        for name, (python, folder) in taking.items()
    ]
    own = contestants[0]
    seconds = in_turns(contestants, job, options.rounds)
    compiled = {one.name: one.compilations for one in contestants}
    steps = _steps(own, job, options.rounds, options.threads)
    for one in contestants:
        one.leave()
    paired = ratios(seconds, own.name)
    return {
        "question": "inference",
        "shape": options.shape,
        **job,
        "rounds": options.rounds,
        "dtype": options.dtype,
        "machine": here,
        "contestants": {
            one.name: {
                "seconds": summed_up(seconds[one.name]),
                "peak_memory_mb": round(one.peak / 1e6),
                "load_seconds": round(one.loaded["load_seconds"], 3),
                "loaded_memory_mb": round(one.loaded["peak_memory"] / 1e6),
                "compilations": compiled[one.name],
            }
            for one in contestants
        },
        "ratio": {peer: summed_up(values)["median"] for peer, values in paired.items()},
        "ratio_of_rounds": {peer: [round(value, 4) for value in values] for peer, values in paired.items()},
        "memory_ratio": {one.name: round(own.peak / one.peak, 3) for one in contestants[1:]},
        "step": limits(options, steps),
        "missing": missing,
    }


def _steps(own: Contestant, job: Job, rounds: int, threads: int) -> list[tuple[float, float]]:
    """Seconds that each token after the first costs us, and bytes a second that memory gave around it.

    Where others share the memory its speed may double or halve within a minute, so it is measured right
    before and right after each of our steps; the faster one counts.
    """
    steps = []
    for number in range(rounds):
        before = memory_speed(threads)
        short = own.do(job | {"tokens": 1, "seed": number})
        step = (own.do(job | {"seed": number}) - short) / max(1, job["tokens"] - 1)
        steps.append((step, max(before, memory_speed(threads))))
    return steps


def limits(options: argparse.Namespace, steps: list[tuple[float, float]]) -> dict[str, float]:
    """Our step beside the time that reading its weights takes: medians of the rounds."""
    size = checkpoints.step_bytes(options.shape, options.dtype)
    return {
        "seconds": round(median(step for step, _ in steps), 5),
        "weights_mb": round(size / 1e6, 1),
        "memory_gb_per_second": round(median(speed for _, speed in steps) / 1e9, 1),
        "limit_seconds": round(median(size / speed for _, speed in steps), 5),
        "over_limit": round(median(step * speed / size for step, speed in steps), 2),
    }


def table(report: dict[str, Any]) -> str:
    head = (
        f"{report['shape']}, {report['documents']} x {report['source']} tokens, {report['beams']} beams, "
        f"{report['tokens']} tokens written, {report['rounds']} rounds\n{report['machine']}"
    )
    lines = [f"{'':<20} {'seconds':>8} {'min':>8} {'max':>8} {'peak MB':>8}   ours to it"]
    for name, found in report["contestants"].items():
        times = " ".join(f"{found['seconds'][which]:8.3f}" for which in ("median", "min", "max"))
        ratio = report["ratio"].get(name)
        told = "" if ratio is None else f"time x {ratio:.2f}, memory x {report['memory_ratio'][name]:.2f}"
        if found["compilations"]:
            told += f"  {found['compilations']} compilations"
        lines.append(f"{name:<20} {times} {found['peak_memory_mb']:8,}   {told}")
    step = report["step"]
    lines.append(
        f"a step: {step['seconds'] * 1e3:.1f} ms, {step['over_limit']} x the limit of "
        f"{step['limit_seconds'] * 1e3:.1f} ms "
        f"({step['weights_mb']:,} MB at {step['memory_gb_per_second']} GB/s)"
    )
    return "\n".join([head, *lines, *(f"{peer}: {why}" for peer, why in report["missing"].items())])


if __name__ == "__main__":
    main()
