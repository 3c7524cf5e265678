"""A session over packed weights: the contract of ``generation.session``, held by an engine.

Axes are those of ``generation.session``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pegasus.backends.packed.edits import SHIFTLESS, SINGLE, edit_any, edit_single, undo
from pegasus.generation.request import Recorded, Records
from pegasus.generation.session import Answer, Ask

if TYPE_CHECKING:
    from pegasus.backends.packed.engine import Decoding, Scores
    from pegasus.backends.packed.positions import Positions

_NO_SHIFT = np.float32(0)


class PackedSession:
    """A decoder with its memory.

    Args:
        decoding: who computes.
        vocab_size: V.
        positions: the decoder's table, made longer when a text grows beyond it.
        records: what is kept for the caller; attentions and hidden states are not offered here.
        to_native: the arrays that the caller's functions and records are made of.
    """

    def __init__(
        self,
        decoding: Decoding,
        vocab_size: int,
        positions: Positions,
        records: Records,
        to_native: Callable[[np.ndarray], Any],
    ) -> None:
        self.decoding, self.vocab_size, self.positions = decoding, vocab_size, positions
        self.records, self.to_native = records, to_native
        self.recorded = Recorded()

    def step(self, ask: Ask) -> Answer:
        """Answers one ask."""
        hidden_RTD = None
        new = ask.tokens_RT.shape[1]
        if new:
            kept = self.decoding.length if ask.keep is None else ask.keep
            self.positions.reach(decoder=kept + new)
            hidden_RTD = self.decoding.step(
                ask.tokens_RT, ask.parents_R, ask.texts_B, ask.keep, ask.positions, ask.hidden
            )
        if self._is_light(ask):
            return self._answer_in_place(ask, hidden_RTD)
        return self._answer_on_copy(ask, hidden_RTD)

    def _is_light(self, ask: Ask) -> bool:
        """Whether all edits are of single numbers that can be given back, so that nothing is copied."""
        kinds = SHIFTLESS if ask.scores == "log_probs" else SINGLE
        single = all(one.tokens_N is not None and one.kind in kinds for one in ask.edits)
        return single and ask.rows is None and not self.records.scores

    def _answer_in_place(self, ask: Ask, hidden_RTD: np.ndarray | None) -> Answer:
        scores = self.decoding.scores()
        before_N = scores.logsumexp() if ask.scores == "log_probs" or not ask.edits else None
        undone = edit_single(scores, ask.edits)
        answer = _read_off(scores, ask, scores.logsumexp() if before_N is None else before_N, hidden_RTD)
        undo(scores, undone)
        return answer

    def _answer_on_copy(self, ask: Ask, hidden_RTD: np.ndarray | None) -> Answer:
        scores = self.decoding.copied(ask.rows)
        if ask.scores == "log_probs":
            scores.log_softmax()
        edit_any(scores, ask.edits, self.to_native)
        if self.records.scores:
            self._record(scores.view(), ask)
        return _read_off(scores, ask, scores.logsumexp() if ask.scores == "logits" else None, hidden_RTD)

    def _record(self, scores_NV: np.ndarray, ask: Ask) -> None:
        if ask.rows is None:
            self.recorded.scores.append(self.to_native(scores_NV.copy()))
            return
        if ask.tokens_RT.shape[1]:
            self.recorded.scores.append(self.to_native(np.zeros_like(self.decoding.scores().view())))
        np.asarray(self.recorded.scores[-1])[ask.rows] = scores_NV


def _read_off(
    scores: Scores, ask: Ask, shift_N: np.ndarray | None, hidden_RTD: np.ndarray | None
) -> Answer:
    """What the ask wants to know of scores that all edits were made on."""
    shift_N1 = _NO_SHIFT if shift_N is None else shift_N[:, None]
    also_RK = None
    if ask.also_RK is not None:
        rows_K = np.repeat(np.arange(scores.rows), ask.also_RK.shape[1])
        also_RK = scores.get(rows_K, ask.also_RK.reshape(-1)).reshape(ask.also_RK.shape) - shift_N1
    if ask.count is None:
        view_NV = scores.view()
        return Answer(
            view_NV - shift_N1,
            np.broadcast_to(np.arange(view_NV.shape[1]), view_NV.shape),
            also_RK,
            hidden_RTD,
        )
    values_NC, tokens_NC = scores.best(min(ask.count, scores.view().shape[1]), shift_K=shift_N)
    return Answer(values_NC, tokens_NC, also_RK, hidden_RTD)
