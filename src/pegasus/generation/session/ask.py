"""What a search wants to know next and what it is answered: ``Ask``, ``Edit``, ``Answer``, ``Session``.

Axes: B texts, M beams, R = B·M rows, C candidates, P positions, T tokens, N single changes, V vocabulary,
D model width. The rows of one text lie side by side: row r belongs to text r // (R / B).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from pegasus.generation.session.acceptance import Acceptance

EditKind = Literal[
    "ban", "only", "force", "add", "scale", "stretch", "repair", "normalize", "call", "accept"
]


@dataclass(frozen=True)
class Edit:
    """One change to the scores of some tokens, sparse. Edits are made in the order they are listed.

    ========= =================================================================================
    ban       the tokens get −∞
    only      in the rows named, every token that is not listed gets −∞
    force     in the rows named, the tokens listed get 0 and every other one −∞
    add       ``values`` are added (each row and token is listed once)
    scale     a negative score is multiplied by the value, any other divided by it
    stretch   score + |score| · (value − 1); −∞ stays −∞
    repair    NaN becomes 0 and +∞ the largest number; takes no tokens
    normalize log-softmax over the vocabulary; takes no tokens
    call      ``call(ids, scores) → scores``, with the device's own arrays; ``ids`` are ``ids_RT``
    accept    what ``accept`` refuses gets −∞, after all other edits; ``numbers_N`` are the numbers that the
              rows have there (None: their own); takes no tokens
    ========= =================================================================================

    ``rows_N`` and ``tokens_N`` go together pair by pair; ``rows_N`` None means each token in every row.
    Kinds that take no tokens may name the rows they are about; ``ids_RT`` then holds just these.
    When an ask is about P positions the rows are counted R·P, position after position within a row.
    """

    kind: EditKind
    tokens_N: np.ndarray | None = None
    rows_N: np.ndarray | None = None
    values_N: np.ndarray | None = None
    call: Callable[[Any, Any], Any] | None = None
    ids_RT: np.ndarray | None = None
    accept: Acceptance | None = None
    numbers_N: np.ndarray | None = None
    yields: bool = False
    """Whether a ban falls in a row where nothing that is not banned so could finish a word."""


@dataclass(frozen=True)
class Ask:
    """What a search wants to know next."""

    tokens_RT: np.ndarray
    """The tokens each row reads: the prompt at first, then one, or several to be verified. No columns
    (T = 0): nothing new is read, the question is about the last place again."""
    parents_R: np.ndarray | None = None
    """Whose memory each row carries on, as an index into the rows of the ask before; None: its own."""
    texts_B: np.ndarray | None = None
    """Which of the session's texts remain, as indices into those that it holds; None: all of them. It comes
    together with ``parents_R``, whose rows are then all of these texts."""
    edits: Sequence[Edit] = ()
    """Changes to the scores, in order."""
    count: int | None = 1
    """C, how many of the best tokens are wanted; None: all V, in the order of the vocabulary."""
    scores: Literal["logits", "log_probs"] = "logits"
    """Whether the edits are made on raw logits or on log-probabilities (beam search in transformers)."""
    positions: int = 1
    """P, how many of the last tokens read are to be continued, each on its own."""
    keep: int | None = None
    """How many positions of its memory a row keeps before it reads (rejected drafts are forgotten)."""
    rows: np.ndarray | None = None
    """The rows asked about; the answer holds just these. None: all."""
    also_RK: np.ndarray | None = None
    """Tokens whose scores are wanted whatever their rank."""
    hidden: bool = False
    """Whether the last hidden states of the tokens read are wanted."""
    sums_BM: np.ndarray | None = None
    """What is added to the scores of each row before those of one text are compared. Where it is given only
    the C best of each *text* are wanted: what cannot be among them may have −∞ in the answer, and that may
    hold more than C of each row."""
    beams: int = 1
    """Where ``sums_BM`` is given: M. In the first step a text may have a single row that stands for all."""
    ends: frozenset[int] | None = None
    """Where ``sums_BM`` is given: the tokens that end a row. With them only as many of the best of a text
    are wanted as bring M that do not end, and behind those the answer need not be right."""


@dataclass(frozen=True)
class Answer:
    """What the device found. With P positions the rows are R·P, position after position within a row."""

    log_probs_RC: np.ndarray
    """float32, best first. After edits on logits they are normalized again, after edits on
    log-probabilities they are not (as transformers does)."""
    tokens_RC: np.ndarray
    """int64, which token each of them is."""
    also_RK: np.ndarray | None = None
    """The scores of the tokens in ``Ask.also_RK``."""
    hidden_RTD: np.ndarray | None = None
    """float32, when ``Ask.hidden``."""


class Session(Protocol):
    """What a device can do: read tokens, remember, say what is likely next.

    It raises ``NotOffered`` for an optional part of an ask that it cannot fill.
    """

    vocab_size: int

    def step(self, ask: Ask) -> Answer:
        """Answers one ask."""
        ...
