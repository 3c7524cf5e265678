"""Does a summary go round in circles? Repeated runs of words, and how well it compresses."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")
_RUN = 4
_MOST_REPEATED = 0.2
_MOST_INSISTENT = 0.15
_MOST_COMPRESSED = 2.4  # the threshold that Whisper takes for a loop
_SHORTEST_COMPRESSED = 200  # below, the compressor's own header decides


@dataclass(frozen=True)
class Repetition:
    """How repetitive a text is.

    Attributes:
        share: the part of its four-word runs that came before in it, 0 to 1.
        compression: length by compressed length.
        phrase: the run of words that comes most often, "" where none comes twice.
        times: how often it comes.
        weight: the part of the text that it takes, 0 to 1.
    """

    share: float
    compression: float
    phrase: str
    times: int
    weight: float

    @property
    def found(self) -> bool:
        """Whether a reader would be bothered."""
        insistent = self.times >= 3 and self.weight > _MOST_INSISTENT
        return insistent or self.share > _MOST_REPEATED or self.compression > _MOST_COMPRESSED

    @property
    def badness(self) -> tuple[bool, float, int]:
        """For comparing two texts: the greater is the more repetitive."""
        return self.found, self.share, self.times

    def __str__(self) -> str:
        if self.times > 1:
            return f"{self.phrase!r} comes {self.times} times"
        return f"the text compresses {self.compression:.1f} times"


def measure_repetition(text: str) -> Repetition:
    """Measure how repetitive a text is, in time linear in it."""
    words = _WORD.findall(text.lower())
    runs = Counter(zip(*(words[start:] for start in range(_RUN))))
    total = sum(runs.values())
    stutter = _stutter(words)
    phrase, times = max(
        [(" ".join(run), times) for run, times in runs.most_common(1)] + [stutter],
        key=lambda found: found[1],
    )
    share = 1 - len(runs) / total if total else 0.0
    weight = times * len(phrase.split()) / max(len(words), 1)
    return Repetition(share, _compression(text), phrase if times > 1 else "", times, weight)


def _stutter(words: Sequence[str]) -> tuple[str, int]:
    """Return the word that stands most often in a row ("very very very"), and how often."""
    best, held = ("", 0), 0
    for index, word in enumerate(words):
        held = held + 1 if index and word == words[index - 1] and not word.isdigit() else 1
        best = max(best, (word, held), key=lambda found: found[1])
    return best


def _compression(text: str) -> float:
    data = text.encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data)) if len(data) >= _SHORTEST_COMPRESSED else 1.0
