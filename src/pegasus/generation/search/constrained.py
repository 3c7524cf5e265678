"""Constrained beam search: every summary contains what it must.

Post and Vilar 2018, with the decisions of transformers 4.34: hypotheses that bring a constraint on are put
beside the best ones, and places are shared out in turn among those equally far along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pegasus.errors import BadSetting, NotOffered
from pegasus.generation.constraints import (
    Constraint,
    DisjunctiveConstraint,
    PhrasalConstraint,
    Progress,
)
from pegasus.generation.search.beam import Beam
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import Answer, Ask, Hypotheses


def constraints_for(settings: Any) -> list[Any]:
    """The constraints of a call: those given, and one for each entry of ``force_words_ids``.

    Raises:
        BadSetting: an entry that is neither a phrase nor a list of phrases, or no beams.
    """
    constraints = list(settings.constraints or [])
    for word in settings.force_words_ids or []:
        nested = isinstance(word, list | tuple) and len(word) > 0 and isinstance(word[0], list | tuple)
        constraints.append(DisjunctiveConstraint(word) if nested else PhrasalConstraint(word))
    if not constraints:
        raise BadSetting(
            "force_words_ids and constraints are empty: leave them out, or say what must be said."
        )
    if settings.num_beams < 2:
        raise BadSetting("constraints need beams to choose among: set num_beams to 2 or more.")
    return constraints


class ConstrainedBeam(Beam):
    """Beam search in which a hypothesis may end only when all constraints are fulfilled.

    Args:
        prompt_BT: what each text's decoder starts from.
        search_settings: the settings.
        constraints: what must be said.
        hold: whether a hypothesis that has fulfilled everything keeps a place until it ends. 4.34 does not
            hold it: it is lost when others are likelier.
        numbers_B: what processors call the texts.
    """

    def __init__(
        self,
        prompt_BT: np.ndarray,
        search_settings: SearchSettings,
        constraints: Sequence[Constraint],
        hold: bool = False,
        numbers_B: np.ndarray | None = None,
    ) -> None:
        super().__init__(prompt_BT, replace(search_settings, all_rows=True), numbers_B)
        self.hold, self.start = hold, Progress(constraints)
        #: How far each row of the session has come, and the tokens that would bring it on.
        self.progress_R = [self._after(row) for row in self.history.prompt_RT.tolist()]
        self._advance_R: list[list[int]] = []
        self._also_BMK = np.zeros((0, 0, 0), dtype=np.float32)
        self._was_done_B = self.done_B

    def fulfilled(self, tokens: Sequence[int]) -> bool:
        """Whether a sequence says all that must be said."""
        return self._after(tokens).completed

    def ask(self) -> Ask | None:
        """The best continuations, and the scores of those that bring constraints on."""
        ask = super().ask()
        if ask is None:
            return None
        self._advance_R = [self._wanted(progress) for progress in self.progress_R]
        width = max(1, max(len(tokens) for tokens in self._advance_R))
        also_RK = np.array([tokens + [0] * (width - len(tokens)) for tokens in self._advance_R])
        return replace(ask, also_RK=also_RK)

    def update(self, answer: Answer) -> None:
        """As in beam search, after noting the scores of what brings constraints on."""
        assert answer.also_RK is not None, "the session must answer also_RK"
        also_BMK = answer.also_RK.reshape(len(self.texts_B), self.search_settings.beams, -1)
        self._also_BMK = also_BMK + self.sums_BM[:, :, None]
        if self.hold:
            self._note_held(answer)
        super().update(answer)

    def _after(self, tokens: Sequence[int]) -> Progress:
        progress = self.start
        for token in tokens:
            progress = progress.after(token)
        return progress

    def _wanted(self, progress: Progress) -> list[int]:
        """What would bring a row on; held rows only want to end."""
        if progress.completed and self.hold:
            return list(self.search_settings.eos[:1])
        return progress.advance()

    def _note_held(self, answer: Answer) -> None:
        """Lets held rows end whatever their rank, and otherwise go on with their best word."""
        beams = self.search_settings.beams
        for row, progress in enumerate(self.progress_R):
            if not progress.completed:
                continue
            text, beam = divmod(row, beams)
            if self.search_settings.eos and not self.done_B[text]:
                total = np.array([[self._also_BMK[text, beam, 0]]])
                self._offer_end(text, row, total)
            place = int(np.argmin(self.search_settings.is_eos(answer.tokens_RC[row])))
            self._advance_R[row] = [int(answer.tokens_RC[row, place])]
            self._also_BMK[text, beam, 0] = answer.log_probs_RC[row, place] + self.sums_BM[text, beam]

    def _offer_end(self, text: int, row: int, total: np.ndarray) -> None:
        where = (self.history.steps, self.history.length)
        self.finished.add(
            self.texts_B[[text]], np.isfinite(total), total, np.array([[row]]), *where, ended=True
        )

    def _add_finished(self, ends_BK: np.ndarray, sums_BK: np.ndarray, rows_BK: np.ndarray) -> None:
        completed_R = np.array([progress.completed and not self.hold for progress in self.progress_R])
        super()._add_finished(ends_BK & completed_R[rows_BK], sums_BK, rows_BK)

    def _close(self, best_B: np.ndarray) -> None:
        self._was_done_B = self.done_B.copy()
        super()._close(best_B)

    def _move(self, parents_BM: np.ndarray, tokens_BM: np.ndarray) -> None:
        progress_R = []
        for text in range(len(parents_BM)):
            if self._was_done_B[text]:
                first = text * self.search_settings.beams
                progress_R += self.progress_R[first : first + self.search_settings.beams]
            else:
                progress_R += self._share_out(text, parents_BM[text], tokens_BM[text])
        self.progress_R = progress_R
        super()._move(parents_BM, tokens_BM)

    def _share_out(self, text: int, parents_M: np.ndarray, tokens_M: np.ndarray) -> list[Progress]:
        """Gives the places of one text to its best continuations and to those that bring constraints on."""
        beams = self.search_settings.beams
        rows, tokens = parents_M.tolist(), tokens_M.tolist()
        sums = self.sums_BM[text].tolist()
        known = {(self._said(row), token) for row, token in zip(rows, tokens)}
        for beam in range(beams):
            row = text * beams + beam
            for place, token in enumerate(self._advance_R[row]):
                if (self._said(row), token) not in known:
                    known.add((self._said(row), token))
                    rows.append(row)
                    tokens.append(token)
                    sums.append(float(self._also_BMK[text, beam, place]))
        progress = [self.progress_R[row].after(token) for row, token in zip(rows, tokens)]
        if len(rows) == beams:
            return progress
        chosen = _in_turn(np.array([one.bank for one in progress]), np.array(sums, dtype=np.float32))[
            :beams
        ]
        parents_M[:], tokens_M[:] = np.array(rows)[chosen], np.array(tokens)[chosen]
        self.sums_BM[text] = np.array(sums, dtype=np.float32)[chosen]
        return [progress[place] for place in chosen]

    def _said(self, row: int) -> bytes:
        return bytes(self.history.ids_RT[row].tobytes())

    def _add_open(self, open_B: np.ndarray) -> None:
        """Adds what fulfils the constraints, and others only where there is too little of that."""
        beams = self.search_settings.beams
        for text in np.flatnonzero(open_B).tolist():
            rows_M = text * beams + np.arange(beams)
            fits_M = np.array([self.progress_R[row].completed for row in rows_M])
            self._offer(text, fits_M)
            if fits_M.sum() < self.search_settings.returned:
                self._offer(text, ~fits_M)

    def _offer(self, text: int, offers_M: np.ndarray) -> None:
        rows_1M = (text * self.search_settings.beams + np.arange(self.search_settings.beams))[None]
        bank, where = self.texts_B[[text]], (self.history.steps, self.history.length)
        self.finished.add(bank, offers_M[None], self.sums_BM[[text]], rows_1M, *where, ended=False)


class Constrained:
    """Constrained search that keeps its word.

    First the search of transformers 4.34. Texts of which it returns something without what must be said
    are searched again, with fulfilled hypotheses held; then every summary that has room says what it must,
    unless a processor forbids just that.

    Args:
        prompt_BT: what each text's decoder starts from.
        search_settings: the settings.
        constraints: what must be said.
    """

    def __init__(
        self, prompt_BT: np.ndarray, search_settings: SearchSettings, constraints: Sequence[Constraint]
    ) -> None:
        self.prompt_BT, self.search_settings, self.constraints = prompt_BT, search_settings, constraints
        self.search = ConstrainedBeam(
            prompt_BT, replace(search_settings, processors=search_settings.processors.fork()), constraints
        )
        self.first: Hypotheses | None = None
        self.again_B = np.zeros(0, dtype=np.int64)

    def ask(self) -> Ask | None:
        """The question of the search that is going on."""
        ask = self.search.ask()
        if ask is not None or self.first is not None:
            return ask
        self.first = self.search.result()
        self.again_B = self._lacking(self.first)
        return self._begin_again() if len(self.again_B) else None

    def update(self, answer: Answer) -> None:
        """The answer to it."""
        self.search.update(answer)

    def drop(self, texts: Sequence[int]) -> None:
        """Refused: whether a text is searched again shows when all are done."""
        raise NotOffered("constrained search keeps all its texts to the end: cancel the whole call.")

    def result(self) -> Hypotheses:
        """What both searches found."""
        if self.first is None:  # it was stopped before
            return self.search.result()
        return self.first if not len(self.again_B) else self._merged(self.first, self.search.result())

    def _lacking(self, found: Hypotheses) -> np.ndarray:
        said = [row[:length].tolist() for row, length in zip(found.sequences_NT, found.lengths_N)]
        fulfilled_N = np.array([self.search.fulfilled(tokens) for tokens in said])
        return np.flatnonzero(~fulfilled_N.reshape(-1, self.search_settings.returned).all(axis=1))

    def _begin_again(self) -> Ask | None:
        """The first question of the second search: the session goes back to the beginning."""
        prompt_BT = self.prompt_BT[self.again_B]
        self.search = ConstrainedBeam(prompt_BT, self.search_settings, self.constraints, True, self.again_B)
        ask = self.search.ask()
        if ask is None:
            return None
        rows_BM = self.again_B[:, None] * self.search_settings.beams + np.arange(self.search_settings.beams)
        return replace(ask, keep=0, parents_R=rows_BM.reshape(-1), texts_B=self.again_B)

    def _merged(self, first: Hypotheses, second: Hypotheses) -> Hypotheses:
        rows = (
            self.again_B[:, None] * self.search_settings.returned + np.arange(self.search_settings.returned)
        ).reshape(-1)
        width = max(first.sequences_NT.shape[1], second.sequences_NT.shape[1])
        assert first.beams_NT is not None
        assert second.beams_NT is not None
        sequences_NT, beams_NT = (
            _wide(first.sequences_NT, width, self.search_settings.pad),
            _wide(first.beams_NT, width, -1),
        )
        sequences_NT[rows] = _wide(second.sequences_NT, width, self.search_settings.pad)
        beams_NT[rows] = _wide(second.beams_NT, width, -1)
        lengths_N, scores_N, finished_N = (
            first.lengths_N.copy(),
            first.scores_N.copy(),
            first.finished_N.copy(),
        )
        lengths_N[rows], scores_N[rows] = second.lengths_N, second.scores_N
        finished_N[rows] = second.finished_N
        return Hypotheses(sequences_NT[:, : lengths_N.max()], lengths_N, scores_N, finished_N, beams_NT)


def _wide(values_NT: np.ndarray, width: int, filler: int) -> np.ndarray:
    missing = width - values_NT.shape[1]
    return np.pad(values_NT, ((0, 0), (0, missing)), constant_values=filler)


def _in_turn(banks_N: np.ndarray, sums_N: np.ndarray) -> np.ndarray:
    """The order of places: the best of each bank, furthest bank first, then the second of each, ..."""
    order_N = np.argsort(-(banks_N.astype(np.float32) * np.float32(100) + sums_N), kind="stable")
    sorted_N = banks_N[order_N]
    new_N = np.concatenate([[True], sorted_N[1:] != sorted_N[:-1]])
    start_N = np.maximum.accumulate(np.where(new_N, np.arange(len(sorted_N)), 0))
    turn_N = np.arange(len(sorted_N)) - start_N
    order: np.ndarray = order_N[np.argsort(turn_N, kind="stable")]
    return order
