"""Documents as arrays: sentences, their ids, and how much each says of the rest."""

from __future__ import annotations

import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sentencepiece import SentencePieceProcessor

OFFSET = 103
"""What is added to a piece's number above 1: 103 ids are reserved after pad and eos."""

_STOP_WORDS = """
a about above after again against all am an and any are as at be because been before being below between
both but by can did do does doing don down during each few for from further had has have having he her
here hers herself him himself his how i if in into is it its itself just me more most my myself no nor not
now of off on once only or other our ours ourselves out over own s same she should so some such t than
that the their theirs them themselves then there these they this those through to too under until up very
was we were what when where which while who whom why will with you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that say nothing of what a sentence is about."""

# The authors split after [.!?] and white space, with no thought of abbreviations. Here a summary must be
# able to end where a sentence ends, so titles, initials and "U.S." do not close one.
_BOUNDARY = re.compile(
    r"(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bMrs)(?<!\bSen)(?<!\bRep)(?<!\bGov)(?<!\bGen)(?<!\bSec)"
    r"(?<!\bNo)(?<!\bJr)(?<!\bvs)(?<!\bSens)(?<!\bReps)(?<!\be\.g)(?<!\bi\.e)(?<!\b[A-Z])"
    r"[.!?]+[\"')\]”’]*\s+"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text in order, outer white space dropped."""
    pieces, start = [], 0
    for match in _BOUNDARY.finditer(text):
        pieces.append(text[start : match.end()].strip())
        start = match.end()
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]


def content_words(sentence: str) -> Counter[str]:
    """Lower-cased runs of a-z and 0-9 without stop words, counted (authors' sentence_selection.cc)."""
    words = re.findall(r"[a-z0-9]+", sentence.lower())
    return Counter(word for word in words if word not in STOP_WORDS)


def independent_scores(passage: Sequence[str]) -> list[float]:
    """ROUGE-1 F of each sentence against the rest of its passage: "Ind-Orig" of the paper."""
    counts = [content_words(sentence) for sentence in passage]
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return [f_measure(count, total - count) for count in counts]


def f_measure(count: Counter[str], reference: Counter[str]) -> float:
    """Harmonic mean of the shares of words that one has of the other; 0 where either is empty."""
    overlap = sum((count & reference).values())
    return 2 * overlap / (sum(count.values()) + sum(reference.values())) if overlap else 0.0


@dataclass(frozen=True)
class Passages:
    """Many passages in four flat arrays.

    ``ids`` are token ids; sentence ``i`` is ``ids[sentence_ends[i - 1]:sentence_ends[i]]`` and has
    ``scores[i]``; passage ``j`` is the sentences ``passage_ends[j - 1]`` to ``passage_ends[j]``.
    """

    ids: np.ndarray
    sentence_ends: np.ndarray
    scores: np.ndarray
    passage_ends: np.ndarray

    def __len__(self) -> int:
        return len(self.passage_ends)

    def sentences(self, index: int, count: int = 1) -> tuple[list[np.ndarray], np.ndarray]:
        """The ids of each sentence of a passage, or of ``count`` in a row, and the sentences' scores."""
        first = int(self.passage_ends[index - 1]) if index else 0
        last = int(self.passage_ends[min(index + count, len(self)) - 1])
        start = int(self.sentence_ends[first - 1]) if first else 0
        ends = self.sentence_ends[first:last]
        return np.split(self.ids[start : ends[-1]], ends[:-1] - start), self.scores[first:last]

    @classmethod
    def load(cls, files: Sequence[Path]) -> Passages:
        """Several saved files as one."""
        parts = [np.load(file) for file in files]
        columns: dict[str, list[np.ndarray]] = {name: [] for name in cls.__dataclass_fields__}
        ids = ends = 0
        for part in parts:
            columns["ids"].append(part["ids"])
            columns["scores"].append(part["scores"])
            columns["sentence_ends"].append(part["sentence_ends"] + ids)
            columns["passage_ends"].append(part["passage_ends"] + ends)
            ids, ends = ids + len(part["ids"]), ends + len(part["scores"])
        return cls(**{name: np.concatenate(column) for name, column in columns.items()})


def read(file: Path) -> Iterator[dict[str, object]]:
    """The records of one packed JSON Lines file."""
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def encode(pieces: SentencePieceProcessor, texts: Sequence[str]) -> list[np.ndarray]:
    """Token ids of each text, without eos."""
    return [
        np.where(np.array(row, np.int64) > 1, np.array(row, np.int64) + OFFSET, row).astype(np.uint16)
        for row in pieces.encode(list(texts))
    ]


def decode(pieces: SentencePieceProcessor, rows: Sequence[np.ndarray]) -> list[str]:
    """The texts of ids, what closes them left out."""
    plain = [np.where(row > 1, row.astype(np.int64) - OFFSET, row)[row > 1] for row in rows]
    return list(pieces.decode([row.tolist() for row in plain]))


def cut(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Runs of whole sentences of at most ``limit`` tokens; a longer sentence is left out."""
    start = total = 0
    for place, size in enumerate(sizes):
        if total + size > limit:
            if total:
                yield start, place
            start, total = (place, size) if size <= limit else (place + 1, 0)
        else:
            total += size
    if total:
        yield start, len(sizes)


def prepare(
    file: Path, pieces: SentencePieceProcessor, limit: int, share: float, seed: int, minimum: int = 4
) -> Passages:
    """One pre-training file as passages of ``minimum`` sentences or more.

    Args:
        file: packed JSON Lines with a ``text`` field.
        pieces: the vocabulary.
        limit: most tokens in a passage.
        share: share of the documents that is taken.
        seed: decides which.
        minimum: fewest sentences in a passage.
    """
    rng = random.Random(f"{seed} {file.name}")
    ids: list[np.ndarray] = []
    ends: list[int] = []
    scores: list[float] = []
    for record in read(file):
        if rng.random() >= share:
            continue
        document = sentences(str(record["text"]))
        encoded = encode(pieces, document)
        for start, stop in cut([len(row) for row in encoded], limit):
            if stop - start < minimum:
                continue
            ids += encoded[start:stop]
            scores += independent_scores(document[start:stop])
            ends.append(len(scores))
    return Passages(
        np.concatenate(ids),
        np.cumsum([len(row) for row in ids]).astype(np.int64),
        np.array(scores, np.float32),
        np.array(ends, np.int64),
    )
