"""What ROUGE does not see: how long a summary is, how new its words, how repetitive, how much it copies."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

_APART = re.compile(r"[^a-z0-9]+")


def words_of(text: str) -> list[str]:
    """Return the words as ROUGE sees them, without stemming: runs of ASCII letters and digits,
    lower-cased.
    """
    return _APART.sub(" ", text.lower()).split()


def measure(document: str, summary: str) -> dict[str, float]:
    """Return every measure of one summary.

    The keys: `characters`, `words`, `compression` (words of the document for one of the summary), `new1` to
    `new3` (share of its n-grams that are not in the document), `regs1` to `regs3` and `tcr` (repetition),
    `coverage`, `density` and `normalized_density` (copying).
    """
    source, said, plain = words_of(document), words_of(summary), summary.split()
    fragments = copied_fragments(source, said)
    return {
        "characters": len(summary),
        "words": len(plain),
        "compression": len(document.split()) / len(plain) if plain else 0.0,
        **{f"new{size}": novelty(source, said, size) for size in (1, 2, 3)},
        **{f"regs{size}": repeated_share(plain, size) for size in (1, 2, 3)},
        "tcr": consecutive_repeats(plain)[1],
        **extractiveness(fragments, len(said)),
    }


def means(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each measure over rows."""
    listed = list(rows)
    return {name: float(np.mean([row[name] for row in listed])) for name in listed[0]} if listed else {}


def novelty(source: Sequence[str], said: Sequence[str], size: int) -> float:
    """Return the share of what is said, in runs of `size` words, that the source does not have; 0 of
    nothing.
    """
    grams = list(_grams(said, size))
    known = set(_grams(source, size))
    return sum(gram not in known for gram in grams) / len(grams) if grams else 0.0


def repeated_share(words: Sequence[str], size: int) -> float:
    """Return the share of the runs of `size` words that come more than once (regs); 0 of nothing."""
    counts = Counter(_grams(words, size))
    total = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / total if total else 0.0


def consecutive_repeats(words: Sequence[str]) -> tuple[float, float]:
    """Return how much of a text is the same run of words again and again.

    Returns:
        the longest stretch in which a run is said twice or more in a row (LCR), and all such stretches
        together, counted once where they overlap (TCR); both as shares of the words.
    """
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    ids = np.array([numbers[word] for word in words])
    covered = np.zeros(len(ids), bool)
    longest = 0
    for size in range(1, len(ids) // 2 + 1):
        for start, length in _runs(ids[size:] == ids[:-size]):
            if length >= size:
                covered[start : start + length + size] = True
                longest = max(longest, (length + size) // size * size)
    return (longest / len(ids), float(covered.mean())) if len(ids) else (0.0, 0.0)


def copied_fragments(source: Sequence[str], said: Sequence[str]) -> list[int]:
    """Return the lengths of what is copied: from each place the longest run that the source has, then
    on.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(source):
        places[word].append(place)
    lengths, start = [], 0
    while start < len(said):
        longest = 0
        for place in places.get(said[start], ()):
            length = 1
            while (
                start + length < len(said)
                and place + length < len(source)
                and said[start + length] == source[place + length]
            ):
                length += 1
            longest = max(longest, length)
        if longest:
            lengths.append(longest)
        start += max(longest, 1)
    return lengths


def extractiveness(fragments: Sequence[int], words: int) -> dict[str, float]:
    """Return coverage, density and normalized density (Grusky et al. 2018) from lengths of copied
    fragments.
    """
    squares = sum(length * length for length in fragments)
    return {
        "coverage": sum(fragments) / words if words else 0.0,
        "density": squares / words if words else 0.0,
        "normalized_density": squares / words**2 if words else 0.0,
    }


def _grams(words: Sequence[str], size: int) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(size)))


def _runs(flags: np.ndarray) -> Iterable[tuple[int, int]]:
    """Where flags are true in a row: starts and lengths."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), (edges[1::2] - edges[::2]).tolist())
