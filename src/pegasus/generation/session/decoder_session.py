"""The session of every backend: asks to answers over a decoder, with the moving, editing and recording.

Axes are those of ``session.ask``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pegasus.generation.session.acceptance import (
    MORE,
    Askable,
    Together,
    askable,
    best_accepted,
    refuse_all,
)
from pegasus.generation.session.ask import Answer, Ask
from pegasus.generation.session.decoder import Decoder, Reading, Scores, Step
from pegasus.generation.session.edits import SHIFTLESS, SINGLE, edit, edit_and_keep, undo
from pegasus.generation.session.recording import Recorded, Records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pegasus.generation.session.ask import Edit


class DecoderSession:
    """A decoder, and what is true of all its rows so far.

    Args:
        decoder: reads and remembers. Where it remembers something already, the caller brought that along:
            it covers the first tokens of the prompt.
        to_native: makes the caller's arrays.
        to_host: and NumPy's of them.
        records: what is kept for the caller.
        use_cache: False reads all tokens again in each step.
        mask_RT: int64 [B or R, T], which tokens of the prompt may be looked at; None: all. What a search
            adds always may.
    """

    def __init__(
        self,
        decoder: Decoder,
        to_native: Callable[[np.ndarray], Any],
        to_host: Callable[[Any], np.ndarray],
        *,
        records: Records = Records(),  # noqa: B008 - frozen
        use_cache: bool = True,
        mask_RT: np.ndarray | None = None,
    ) -> None:
        self.decoder, self.to_native, self.to_host = decoder, to_native, to_host
        self.vocab_size, self.records, self.use_cache = decoder.vocab_size, records, use_cache
        self.recorded = Recorded(
            encoder_attentions=decoder.encoded.attentions,
            encoder_hidden_states=decoder.encoded.hidden_states,
        )
        self._mask_RT = None if mask_RT is None or (mask_RT != 0).all() else mask_RT
        self._rows: int | None = None
        #: Every row's tokens, where all are read in every step.
        self._tokens_RT: np.ndarray | None = None

    def step(self, ask: Ask) -> Answer:
        """Answers one ask."""
        with self.decoder.computing():
            reading = self._read(ask) if ask.tokens_RT.shape[1] else Reading()
            return self._answer(ask, reading)

    # -- reading -----------------------------------------------------------------------------------------

    def _read(self, ask: Ask) -> Reading:
        tokens_RT, keep = self._to_read(ask)
        reading = self.decoder.step(
            Step(
                tokens_RT=tokens_RT,
                parents_R=ask.parents_R,
                texts_B=ask.texts_B,
                keep=keep,
                positions=ask.positions,
                count=min(_count(ask), self.vocab_size),
                hidden=ask.hidden,
                mask_RT=self._mask(ask, keep + tokens_RT.shape[1]),
            )
        )
        self._rows = len(tokens_RT)
        if self.records.logits:
            self.recorded.logits.append(self.decoder.scores().copy())
        if self.records.attentions:
            self.recorded.attentions.append(reading.attentions)
            if reading.cross_attentions is not None:
                self.recorded.cross_attentions.append(reading.cross_attentions)
        if self.records.hidden_states:
            self.recorded.hidden_states.append(reading.hidden_states)
        if ask.hidden and not self.use_cache:
            assert reading.hidden_RTD is not None
            reading = replace(reading, hidden_RTD=reading.hidden_RTD[:, -ask.tokens_RT.shape[1] :])
        return reading

    def _to_read(self, ask: Ask) -> tuple[np.ndarray, int]:
        """The tokens that the decoder must read, and how many places it keeps."""
        new_RT = np.ascontiguousarray(ask.tokens_RT, dtype=np.int64)
        if not self.use_cache:
            self._tokens_RT = new_RT if self._tokens_RT is None else self._with_history(ask, new_RT)
            return self._tokens_RT, 0
        length = self.decoder.length
        if self._rows is None and length:
            # At least one token is read, as transformers does: there must be something to answer.
            return new_RT[:, min(length, new_RT.shape[1] - 1) :], length
        return new_RT, length if ask.keep is None else min(ask.keep, length)

    def _with_history(self, ask: Ask, new_RT: np.ndarray) -> np.ndarray:
        assert self._tokens_RT is not None
        return np.concatenate([_moved(self._tokens_RT, ask), new_RT], axis=1)

    def _mask(self, ask: Ask, length: int) -> np.ndarray | None:
        """Over all places after the step: what the search added is never masked."""
        if self._mask_RT is None:
            return None
        rows = len(ask.tokens_RT)
        if self._rows is None:
            mask_RT = np.repeat(self._mask_RT, rows // len(self._mask_RT), axis=0)
        else:
            mask_RT = _moved(self._mask_RT, ask)
        new_RT = np.ones((rows, max(0, length - mask_RT.shape[1])), dtype=mask_RT.dtype)
        self._mask_RT = np.concatenate([mask_RT, new_RT], axis=1)
        return self._mask_RT

    # -- answering ---------------------------------------------------------------------------------------

    def _answer(self, ask: Ask, reading: Reading) -> Answer:
        if ask.rows is None and not self.records.scores:
            scores = self.decoder.scores()
            # Nothing has to be copied for no edits, nor for such as are given back sooner.
            if not ask.edits or (scores.in_place and _are_single(ask)):
                return self._answer_in_place(scores, ask, reading)
        return self._answer_on_copy(ask, reading)

    def _answer_in_place(self, scores: Scores, ask: Ask, reading: Reading) -> Answer:
        # Of scores that nobody changed many backends have it already.
        shift = scores.logsumexp() if ask.scores == "log_probs" or not ask.edits else None
        edits, screens = _apart(ask.edits)
        undone = edit_and_keep(scores, edits)
        asked = askable(screens, scores.rows) if screens else None
        answer = self._read_off(scores, ask, scores.logsumexp() if shift is None else shift, reading, asked)
        undo(scores, undone)
        return answer

    def _answer_on_copy(self, ask: Ask, reading: Reading) -> Answer:
        scores = self.decoder.copied(ask.rows)
        if ask.scores == "log_probs":
            scores.log_softmax()
        edits, screens = _apart(ask.edits)
        edit(scores, edits, self.to_native)
        asked = askable(screens, scores.rows) if screens else None
        if asked is not None and (self.records.scores or ask.count is None):
            refuse_all(scores, asked, self.to_host)  # they are looked at one by one
        if self.records.scores:
            self._record(scores, ask)
        shift = scores.logsumexp() if ask.scores == "logits" else None
        return self._read_off(scores, ask, shift, reading, asked)

    def _read_off(
        self, scores: Scores, ask: Ask, shift: Any, reading: Reading, asked: Askable | None
    ) -> Answer:
        """What the ask wants to know of scores that all edits were made on."""
        also_RK = None if ask.also_RK is None else scores.gather(ask.also_RK, shift)
        count = scores.vocabulary if ask.count is None else min(ask.count, scores.vocabulary)
        if ask.count is None:
            values_NC = scores.whole(shift)
            tokens_NC = np.broadcast_to(np.arange(scores.vocabulary), values_NC.shape)
        elif asked is None:
            values_NC, tokens_NC = scores.best(count, shift)
        else:
            together = None
            if ask.sums_BM is not None and ask.rows is None and ask.positions == 1:
                together = Together(ask.sums_BM, ask.beams, ask.ends)
            values_NC, tokens_NC = best_accepted(scores, asked, count, shift, self.to_host, together)
        return Answer(values_NC, tokens_NC, also_RK, reading.hidden_RTD)

    def _record(self, scores: Scores, ask: Ask) -> None:
        """Keeps the scores of a step; of a search that asks about some rows at a time they are joined."""
        if ask.rows is None:
            self.recorded.scores.append(scores.copy())
            return
        if ask.tokens_RT.shape[1]:
            everything = (self.decoder.scores().rows, self.vocab_size)
            self.recorded.scores.append(np.zeros(everything, dtype=np.float32))
        self.recorded.scores[-1][ask.rows] = self.to_host(scores.copy())


def _moved(values_RT: np.ndarray, ask: Ask) -> np.ndarray:
    """What was kept of the rows' tokens, cut and reordered as the ask says."""
    kept_RT = values_RT if ask.keep is None else values_RT[:, : ask.keep]
    return kept_RT if ask.parents_R is None else kept_RT[ask.parents_R]


def _count(ask: Ask) -> int:
    """How many of the best tokens will be looked at; 0: not known, or all."""
    if not ask.count:
        return 0
    return ask.count + MORE if any(one.kind == "accept" for one in ask.edits) else ask.count


def _are_single(ask: Ask) -> bool:
    kinds = SHIFTLESS if ask.scores == "log_probs" else SINGLE
    edits, screens = _apart(ask.edits)
    if screens and ask.count is None:
        return False
    return all(one.tokens_N is not None and one.kind in kinds for one in edits)


def _apart(edits: Sequence[Edit]) -> tuple[Sequence[Edit], Sequence[Edit]]:
    """Edits that are made, and those that are asked once all others have been made."""
    screens = [one for one in edits if one.kind == "accept"]
    return ([one for one in edits if one.kind != "accept"], screens) if screens else (edits, ())
