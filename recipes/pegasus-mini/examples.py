"""Passages and pairs as batches: which sentences go, what is to be written, in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pairs import EOS, Pairs
from passages import Passages

SENTENCE_MASK = 2

Example = tuple[np.ndarray, np.ndarray]
"""Ids of a source and of its target, each closed by eos."""
Passage = tuple[list[np.ndarray], np.ndarray]
"""The ids of each sentence, and what each one says of the others."""
Make = Callable[[int, np.random.Generator], Example]
"""An example from its number and a random generator of its own."""


def close(parts: Sequence[np.ndarray], limit: int) -> np.ndarray:
    """Join ids, cut them so that eos still fits, and append it."""
    joined = np.concatenate(parts)
    return np.append(joined[: limit - 1], EOS)


def close_whole(parts: Sequence[np.ndarray], limit: int) -> np.ndarray:
    """Join ids and append eos, or cut them where they are too long: what is cut has not ended.

    A model that is shown eos in the middle of sentences breaks off its own.
    """
    joined = np.concatenate(parts)
    return np.append(joined, EOS) if len(joined) < limit else joined[:limit]


def best(scores: np.ndarray, count: int) -> list[int]:
    """The ``count`` highest scores in text order; of equal ones the later, as the authors' code has it."""
    return sorted(np.argsort(scores, kind="stable")[::-1][:count].tolist())


def window(passage: Passage, tokens: int, rng: np.random.Generator) -> Passage:
    """Sentences of a passage from a random one on: two, or more while they are at most ``tokens`` long."""
    parts, scores = passage
    sizes = np.array([len(part) for part in parts])
    if sizes.sum() <= tokens:
        return passage
    start = int(rng.integers(0, len(parts) - 1))
    stop = start + max(2, int(np.searchsorted(np.cumsum(sizes[start:]), tokens, side="right")))
    return parts[start:stop], scores[start:stop]


def gap_example(passage: Passage, settings: Mapping[str, Any], rng: np.random.Generator) -> Example:
    """Take out the sentences that say most of the rest; the target is what was taken out.

    In a share ``extract`` of the passages nothing is taken out and the target is the best sentence or two:
    a model this small has to learn first to find and copy them.
    """
    passage = parts, scores = window(passage, int(rng.integers(*settings["window"])), rng)
    if rng.random() < settings["extract"]:
        return extract_example(passage, settings, int(rng.integers(1, 3)))
    ratio = rng.uniform(*settings["gap_ratio"])
    chosen = best(scores, min(int(max(len(parts) * ratio, 1)), len(parts)))
    source = list(parts)
    for place in chosen:
        if rng.random() >= settings["intact"]:
            source[place] = np.array([SENTENCE_MASK], parts[0].dtype)
    target = close_whole([parts[place] for place in chosen], settings["target_tokens"])
    return close(source, settings["source_tokens"]), target


def extract_example(passage: Passage, settings: Mapping[str, Any], count: int) -> Example:
    """A whole passage and its best sentences in text order: the best first, the next as long as they fit.

    For each sentence before it a sentence loses the share ``early`` of what it scores.
    """
    parts, scores = passage
    rated = scores * (1 - settings["early"]) ** np.arange(len(parts))
    chosen: list[int] = []
    left = settings["target_tokens"] - 1
    for place in np.argsort(rated, kind="stable")[::-1].tolist():
        if len(chosen) < count and len(parts[place]) <= left:
            chosen.append(place)
            left -= len(parts[place])
    whole = [parts[place] for place in sorted(chosen or best(rated, 1))]
    return close(parts, settings["source_tokens"]), close_whole(whole, settings["target_tokens"])


def pad(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of ids side by side, zeros behind, to a multiple of 16.

    Where PyTorch multiplies, every new shape costs its CPU library a compilation; so there are few.
    """
    longest = max(map(len, rows))
    out = np.zeros((len(rows), -(-longest // 16) * 16), np.int64)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out


def batches(
    make: Make, order: Iterator[int], settings: Mapping[str, Any], seed: int, first: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches of sources and targets.

    Args:
        make: what makes examples.
        order: endless numbers of examples.
        settings: ``batch``, the examples in each; ``alike``, of how many batches the examples are sorted by
            length before they are dealt out. 1 sorts nothing, which costs padding where that is computed.
        seed: of the random generators.
        first: batches to pass over, so that a resumed run goes on where it stopped.
    """
    size, block, number = settings["batch"], settings["alike"], 0
    while True:
        indices = [next(order) for _ in range(block * size)]
        if number + block > first:
            rng = np.random.default_rng([seed, number])
            made = [make(index, rng) for index in indices]
            if block > 1:
                made.sort(key=lambda example: (len(example[0]), len(example[1])))
            for place in rng.permutation(block)[max(0, first - number) :]:
                part = made[place * size : (place + 1) * size]
                yield pad([source for source, _ in part]), pad([target for _, target in part])
        number += block


def shuffled(count: int, seed: int) -> Iterator[int]:
    """0 .. count - 1 in a new order each time round, for ever."""
    turn = 0
    while True:
        yield from np.random.default_rng([seed, turn]).permutation(count).tolist()
        turn += 1


def mixture(
    passages: Passages, pairs: Mapping[str, Pairs], settings: Mapping[str, Any], seed: int
) -> tuple[Make, Iterator[int]]:
    """Pairs of each set as often as its ``settings["share"]`` says, and passages for what is left.

    Numbers below zero are passages, numbers from zero on pairs, one set after the other.
    """
    names = list(settings["share"])
    starts = np.cumsum([0, *(len(pairs[name]) for name in names)])
    chances = [settings["share"][name] for name in names]

    def order() -> Iterator[int]:
        turns = [shuffled(len(pairs[name]), seed + 1 + place) for place, name in enumerate(names)]
        plain = shuffled(len(passages), seed)
        rng = np.random.default_rng(seed)
        while True:
            which = int(np.searchsorted(np.cumsum(chances), rng.random(), side="right"))
            yield -1 - next(plain) if which == len(names) else int(starts[which]) + next(turns[which])

    def make(index: int, rng: np.random.Generator) -> Example:
        if index >= 0:
            which = int(np.searchsorted(starts, index, side="right")) - 1
            return pairs[names[which]][index - int(starts[which])]
        passage = window(passages.sentences(-1 - index), int(rng.integers(*settings["window"])), rng)
        return extract_example(passage, settings, int(rng.integers(1, 3)))

    return make, order()
