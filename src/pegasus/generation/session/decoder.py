"""What a session asks of a backend: a decoder that reads and remembers, and the scores that it leaves.

Axes are those of ``session.ask``; K is a number of single places, D the model's width. Arrays named
``native`` are the backend's own, wherever they lie; all others are NumPy's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Step:
    """What the rows of a decoder read next.

    The decoder does, in this order: cut every row's memory to ``keep`` places; let each row carry on the
    memory of its parent; drop the texts that are not named; read.
    """

    tokens_RT: np.ndarray
    """int64, T at least 1: what each row reads, at the places ``keep`` to ``keep + T``."""
    parents_R: np.ndarray | None
    """Whose memory each row carries on, as an index into the rows of the step before; None: its own. A row
    comes from a row of its own text, and there may be more or fewer rows a text than before."""
    texts_B: np.ndarray | None
    """Which of the texts remain, as indices into those that it holds; None: all of them."""
    keep: int
    """How many places of its memory a row keeps; at most ``Decoder.length``, and that almost always."""
    positions: int
    """P, of how many of the last tokens the scores are wanted."""
    count: int
    """How many of the best tokens of each place will be asked for; 0: not known, or all. A decoder that
    finds them while it computes may keep them for ``Scores.best``; others need not look at it."""
    hidden: bool
    """Whether the last hidden states of the tokens are wanted."""
    mask_RT: np.ndarray | None
    """int64 [R, keep + T], 0 for a token that no other may look at; None: all may be looked at."""


@dataclass(frozen=True)
class Reading:
    """What a step gave beside the scores; None where it was not asked for."""

    hidden_RTD: np.ndarray | None = None
    """float32, the last hidden states, after the final norm."""
    attentions: Any = None
    """One native array a layer, [R, H, T, keep + T]."""
    cross_attentions: Any = None
    """One native array a layer, [R, H, T, S]."""
    hidden_states: Any = None
    """Native: the embeddings, then one array a layer, [R, T, D]."""


class Scores(Protocol):
    """Numbers [N, V] on the device, N = R · P: position after position within a row.

    They are changed where they lie: a backend whose arrays cannot be changed puts new ones in their place.
    ``HostScores`` is all of this for a NumPy array, for backends whose numbers are on the host anyway.
    """

    @property
    def rows(self) -> int:
        """N."""
        ...

    @property
    def vocabulary(self) -> int:
        """V."""
        ...

    @property
    def in_place(self) -> bool:
        """Whether single numbers are changed and given back sooner than all are copied."""
        ...

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        """The backend's own ``numpy.where``."""
        ...

    def places(self, rows_K: np.ndarray | None, tokens_K: np.ndarray) -> Any:
        """Single numbers, pair by pair, in whatever form ``get`` and ``put`` like best.

        Rows None: these tokens in every row, [N, K].
        """
        ...

    def get(self, places: Any) -> Any:
        """Those numbers, native: [K] or [N, K]. A copy."""
        ...

    def put(self, places: Any, values: Any) -> None:
        """Changes those numbers; where a place comes twice the last one counts.

        Args:
            places: from ``places``.
            values: native, [K] or [N, K], or one number for all.
        """
        ...

    def array(self, values_K: np.ndarray) -> Any:
        """Numbers of the host as the backend's, float32."""
        ...

    def fill(self, rows_K: np.ndarray, value: float) -> None:
        """One number for all tokens of some rows."""
        ...

    def take(self, rows_K: np.ndarray | None) -> Any:
        """Some rows (None: all) as a native array [K, V], which may be written to; ``replace`` takes it.

        Native is what the caller of ``generate`` gets and gives: it goes to a function of his.
        """
        ...

    def replace(self, rows_K: np.ndarray | None, values: Any) -> None:
        """Other numbers in the place of some rows (None: all)."""
        ...

    def copy(self) -> Any:
        """A copy as a native array [N, V], to be kept for the caller."""
        ...

    def log_softmax(self, rows_K: np.ndarray | None = None) -> None:
        """Makes log-probabilities of some rows (None: all)."""
        ...

    def repair(self, rows_K: np.ndarray | None = None) -> None:
        """NaN becomes 0 and +∞ the largest number of float32, in some rows (None: all)."""
        ...

    def logsumexp(self) -> Any:
        """log Σ exp of each row as it is now, in whatever form the questions below take as ``shift``."""
        ...

    def best(self, count: int, shift: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The ``count`` best tokens of each row, best first, of equal ones the lower token first.

        Returns:
            float32 [N, count], the numbers less the shift, and int64 [N, count], which tokens they are.
        """
        ...

    def gather(self, tokens_NK: np.ndarray, shift: Any = None) -> np.ndarray:
        """float32 [N, K]: the numbers of these tokens of each row, less the shift."""
        ...

    def whole(self, shift: Any = None) -> np.ndarray:
        """float32 [N, V]: all numbers less the shift, a copy."""
        ...


class Decoder(Protocol):
    """A decoder of some backend, over the texts of one call of ``generate``.

    It holds keys and values of self-attention once a row, those of cross-attention once a text. What moves,
    what is masked, what is edited and what is recorded is settled before it is asked.
    """

    @property
    def vocab_size(self) -> int:
        """V."""
        ...

    @property
    def length(self) -> int:
        """How many places each row remembers."""
        ...

    @property
    def encoded(self) -> Reading:
        """The encoder's attentions and hidden states of every layer, where they are to be recorded."""
        ...

    def computing(self) -> AbstractContextManager[Any]:
        """What must be in force while an ask is answered (PyTorch: no gradients), or ``nullcontext()``."""
        ...

    def step(self, step: Step) -> Reading:
        """Reads tokens and leaves the scores of the last ``positions`` places on the device."""
        ...

    def scores(self) -> Scores:
        """The logits of the last step where they lie, float32. Good until the next step."""
        ...

    def copied(self, rows_K: np.ndarray | None) -> Scores:
        """Some rows (None: all) of them, to be changed freely."""
        ...
