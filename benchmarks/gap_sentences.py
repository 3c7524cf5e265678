"""How fast is a corpus prepared? Documents and megabytes a second on one core, step by step.

    python benchmarks/gap_sentences.py CORPUS.jsonl.xz [--tokenizer DIR] [--documents 2000]

Times are of the processor, not of the clock, so other work on the machine disturbs them little.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Any

from pegasus.data.gap import STRATEGIES, GapSettings, score_sentences
from pegasus.data.grams import count_many
from pegasus.data.read import read_documents
from pegasus.data.scores import window_scores
from pegasus.data.sentences import SPLITTERS, split_authors

_TOGETHER = 32
_ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--tokenizer")
    parser.add_argument("--documents", type=int, default=2000)
    arguments = parser.parse_args()
    began = time.process_time()
    texts = [
        document.text
        for document in itertools.islice(read_documents(arguments.corpus), arguments.documents)
    ]
    size = sum(len(text.encode()) for text in texts) / 1e6
    tell("reading", time.process_time() - began, size, len(texts))
    for name, rule in SPLITTERS.items():
        measure(f"sentences, {name}", lambda rule=rule: [rule(text) for text in texts], size, len(texts))
    documents = [split_authors(text) for text in texts]
    groups = [documents[start : start + _TOGETHER] for start in range(0, len(documents), _TOGETHER)]
    measure("counting", lambda: [count_many(group) for group in groups], size, len(texts))
    counted = [count_many(group) for group in groups]
    for strategy in STRATEGIES:
        gap = GapSettings(strategy)
        if gap.kind in ("ind", "seq"):
            measure(f"scores, {strategy}", lambda gap=gap: score(counted, gap), size, len(texts))
    windows = [(group.document(0), GapSettings("continuous-orig").measure) for group in counted]
    some = sum(len("".join(group[0]).encode()) for group in groups) / 1e6
    measure(
        "scores, continuous-orig",
        lambda: [window_scores(one, rule, max(one.sentences * 3 // 10, 1)) for one, rule in windows],
        some,
        len(windows),
    )
    measure("all of ind-orig", lambda: everything(texts), size, len(texts))
    if arguments.tokenizer:
        tokens(documents, arguments.tokenizer, size)


def score(counted: list[Any], gap: GapSettings) -> None:
    for group in counted:
        score_sentences(group, gap)


def everything(texts: list[str]) -> None:
    gap = GapSettings("ind-orig")
    for start in range(0, len(texts), _TOGETHER):
        group = [split_authors(text) for text in texts[start : start + _TOGETHER]]
        score_sentences(count_many(group), gap)


def tokens(documents: list[list[str]], folder: str, size: float) -> None:
    from pegasus.tokenization.auto import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    sentences = [sentence for document in documents for sentence in document]
    measure(
        "tokens", lambda: tokenizer(sentences, add_special_tokens=False), size, len(documents), rounds=1
    )


def measure(name: str, work: Callable[[], Any], size: float, documents: int, rounds: int = _ROUNDS) -> None:
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    tell(name, best, size, documents)


def tell(name: str, seconds: float, size: float, documents: int) -> None:
    print(f"{name:<26} {size / seconds:8.1f} MB/s {documents / seconds:10,.0f} documents/s")


if __name__ == "__main__":
    main()
