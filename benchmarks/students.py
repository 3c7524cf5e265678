"""Size and seconds a document of models, in turns on the same documents, one at a time.

    python benchmarks/students.py --documents 20 test.jsonl TEACHER STUDENT...

Every model writes of a document before the next one comes, so that whatever else the machine does falls on
all of them alike. What is told is the median of the seconds, and of their ratios to the first model's.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path
from statistics import median

from pegasus import Summarizer
from pegasus.data.read import read_documents


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--num-beams", type=int, default=4)
    arguments = parser.parse_args()
    texts = [found.text for found in islice(read_documents([arguments.data]), arguments.documents + 1)]
    models = [
        Summarizer.from_pretrained(folder, num_beams=arguments.num_beams, threads=1)
        for folder in arguments.models
    ]
    for model in models:
        model(texts[-1])  # what is made at the first call is not counted
    seconds: list[list[float]] = [[] for _ in models]
    for text in texts[:-1]:
        for model, taken in zip(models, seconds, strict=True):
            begun = time.perf_counter()
            model(text)
            taken.append(time.perf_counter() - begun)
    for folder, taken in zip(arguments.models, seconds, strict=True):
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6
        ratio = median(one / first for one, first in zip(taken, seconds[0], strict=True))
        print(f"{folder}\t{size:.1f} MB\t{median(taken):.3f} s\t{ratio:.2f} of the first")


if __name__ == "__main__":
    main()
