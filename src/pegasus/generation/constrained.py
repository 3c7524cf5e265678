"""Constrained beam search: every summary contains what it must.

Post and Vilar 2018, with the decisions of transformers 4.34: hypotheses that bring a constraint on are put
beside the best ones, and places are shared out in turn among those equally far along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pegasus.errors import BadSetting
from pegasus.generation.beam import Beam
from pegasus.generation.constraints import Constraint, DisjunctiveConstraint, PhrasalConstraint, Progress
from pegasus.generation.plan import Plan
from pegasus.generation.session import Answer, Ask


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
        plan: the settings.
        constraints: what must be said.
    """

    def __init__(self, prompt_BT: np.ndarray, plan: Plan, constraints: Sequence[Constraint]) -> None:
        super().__init__(prompt_BT, replace(plan, all_rows=True))
        start = Progress(constraints)
        #: How far each row of the session has come.
        self.progress_R = [self._told(start, row) for row in self.trail.prompt_RT.tolist()]
        self._advance_R: list[list[int]] = []
        self._also_BMK = np.zeros((0, 0, 0), dtype=np.float32)

    def ask(self) -> Ask | None:
        """The best continuations, and the scores of those that bring constraints on."""
        ask = super().ask()
        if ask is None:
            return None
        self._advance_R = [progress.advance() for progress in self.progress_R]
        width = max(1, max(len(tokens) for tokens in self._advance_R))
        also_RK = np.array([tokens + [0] * (width - len(tokens)) for tokens in self._advance_R])
        return replace(ask, also_RK=also_RK)

    def hear(self, answer: Answer) -> None:
        """As in beam search, after noting the scores of what brings constraints on."""
        assert answer.also_RK is not None, "the session must answer also_RK"
        also_BMK = answer.also_RK.reshape(len(self.texts_B), self.plan.beams, -1)
        self._also_BMK = also_BMK + self.sums_BM[:, :, None]
        super().hear(answer)

    def _put_on_shelf(self, ends_BK: np.ndarray, sums_BK: np.ndarray, rows_BK: np.ndarray) -> None:
        completed_R = np.array([progress.completed for progress in self.progress_R])
        super()._put_on_shelf(ends_BK & completed_R[rows_BK], sums_BK, rows_BK)

    def _move(self, parents_BM: np.ndarray, tokens_BM: np.ndarray) -> None:
        progress_BM = []
        for text in range(len(parents_BM)):
            if self._was_done_B[text]:
                first = text * self.plan.beams
                progress_BM += self.progress_R[first : first + self.plan.beams]
            else:
                progress_BM += self._share_out(text, parents_BM[text], tokens_BM[text])
        self.progress_R = progress_BM
        super()._move(parents_BM, tokens_BM)

    def _close(self, best_B: np.ndarray) -> None:
        self._was_done_B = self.done_B.copy()
        super()._close(best_B)

    def _share_out(self, text: int, parents_M: np.ndarray, tokens_M: np.ndarray) -> list[Progress]:
        """Gives the places of one text to its best continuations and to those that bring constraints on."""
        beams = self.plan.beams
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
        return bytes(self.trail.ids_RT[row].tobytes())

    def _add_open(self) -> None:
        """Adds what fulfils the constraints, and others only where there is too little of that."""
        beams = self.plan.beams
        for text in np.flatnonzero(~self.done_B).tolist():
            rows_M = text * beams + np.arange(beams)
            fits_M = np.array([self.progress_R[row].completed for row in rows_M])
            self._offer(text, fits_M)
            if fits_M.sum() < self.plan.returned:
                self._offer(text, ~fits_M)

    def _offer(self, text: int, offers_M: np.ndarray) -> None:
        rows_1M = (text * self.plan.beams + np.arange(self.plan.beams))[None]
        bank, where = self.texts_B[[text]], (self.trail.steps, self.trail.length)
        self.shelf.add(bank, offers_M[None], self.sums_BM[[text]], rows_1M, *where, ended=False)

    @staticmethod
    def _told(start: Progress, prompt: Sequence[int]) -> Progress:
        for token in prompt:
            start = start.after(token)
        return start


def _in_turn(banks_N: np.ndarray, sums_N: np.ndarray) -> np.ndarray:
    """The order of places: the best of each bank, furthest bank first, then the second of each, ..."""
    order_N = np.argsort(-(banks_N.astype(np.float32) * np.float32(100) + sums_N), kind="stable")
    sorted_N = banks_N[order_N]
    new_N = np.concatenate([[True], sorted_N[1:] != sorted_N[:-1]])
    start_N = np.maximum.accumulate(np.where(new_N, np.arange(len(sorted_N)), 0))
    turn_N = np.arange(len(sorted_N)) - start_N
    order: np.ndarray = order_N[np.argsort(turn_N, kind="stable")]
    return order
