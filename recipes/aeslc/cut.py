"""Documents → passages of a random number of words, cut between sentences, for ``pegasus prepare``.

    python recipes/aeslc/cut.py ../shared/data/pretrain runs/aeslc/passages

A model that reads 512 tokens would see the openings of long documents alone, and be asked for sentences
that lie beyond. Passages of every length also let it learn to copy, which short ones teach sooner.
"""

from __future__ import annotations

import json
import logging
import lzma
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from pegasus.data.sentences import split_careful

log = logging.getLogger("cut")

SEED = 20261122
SHARES = {"bills": 0.4, "novels": 0.3}
"""Of the documents of these files; of others all."""
SHORTEST, LONGEST = 50, 330
"""Words in a passage; 330 are about 500 tokens of the 8,000 pieces."""


def passages(text: str, rng: random.Random) -> Iterator[str]:
    """Whole sentences in a row, up to a number of words that is drawn anew for each passage.

    Lengths are as likely between 50 and 100 words as between 165 and 330. A passage of fewer than three
    sentences has nothing to choose from and is left out.
    """
    parts: list[str] = []
    words, most = 0, 0.0
    for sentence in split_careful(text):
        size = len(sentence.split())
        if words + size > most:
            if len(parts) > 2:
                yield "".join(parts).strip()
            parts, words = [], 0
            most = math.exp(rng.uniform(math.log(SHORTEST), math.log(LONGEST)))
        if size <= most:
            parts.append(sentence)
            words += size
    if len(parts) > 2:
        yield "".join(parts).strip()


def cut(file: Path, output: Path, share: float, seed: int) -> int:
    """Cut a share of the documents of one file; returns how many passages that makes."""
    rng, count = random.Random(f"{seed} {file.name}"), 0
    with lzma.open(file, "rt", encoding="utf-8") as lines, output.open("w", encoding="utf-8") as out:
        for line in lines:
            if rng.random() >= share:
                continue
            for passage in passages(json.loads(line)["text"], rng):
                out.write(json.dumps({"text": passage}, ensure_ascii=False) + "\n")
                count += 1
    return count


def main(corpus: Path, output: Path) -> None:
    """Cut every file of the corpus."""
    output.mkdir(parents=True, exist_ok=True)
    for file in sorted(corpus.glob("*.jsonl.xz")):
        name = file.name.removesuffix(".jsonl.xz")
        count = cut(file, output / f"{name}.jsonl", SHARES.get(name, 1.0), SEED)
        log.info("%s: %d passages", name, count)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
