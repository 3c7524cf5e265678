"""How long until the first summary, from a cold process? Import, load, one text in, one summary out.

    scripts/bench load --shape large --dtype int8 --peers ctranslate2-int8,transformers-fp32

Files are in the system's cache. Ours opens a folder that `pegasus pack` wrote, and the whole way of a user,
``Summarizer``, is measured; peers get the least that turns a text into a summary. Every round starts a
process for everyone, in turns; ratios are of the same round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from checkpoints import say
from contest import cast, declare, machine, ratios, summed_up, worker

TOLD = ("shape", "source", "beams", "tokens", "rounds", "dtype")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    declare(parser)
    for name, usual in (("source", 128), ("beams", 8)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    report = measure(options)
    print(json.dumps(report) if options.json else table(report))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    taking, missing = cast(options)
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in taking}
    for number in range(options.rounds):
        order = [*taking]
        first = number % len(order)
        for name in (*order[first:], *order[:first]):
            rounds[name].append(once(name, *taking[name], options))
            say(f"round {number + 1}/{options.rounds} {name} {rounds[name][-1]['seconds']:.2f} s")
    own = f"ours-{options.dtype}"
    seconds = {name: [found["seconds"] for found in all_found] for name, all_found in rounds.items()}
    weights = sum(file.stat().st_size for file in taking[own][1].glob("packed*.safetensors"))
    return {
        "question": "load",
        **{name: getattr(options, name) for name in TOLD},
        "machine": machine(options.threads),
        "contestants": {
            name: {
                "seconds": summed_up(seconds[name]),
                "load_seconds": summed_up(found["load_seconds"] for found in all_found),
                "peak_memory_mb": round(max(found["peak_memory"] for found in all_found) / 1e6),
            }
            for name, all_found in rounds.items()
        },
        "ratio": {peer: summed_up(values)["median"] for peer, values in ratios(seconds, own).items()},
        "weights_mb": round(weights / 1e6),
        "peak_over_weights": round(max(f["peak_memory"] for f in rounds[own]) / weights, 3),
        "loaded_over_weights": round(max(f["loaded_memory"] for f in rounds[own]) / weights, 3),
        "missing": missing,
    }  # fmt: skip


def once(name: str, python: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """A process from its start to its end."""
    command = [
        *worker(python, options.threads, options.shape), "summarize", "--name", name,
        "--folder", str(folder),
    ]  # fmt: skip
    for what in ("source", "beams", "tokens"):
        command += [f"--{what}", str(getattr(options, what))]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"seconds": time.perf_counter() - began, **json.loads(done.stdout)}


def table(report: dict[str, Any]) -> str:
    lines = [f"{'':<20} {'start to summary s':>20} {'load s':>8} {'peak MB':>8}   ours to it"]
    for name, found in report["contestants"].items():
        ratio = report["ratio"].get(name)
        lines.append(
            f"{name:<20} {found['seconds']['median']:20.2f} {found['load_seconds']['median']:8.2f} "
            f"{found['peak_memory_mb']:8,}   {'' if ratio is None else f'time x {ratio:.2f}'}"
        )
    lines.append(
        f"packed weights {report['weights_mb']:,} MB; memory {report['loaded_over_weights']} x that "
        f"when loaded, {report['peak_over_weights']} x at the most"
    )
    return "\n".join(
        [str(report["machine"]), *lines, *(f"{n}: {why}" for n, why in report["missing"].items())]
    )


if __name__ == "__main__":
    main()
