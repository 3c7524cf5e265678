"""Diverse beam search: groups of beams choose one after another, and what one chose costs the next ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pegasus.errors import NotOffered
from pegasus.generation.processors.logits_processors import Diversity
from pegasus.generation.search.beam import best_of
from pegasus.generation.search.finished_hypotheses import FinishedHypotheses, LengthNormalization
from pegasus.generation.search.search_settings import WATCHED, SearchSettings, worth_dropping
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Answer, Ask, Edit, Hypotheses


class GroupBeam:
    """G groups of M / G beams; each is a beam search of its own, apart from the diversity penalty.

    In each step the model runs once, and then each group asks in turn about its own rows, with the tokens
    that earlier groups chose made less likely.

    Args:
        prompt_BT: what each text's decoder starts from.
        search_settings: the settings; its processors hold one ``Diversity``.
    """

    def __init__(self, prompt_BT: np.ndarray, search_settings: SearchSettings) -> None:
        self.search_settings, self.size = search_settings, search_settings.beams // search_settings.groups
        self.diversity = next(
            processor
            for processor in search_settings.processors.processors
            if isinstance(processor, Diversity)
        )
        texts = len(prompt_BT)
        self.history = TokenHistory(
            np.repeat(prompt_BT, search_settings.beams, axis=0), search_settings.beams
        )
        self.texts_B = np.arange(texts)
        self.done_BG = np.zeros((texts, search_settings.groups), dtype=bool)
        self.sums_BM = np.full((texts, search_settings.beams), -1e9, dtype=np.float32)
        self.sums_BM[:, :: self.size] = 0
        prompt = prompt_BT.shape[1]
        normalization = LengthNormalization(
            search_settings.length_normalization, search_settings.length_penalty, prompt
        )
        self.finished = FinishedHypotheses(texts * search_settings.groups, self.size, normalization)
        self.considered = max(2, 1 + len(search_settings.eos)) * self.size
        self._group = 0
        self._begin_step()
        self._next: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        self._over = False

    def ask(self) -> Ask | None:
        """The best continuations of the next group; the first group's ask moves the model on."""
        if self._over:
            return None
        rows = self._rows().reshape(-1)
        edits = of_rows(
            self.search_settings.processors.edits(self.history), rows, len(self.history.texts_R)
        )
        ask = Ask(np.zeros((len(rows), 0), dtype=np.int64), edits=edits, count=self.considered, rows=rows)
        ask = replace(ask, scores="log_probs")
        if self._group > 0:
            return ask
        parents_R, texts_B = self._next
        return replace(ask, tokens_RT=self.history.unread_RT, parents_R=parents_R, texts_B=texts_B)

    def update(self, answer: Answer) -> None:
        """One group chooses; after the last one all rows move."""
        rows_Bm = self._rows()
        sums_Bm = np.take_along_axis(self.sums_BM, rows_Bm % self.search_settings.beams, axis=1)
        sums_BN = (answer.log_probs_RC + sums_Bm.reshape(-1, 1)).reshape(len(rows_Bm), -1)
        best_BK = np.argsort(-sums_BN, axis=1, kind="stable")[:, : self.considered]
        tokens_BK = np.take_along_axis(answer.tokens_RC.reshape(sums_BN.shape), best_BK, axis=1)
        sums_BK = np.take_along_axis(sums_BN, best_BK, axis=1)
        from_BK = np.take_along_axis(rows_Bm, best_BK // answer.tokens_RC.shape[1], axis=1)
        self._settle_group(tokens_BK, sums_BK, from_BK)
        self._group += 1
        if self._group == self.search_settings.groups:
            self._move()

    def drop(self, texts: Sequence[int]) -> None:
        """What is still being continued of these texts is added to the finished as it stands."""
        if self.search_settings.all_rows:
            raise NotOffered(WATCHED)
        held_BG = np.isin(self.texts_B, np.asarray(texts))[:, None] & ~self.done_BG
        self._add_open(held_BG)
        self.done_BG |= held_BG
        self._over = self._over or bool(self.done_BG.all())

    def result(self) -> Hypotheses:
        """The best of all groups; groups that were not done add what they were still continuing."""
        self._add_open(~self.done_BG)
        return best_of(self.finished, self.history, self.search_settings)

    def _add_open(self, open_BG: np.ndarray) -> None:
        texts, groups = np.nonzero(open_BG)
        banks = self.texts_B[texts] * self.search_settings.groups + groups
        rows_NC = (texts * self.search_settings.beams + groups * self.size)[:, None] + np.arange(self.size)
        sums_NC = self.sums_BM.reshape(-1)[rows_NC]
        offers = np.ones_like(rows_NC, dtype=bool)
        where = (self.history.steps, self.history.length)
        self.finished.add(banks, offers, sums_NC, rows_NC, *where, ended=False)

    def _rows(self) -> np.ndarray:
        """The rows of the group whose turn it is, [B, M / G]."""
        first_B1 = (
            np.arange(len(self.texts_B))[:, None] * self.search_settings.beams + self._group * self.size
        )
        return np.asarray(first_B1 + np.arange(self.size))

    def _begin_step(self) -> None:
        shape = (len(self.texts_B), self.search_settings.beams)
        self._parents_BM = np.zeros(shape, dtype=np.int64)
        self._tokens_BM = np.zeros(shape, dtype=np.int64)
        self._sums_BM = np.zeros(shape, dtype=np.float32)
        self.diversity.chosen_BM = self._tokens_BM[:, :0]
        self._group = 0

    def _settle_group(self, tokens_BK: np.ndarray, sums_BK: np.ndarray, from_BK: np.ndarray) -> None:
        search_settings, group, size = self.search_settings, self._group, self.size
        done_B = self.done_BG[:, group]
        ends_BK = search_settings.is_eos(tokens_BK)
        banks_B = self.texts_B * search_settings.groups + group
        offers_Bm = ends_BK[:, :size] & ~done_B[:, None]
        length = self.history.length
        self.finished.add(
            banks_B, offers_Bm, sums_BK[:, :size], from_BK[:, :size], self.history.steps, length, ended=True
        )
        alive = np.nonzero(~ends_BK & (np.cumsum(~ends_BK, axis=1) <= size))
        mine = slice(group * size, (group + 1) * size)
        self._tokens_BM[:, mine] = np.where(
            done_B[:, None], search_settings.pad, tokens_BK[alive].reshape(-1, size)
        )
        self._parents_BM[:, mine] = np.where(
            done_B[:, None], self._rows(), from_BK[alive].reshape(-1, size)
        )
        self._sums_BM[:, mine] = sums_BK[alive].reshape(-1, size)
        best_B, early = sums_BK[:, 0], search_settings.early_stopping
        self.done_BG[:, group] |= self.finished.closed(
            banks_B, best_B, length + 1, early, search_settings.max_length
        )
        self.diversity.chosen_BM = self._tokens_BM[:, : (group + 1) * size]

    def _move(self) -> None:
        parents_BM, tokens_BM, self.sums_BM = self._parents_BM, self._tokens_BM, self._sums_BM
        texts_B, done_B = None, np.all(self.done_BG, axis=1)
        if not self.search_settings.all_rows and worth_dropping(np.asarray(done_B)):
            texts_B = np.flatnonzero(~np.asarray(done_B))
            parents_BM, tokens_BM, self.sums_BM = (
                parents_BM[texts_B],
                tokens_BM[texts_B],
                self.sums_BM[texts_B],
            )
            self.texts_B, self.done_BG = self.texts_B[texts_B], self.done_BG[texts_B]
        parents_R = parents_BM.reshape(-1)
        self._next = (parents_R, texts_B)
        self.history.grow(parents_R, tokens_BM.reshape(-1))
        self.search_settings.processors.carry(self.history, parents_R)
        over = bool(self.done_BG.all()) or self.history.length >= self.search_settings.max_length
        self._over = self.search_settings.notify(lambda: self.history.ids_RT) or over
        self._begin_step()


def of_rows(edits: Sequence[Edit], rows: np.ndarray, count: int) -> list[Edit]:
    """Edits about all ``count`` rows, cut down to some rows and numbered as these are."""
    place = np.full(count, -1)
    place[rows] = np.arange(len(rows))
    return [_of_rows(edit, rows, place) for edit in edits]


def _of_rows(edit: Edit, rows: np.ndarray, place: np.ndarray) -> Edit:
    if edit.ids_RT is not None:
        edit = replace(edit, ids_RT=edit.ids_RT[rows])
    if edit.kind == "accept":
        return replace(edit, rows_N=np.arange(len(rows)), numbers_N=rows)
    if edit.rows_N is None:
        return edit
    mine = place[edit.rows_N] >= 0
    values_N = edit.values_N
    if values_N is not None and len(values_N) == len(mine) and len(values_N) > 1:
        values_N = values_N[mine]
    tokens_N = None if edit.tokens_N is None else edit.tokens_N[mine]
    return replace(edit, rows_N=place[edit.rows_N[mine]], tokens_N=tokens_N, values_N=values_N)
