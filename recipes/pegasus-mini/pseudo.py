"""What the teacher writes of many sources, as targets for a smaller model.

Sources lie in sets, those of the pairs and "passages" of the pre-training text. Their targets are written
some thousand at a time, a file for each, so that a run that is stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pairs import EOS, Known, Pairs, borne_out
from passages import Passages, decode, encode
from scales import Settings
from sentencepiece import SentencePieceProcessor

from pegasus import Summary
from pegasus.summarizer.repetition import measure_repetition

Write = Callable[[list[str]], list[Summary]]
PREFIX = "teacher/"
"""What the name of a set begins with where the targets are the teacher's."""


@dataclass(frozen=True)
class Sources:
    """A set: the ids of each source, and which of them the teacher is given."""

    name: str
    source: Callable[[int], np.ndarray]
    numbers: Sequence[int]

    def parts(self, size: int) -> Iterator[tuple[int, Sequence[int]]]:
        """The numbers of the sources, ``size`` at a time, and the number of each such part."""
        for part, start in enumerate(range(0, len(self.numbers), size)):
            yield part, self.numbers[start : start + size]


def of_pairs(name: str, pairs: Pairs) -> Sources:
    """All sources of a set of pairs."""
    return Sources(name, lambda number: pairs[number][0], range(len(pairs)))


def of_passages(passages: Passages, count: int, seed: int) -> Sources:
    """So many passages of the pre-training text, whole ones."""

    def source(number: int) -> np.ndarray:
        return np.append(np.concatenate(passages.sentences(number)[0]), EOS)

    drawn = np.random.default_rng([seed, count]).permutation(len(passages))[:count]
    return Sources("passages", source, drawn.tolist())


def write(
    sources: Sources,
    numbers: Sequence[int],
    teacher: Write,
    pieces: SentencePieceProcessor,
    settings: Settings,
) -> Pairs:
    """Pairs of the sources with these numbers, without those of which the teacher wrote nothing good."""
    rows = [sources.source(number) for number in numbers]
    texts = decode(pieces, rows)
    kept: list[np.ndarray] = []
    for row, text, summary in zip(rows, texts, teacher(texts), strict=True):
        target = good(summary, text, pieces, settings)
        if target:
            kept += [row, np.append(encode(pieces, [target])[0], EOS)]
    ids = np.concatenate(kept) if kept else np.zeros(0)
    return Pairs(ids.astype(np.uint16), np.cumsum([len(row) for row in kept], dtype=np.int64))


def good(summary: Summary, source: str, pieces: SentencePieceProcessor, settings: Settings) -> str:
    """The leading sentences of a summary that its source bears out.

    Nothing is left of one that was cut at the greatest length or goes round in circles.
    """
    if summary.finish_reason == "length" or measure_repetition(summary.text).found:
        return ""
    return borne_out(summary.text, Known(source), pieces, settings, settings["sentences"])


def file_of(folder: Path, name: str, part: int, teacher: str) -> Path:
    """Where a part lies; the name tells by the beginning of its hash which teacher wrote it."""
    return folder / f"{name}-{part:03d}-{teacher[:8]}.npz"


def read(folder: Path, sets: Sequence[Sources], size: int, teacher: str) -> Mapping[str, Pairs]:
    """All that a teacher wrote, by the sets' names with ``PREFIX`` before them.

    Raises:
        FileNotFoundError: a part is not there yet.
    """
    found = {}
    for sources in sets:
        files = [file_of(folder, sources.name, part, teacher) for part, _ in sources.parts(size)]
        found[PREFIX + sources.name] = joined([Pairs.load(file) for file in files])
    return found


def joined(several: Sequence[Pairs]) -> Pairs:
    """Pairs behind each other."""
    starts = np.cumsum([0, *(len(pairs.ids) for pairs in several)])
    ends = [pairs.ends + start for pairs, start in zip(several, starts, strict=False)]
    return Pairs(np.concatenate([pairs.ids for pairs in several]), np.concatenate(ends))
