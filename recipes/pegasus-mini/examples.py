"""Passages and supervised pairs as batches: which sentences go, what is to be written, in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from passages import Passages, content_words, encode, f_measure, read, sentences
from sentencepiece import SentencePieceProcessor

EOS, SENTENCE_MASK = 1, 2

Limits = Mapping[str, Any]
"""The settings of fine-tuning."""

Example = tuple[np.ndarray, np.ndarray]
"""Ids of a source and of its target, each closed by eos."""


def close(parts: Sequence[np.ndarray], limit: int) -> np.ndarray:
    """Join ids, cut them so that eos still fits, and append it."""
    joined = np.concatenate([np.asarray(part, np.int64) for part in parts])
    return np.append(joined[: limit - 1], EOS)


def best(scores: np.ndarray, count: int) -> list[int]:
    """The ``count`` highest scores in text order; of equal ones the later, as the authors' code has it."""
    order = sorted(range(len(scores)), key=lambda place: (scores[place], place), reverse=True)
    return sorted(order[:count])


def window(
    passage: tuple[list[np.ndarray], np.ndarray], tokens: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Sentences of a passage from a random one on: two, or more while they are at most ``tokens`` long."""
    parts, scores = passage
    sizes = np.array([len(part) for part in parts])
    if sizes.sum() <= tokens:
        return passage
    start = int(rng.integers(0, len(parts) - 1))
    stop = start + max(2, int(np.searchsorted(np.cumsum(sizes[start:]), tokens, side="right")))
    return parts[start:stop], scores[start:stop]


def gap_example(
    passage: tuple[list[np.ndarray], np.ndarray], settings: Mapping[str, Any], rng: np.random.Generator
) -> Example:
    """Take out the sentences that say most of the rest; the target is what was taken out.

    In a share ``extract`` of the passages nothing is taken out and the target is the best sentence or two:
    finding and copying them is what a model this small can learn of summarizing.
    """
    passage = parts, scores = window(passage, int(rng.integers(*settings["window"])), rng)
    if rng.random() < settings["extract"]:
        return extract_example(passage, settings["target_tokens"], int(rng.integers(1, 3)))
    ratio = rng.uniform(*settings["gap_ratio"])
    chosen = best(scores, min(int(max(len(parts) * ratio, 1)), len(parts)))
    source = list(parts)
    for place in chosen:
        if rng.random() >= settings["intact"]:
            source[place] = np.array([SENTENCE_MASK])
    length = sum(map(len, source)) + 1
    return close(source, length), close([parts[place] for place in chosen], settings["target_tokens"])


def extract_example(
    passage: tuple[list[np.ndarray], np.ndarray], target_tokens: int, count: int
) -> Example:
    """A whole passage and its best sentences, those that are too long for the target left out."""
    parts, scores = passage
    fitting = np.where([len(part) < target_tokens for part in parts], scores, -1.0)
    chosen = best(fitting, count)
    return close(parts, sum(map(len, parts)) + 1), close([parts[i] for i in chosen], target_tokens)


def short_target(summary: str, pieces: SentencePieceProcessor, limit: int) -> str:
    """The leading sentences of a summary that fit in ``limit`` tokens; at least the first."""
    kept: list[str] = []
    used = 0
    for sentence in sentences(" ".join(summary.split())):
        used += len(pieces.encode(sentence))
        if kept and used >= limit:
            break
        kept.append(sentence)
    return " ".join(kept)


def best_sentence(document: str, summary: str, pieces: SentencePieceProcessor, settings: Limits) -> str:
    """The sentence of the opening that shares most content words with a summary (by F), or "".

    It must lie within the shorter source limit and fit in the target.
    """
    wanted, used, found = content_words(summary), 0, (0.0, "")
    for sentence in sentences(document):
        tokens = len(pieces.encode(sentence))
        used += tokens
        if used >= settings["source_tokens"]:
            break
        if tokens < settings["target_tokens"]:
            found = max(found, (f_measure(content_words(sentence), wanted), sentence))
    return found[1]


def supervised(file: Path, pieces: SentencePieceProcessor, settings: Limits) -> list[Example]:
    """One supervised split as examples; those without a target that fits are left out.

    In the sets named in ``settings["pick"]`` the target is the sentence of the document that comes nearest
    to the summary: what people write there cannot be had from the words of the source, and a model of
    this size that is taught to write so makes things up.
    """
    limit, documents, targets = settings["target_tokens"], [], []
    for record in read(file):
        # Far more characters than the tokens that are kept.
        document = " ".join(str(record["document"])[: settings["long_source_tokens"] * 10].split())
        documents.append(document)
        summary = str(record["summary"])
        if file.parent.name in settings["pick"]:
            targets.append(best_sentence(document, summary, pieces, settings))
        else:
            targets.append(short_target(summary, pieces, limit))
    pairs = zip(encode(pieces, documents), encode(pieces, targets), strict=True)
    return [
        (close([source], settings["long_source_tokens"]), close([target], limit))
        for source, target in pairs
        if 0 < len(target) < limit
    ]


def pad(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of ids side by side, zeros behind, to a multiple of 16.

    Every new shape of a matrix product costs the CPU library a compilation; so there are few.
    """
    longest = max(map(len, rows))
    out = np.zeros((len(rows), -(-longest // 16) * 16), np.int64)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out


def batches(
    make: Callable[[int, np.random.Generator], Example],
    order: Iterator[int],
    size: int,
    seed: int,
    first: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches of examples of about equal length.

    Args:
        make: an example from its number and a random generator of its own.
        order: endless numbers of examples.
        size: examples in a batch.
        seed: of the random generators.
        first: batches to pass over, so that a resumed run goes on where it stopped.
    """
    block, number = 16, 0
    while True:
        indices = [next(order) for _ in range(block * size)]
        if number + block > first:
            rng = np.random.default_rng([seed, number])
            made = sorted((make(i, rng) for i in indices), key=lambda e: (len(e[0]), len(e[1])))
            for place in rng.permutation(block)[max(0, first - number) :]:
                part = made[place * size : (place + 1) * size]
                yield pad([source for source, _ in part]), pad([target for _, target in part])
        number += block


def shuffled(count: int, seed: int) -> Iterator[int]:
    """0 .. count - 1 in a new order each time round, for ever."""
    turn = 0
    while True:
        yield from map(int, np.random.default_rng([seed, turn]).permutation(count))
        turn += 1


def mixture(
    passages: Passages, pairs: Mapping[str, Sequence[Example]], settings: Mapping[str, Any], seed: int
) -> tuple[Callable[[int, np.random.Generator], Example], Iterator[int]]:
    """Supervised pairs, each set as often as ``settings["times"]`` says, with some passages among them."""
    flat = [example for examples in pairs.values() for example in examples]
    starts = np.cumsum([0, *map(len, pairs.values())])

    def order() -> Iterator[int]:
        sources = [shuffled(len(examples), seed + 1 + i) for i, examples in enumerate(pairs.values())]
        plain = shuffled(len(passages), seed)
        weights = np.array([settings["times"][name] * len(examples) for name, examples in pairs.items()])
        rng = np.random.default_rng(seed)
        while True:
            if rng.random() < settings["extract"]:
                yield -1 - next(plain)
            else:
                which = int(rng.choice(len(sources), p=weights / weights.sum()))
                yield int(starts[which]) + next(sources[which])

    def make(index: int, rng: np.random.Generator) -> Example:
        if index < 0:
            passage = passages.sentences(-1 - index, settings["join"])
            passage = window(passage, int(rng.integers(*settings["window"])), rng)
            return extract_example(passage, settings["target_tokens"], 1)
        source, target = flat[index]
        limit = settings["long_source_tokens" if rng.random() < settings["long"] else "source_tokens"]
        return close([source[:-1]], limit), target

    return make, order()
