"""A search, and what it finds.

Axes are those of ``session.ask``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from pegasus.generation.session.ask import Answer, Ask


@dataclass(frozen=True)
class Hypotheses:
    """What a search found: N = B · returned sequences, those of one text side by side, best first."""

    sequences_NT: np.ndarray
    """int64, the prompt, then what was said, EOS where it was said, then padding."""
    lengths_N: np.ndarray
    """How many tokens of each row are not padding."""
    scores_N: np.ndarray
    """float32, the score that ranked it (normalized by length in beam search)."""
    finished_N: np.ndarray
    """Whether it ended in EOS (else at a limit)."""
    beams_NT: np.ndarray | None = None
    """Which row (text · M + beam) said each new token; −1 after the end."""
    filtered: Sequence[np.ndarray] = ()
    """Per step the scores [R, V] that tokens were drawn from, when sampling was recorded."""
    meant: Sequence[np.ndarray] = ()
    """Per recorded step the rows that were followed, when the session had more (contrastive search)."""
    taken: Sequence[int] = ()
    """Per recorded step how many places were followed, when there were several (drafting)."""
    guessed: Sequence[int] = ()
    """Per recorded step how many guesses were read with it (drafting)."""

    def with_scores(self, filtered: Sequence[np.ndarray]) -> Hypotheses:
        """The same with recorded scores."""
        return replace(self, filtered=filtered)


class Search(Protocol):
    """What a strategy decides."""

    def ask(self) -> Ask | None:
        """The next question, or None when nothing is left to ask."""
        ...

    def update(self, answer: Answer) -> None:
        """Takes in the answer to the last question."""
        ...

    def drop(self, texts: Sequence[int]) -> None:
        """Goes on without these of the texts that it began with: each ends where it stands.

        Raises:
            NotOffered: this strategy keeps all its texts.
        """
        ...

    def result(self) -> Hypotheses:
        """What was found."""
        ...
