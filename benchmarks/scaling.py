"""How does the cost grow with length, beams and documents? Ours, and peers where they are named.

    scripts/bench scaling --sources 128,512,1024 --beams 1,8 --documents 1,8 --peers ctranslate2-int8

One model is loaded for everything; a round goes through every combination. Peaks of memory are those of the
process so far, so combinations come in the order of their size.
"""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

from contest import Contestant, Job, cast, declare, in_turns, machine, ratios, summed_up


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    declare(parser)
    for name, usual in (("sources", "128,512,1024"), ("beams", "1,8"), ("documents", "1,8")):
        parser.add_argument(f"--{name}", type=numbers, default=numbers(usual), metavar="N,N...")
    options = parser.parse_args()
    report = measure(options)
    print(json.dumps(report) if options.json else table(report))


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    taking, missing = cast(options)
    contestants = [
        Contestant(name, python, folder, options.shape, options.threads)
        for name, (python, folder) in taking.items()
    ]
    grid = itertools.product(options.documents, options.beams, options.sources)
    jobs: list[Job] = [
        {"documents": documents, "beams": beams, "source": source, "tokens": options.tokens}
        for documents, beams, source in grid
    ]
    cells = [_cell(contestants, job, options.rounds) for job in jobs]
    for one in contestants:
        one.leave()
    return {
        "question": "scaling",
        "shape": options.shape,
        "rounds": options.rounds,
        "dtype": options.dtype,
        "machine": machine(options.threads),
        "cells": cells,
        "missing": missing,
    }


def _cell(contestants: list[Contestant], job: Job, rounds: int) -> dict[str, Any]:
    seconds = in_turns(contestants, job, rounds)
    paired = ratios(seconds, contestants[0].name)
    return {
        **job,
        "seconds": {name: summed_up(times) for name, times in seconds.items()},
        "peak_memory_mb": {one.name: round(one.peak / 1e6) for one in contestants},
        "ratio": {peer: summed_up(values)["median"] for peer, values in paired.items()},
    }


def table(report: dict[str, Any]) -> str:
    names = list(report["cells"][0]["seconds"])
    lines = [f"{'documents':>9} {'beams':>6} {'source':>7} " + " ".join(f"{name:>18}" for name in names)]
    for cell in report["cells"]:
        times = " ".join(f"{cell['seconds'][name]['median']:16.2f} s" for name in names)
        ratio = "  ".join(f"x {value:.2f}" for value in cell["ratio"].values())
        lines.append(f"{cell['documents']:9} {cell['beams']:6} {cell['source']:7} {times}  {ratio}")
    return "\n".join(
        [str(report["machine"]), *lines, *(f"{n}: {why}" for n, why in report["missing"].items())]
    )


if __name__ == "__main__":
    main()
