"""The native library's decoder and scores as a session wants them.

Axes are those of ``generation.session``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from pegasus.generation.session import Reading, Step, log_softmax

if TYPE_CHECKING:
    from pegasus.backends.native import inference as native
    from pegasus.backends.packed.positions import Positions

_NOTHING = Reading()


class PackedScores:
    """Numbers inside the library; ``session.decoder.Scores`` describes each question.

    Args:
        scores: the library's.
        to_native: makes the caller's arrays.
    """

    in_place = True

    def __init__(self, scores: native.Scores, to_native: Callable[[np.ndarray], Any]) -> None:
        self.scores, self.to_native = scores, to_native
        self.rows, self.vocabulary = scores.rows, scores.vocabulary

    def places(self, rows_K: np.ndarray | None, tokens_K: np.ndarray) -> Any:
        """Rows and tokens, pair by pair, and the shape of what stands there."""
        if rows_K is not None:
            return rows_K, np.broadcast_to(tokens_K, rows_K.shape), rows_K.shape
        shape = (self.rows, len(tokens_K))
        return np.repeat(np.arange(self.rows), len(tokens_K)), np.tile(tokens_K, self.rows), shape

    def where(self, condition: Any, yes: Any, no: Any) -> np.ndarray:
        """One or the other."""
        return np.asarray(np.where(condition, yes, no))

    def get(self, places: Any) -> np.ndarray:
        """The numbers there, [K]; of tokens in every row [N, K]."""
        rows, tokens, shape = places
        return self.scores.get(rows, tokens).reshape(shape)

    def put(self, places: Any, values: Any) -> None:
        """Changes them."""
        rows, tokens, shape = places
        if not isinstance(values, float):
            values = np.broadcast_to(values, shape).reshape(-1)
        self.scores.put(rows, tokens, values)

    def array(self, values_K: np.ndarray) -> np.ndarray:
        """In float32."""
        return np.asarray(values_K, dtype=np.float32)

    def fill(self, rows_K: np.ndarray, value: float) -> None:
        """One number for whole rows."""
        self.scores.fill(rows_K, value)

    def take(self, rows_K: np.ndarray | None) -> Any:
        """A copy of some rows."""
        return self.to_native(np.array(self.scores.view()[_index(rows_K)]))

    def replace(self, rows_K: np.ndarray | None, values: Any) -> None:
        """Other numbers for whole rows."""
        self.scores.view()[_index(rows_K)] = np.asarray(values)
        self.scores.changed()

    def copy(self) -> Any:
        """A copy of all."""
        return self.to_native(self.scores.view().copy())

    def log_softmax(self, rows_K: np.ndarray | None = None) -> None:
        """Log-probabilities."""
        if rows_K is None:
            self.scores.log_softmax()
        else:
            self.replace(rows_K, log_softmax(self.scores.view()[rows_K]))

    def repair(self, rows_K: np.ndarray | None = None) -> None:
        """No NaN and no +∞."""
        most, rows = float(np.finfo(np.float32).max), self.scores.view()[_index(rows_K)]
        self.replace(rows_K, np.nan_to_num(rows, nan=0.0, posinf=most, neginf=-np.inf))

    def logsumexp(self) -> np.ndarray:
        """[N]; of scores that nobody changed it was found while they were made."""
        return self.scores.logsumexp()

    def best(self, count: int, shift: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The best tokens of each row, of equal ones the lower token first."""
        return self.scores.best(count, shift_K=shift)

    def gather(self, tokens_NK: np.ndarray, shift: Any = None) -> np.ndarray:
        """Some tokens of each row."""
        rows_K = np.repeat(np.arange(self.rows), tokens_NK.shape[1])
        found_NK = self.scores.get(rows_K, tokens_NK.reshape(-1)).reshape(tokens_NK.shape)
        return found_NK if shift is None else found_NK - shift[:, None]

    def whole(self, shift: Any = None) -> np.ndarray:
        """All of them."""
        return self.scores.view().copy() if shift is None else self.scores.view() - shift[:, None]


class PackedDecoder:
    """The library's decoder with its KV cache.

    Args:
        decoding: the library's.
        vocab_size: V.
        positions: the decoder's table, made longer when a text grows beyond it.
        to_native: makes the caller's arrays.
    """

    encoded = _NOTHING

    def __init__(
        self,
        decoding: native.Decoding,
        vocab_size: int,
        positions: Positions,
        to_native: Callable[[np.ndarray], Any],
    ) -> None:
        self.decoding, self.vocab_size = decoding, vocab_size
        self.positions, self.to_native = positions, to_native
        #: How many places each row remembers.
        self.length = 0

    def computing(self) -> AbstractContextManager[Any]:
        """Nothing is needed."""
        return nullcontext()

    def step(self, step: Step) -> Reading:
        """Reads tokens; a mask was refused when this was opened."""
        if not step.keep:
            self.positions.refuse_other_starts(step.tokens_RT[:, 0])
        after = step.keep + step.tokens_RT.shape[1]
        self.positions.reach(decoder=after)
        hidden_RTD = self.decoding.step(
            step.tokens_RT,
            step.parents_R,
            step.texts_B,
            step.keep if step.keep < self.length else None,
            step.positions,
            step.hidden,
        )
        self.length = after
        return _NOTHING if hidden_RTD is None else Reading(hidden_RTD)

    def scores(self) -> PackedScores:
        """The logits where they lie."""
        return PackedScores(self.decoding.scores(), self.to_native)

    def copied(self, rows_K: np.ndarray | None) -> PackedScores:
        """A copy of some rows of them."""
        return PackedScores(self.decoding.copied(rows_K), self.to_native)


def _index(rows_K: np.ndarray | None) -> Any:
    return slice(None) if rows_K is None else rows_K
