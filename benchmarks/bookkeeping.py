"""How long does a step of beam search take beside the model? Milliseconds at 8 beams, under n-gram rules.

    python benchmarks/bookkeeping.py [--steps 500] [--texts 1,8,32]

Times are of this thread's own work, so other work on the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from pegasus.generation.processors.logits_processors import LogitsProcessors
from pegasus.generation.processors.phrase_processors import NoRepeatedNgrams, NoSourceNgrams
from pegasus.generation.search.beam import Beam
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import Answer

_BEAMS, _CANDIDATES = 8, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--texts", default="1,8,32")
    arguments = parser.parse_args()
    print("texts  ms per step: first 100  last 100")
    for texts in map(int, arguments.texts.split(",")):
        times = np.min([steps_of(arguments.steps, texts) for _ in range(3)], axis=0)
        print(f"{texts:5}  {np.median(times[10:110]):22.2f}  {np.median(times[-100:]):8.2f}")


def steps_of(steps: int, texts: int) -> np.ndarray:
    """Milliseconds of each step."""
    generator = np.random.default_rng(0)
    sources = [generator.integers(2, 90_000, 512) for _ in range(texts)]
    rules = LogitsProcessors([NoRepeatedNgrams(3), NoSourceNgrams(4, sources)])
    search_settings = SearchSettings(max_length=steps, eos=(1,), beams=_BEAMS, processors=rules)
    search = Beam(np.zeros((texts, 1), dtype=np.int64), search_settings)
    times, rows = [], texts
    while True:
        begun = time.thread_time()
        ask = search.ask()
        asked = time.thread_time()
        if ask is None:
            return np.array(times) * 1e3
        log_probs = -np.sort(generator.exponential(3, (rows, _CANDIDATES)), axis=1).astype(np.float32)
        answer = Answer(log_probs, generator.integers(2, 60, (rows, _CANDIDATES)))
        heard = time.thread_time()
        search.update(answer)
        times.append(time.thread_time() - heard + asked - begun)
        rows = texts * _BEAMS


if __name__ == "__main__":
    main()
