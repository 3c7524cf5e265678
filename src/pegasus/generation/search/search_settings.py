"""Everything a search must be told, settled once, in one frozen record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pegasus.generation.processors.logits_processors import LogitsProcessors
from pegasus.generation.search.finished_hypotheses import EarlyStopping

#: Is told the tokens of all rows, [R, T], after each step; True: stop here.
Listener = Callable[[np.ndarray], bool]


@dataclass(frozen=True)
class SearchSettings:
    """What a search must be told. Lengths count the prompt."""

    max_length: int
    """No row gets longer than this many tokens."""
    eos: tuple[int, ...] = ()
    """The tokens that end a sequence; the first of them is written."""
    pad: int = 0
    """What is written after the end."""
    beams: int = 1
    """M, rows per text."""
    groups: int = 1
    """Into how many groups the beams are divided."""
    returned: int = 1
    """Sequences returned per text."""
    length_penalty: float = 1.0
    """The exponent of length normalization."""
    length_normalization: Literal["transformers", "authors"] = "transformers"
    """How scores are divided by a function of the length."""
    early_stopping: EarlyStopping = False
    """When a text is done: True, False or "never"."""
    diversity_penalty: float = 0.0
    """Taken from the scores of tokens that earlier groups chose in the same step."""
    processors: LogitsProcessors = field(default_factory=LogitsProcessors)
    """What may not or must be said."""
    listeners: Sequence[Listener] = ()
    """Told of every step; any of them may stop the search."""
    record_scores: bool = False
    """Keep the scores of every step, after filters."""
    seed: int = 0
    """What chance starts from."""
    all_rows: bool = False
    """Keep every row from the first step to the last (for those who record or watch rows)."""

    def is_eos(self, tokens: np.ndarray) -> np.ndarray:
        """Which tokens end a sequence."""
        if len(self.eos) == 1:
            return np.asarray(tokens == self.eos[0])
        return np.isin(tokens, self.eos)

    def notify(self, ids_RT: Callable[[], np.ndarray]) -> bool:
        """Tells the listeners; whether one of them wants to stop."""
        if not self.listeners:
            return False
        ids = ids_RT()
        answers = [listener(ids) for listener in self.listeners]
        return any(answers)


#: Why a text cannot leave a search before its end.
WATCHED = "rows that are recorded or watched stay to the end: leave that out, or cancel the whole call."

#: A text that is done is dropped from the session once this share of its texts can go: dropping copies
#: the memory of those that stay, so it is done rarely, and not for one text in thirty.
DROP_SHARE = 0.25


def worth_dropping(done_B: np.ndarray) -> bool:
    """Whether so many texts are done that the others should move together."""
    return bool(done_B.sum() >= max(1, DROP_SHARE * len(done_B))) and not bool(done_B.all())
