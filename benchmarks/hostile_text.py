"""How long does a megabyte of the same few characters take? Seconds for splitting, choosing and checking.

    python benchmarks/hostile_text.py

Times are of the processor, not of the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pegasus.data.gap import GapSettings, choose_in_text
from pegasus.data.sentences import SPLITTERS, split_authors
from pegasus.summarizer.checks import check_summary

_UNITS = (
    "a ",
    "a. ",
    "x",
    "é",
    ".",
    "\n",
    '."',
    "Mr. ",
    "。",
    "A",
    "A b ",
    "1,",
    "one ",
    "a'",
    "1 million ",
)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    work: dict[str, Callable[[str], Any]] = {f"sentences, {name}": rule for name, rule in SPLITTERS.items()}
    work["gap sentences"] = lambda text: choose_in_text(
        split_authors(text), GapSettings("ind-orig", ratio=0.3), np.random.default_rng(0)
    )
    work["checks"] = lambda text: check_summary("Obama had 42 and " + text[:2000], text)
    for name, function in work.items():
        seconds = {unit: seconds_of(function, unit) for unit in _UNITS}
        worst = max(seconds, key=lambda unit: seconds[unit])
        median = np.median([*seconds.values()])
        print(f"{name:24} median {median:.2f} s, most {seconds[worst]:.2f} s ({worst!r})")


def seconds_of(function: Callable[[str], Any], unit: str) -> float:
    """Seconds for a megabyte of one unit."""
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    begin = time.process_time()
    function(text)
    return time.process_time() - begin


if __name__ == "__main__":
    main()
