"""Greedy search: each row says its most likely token, one after another, until it ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pegasus.errors import NotOffered
from pegasus.generation.search.search_settings import WATCHED, SearchSettings, worth_dropping
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Answer, Ask, Hypotheses


class Greedy:
    """One row per returned sequence, each going its own way.

    Sampling is the same search with another ``choose``.

    Args:
        prompt_BT: what each text's decoder starts from.
        search_settings: the settings. ``returned`` rows are kept per text.
    """

    #: C of the ask; None: the whole distribution.
    count: int | None = 1

    def __init__(self, prompt_BT: np.ndarray, search_settings: SearchSettings) -> None:
        self.search_settings = search_settings
        copies = search_settings.returned if search_settings.all_rows else 1
        self.history = TokenHistory(np.repeat(prompt_BT, copies, axis=0), copies)
        rows = len(prompt_BT) * search_settings.returned
        #: Which returned sequence each row is; rows of texts that are done disappear.
        self.live_R = np.arange(rows)
        self.sums_N = np.zeros(rows, dtype=np.float32)
        #: Where each sequence stands on the history, and the EOS that comes after it.
        self.steps_N = np.zeros(rows, dtype=np.int64)
        self.rows_N = np.arange(rows)
        self.eos_N = np.full(rows, -1, dtype=np.int64)
        #: Which sequences nobody waits for any more.
        self.dropped_N = np.zeros(rows, dtype=bool)
        self._parents_R: np.ndarray | None = None
        self._texts_B: np.ndarray | None = None
        #: Whether there is nothing left to ask.
        self.over = False

    def ask(self) -> Ask | None:
        """The next token of each row."""
        if self.over:
            return None
        return Ask(
            self.history.unread_RT,
            parents_R=self._parents_R,
            texts_B=self._texts_B,
            edits=self.search_settings.processors.edits(self.history),
            count=self.count,
        )

    def choose(self, answer: Answer) -> tuple[np.ndarray, np.ndarray]:
        """The token that each row says, and its log-probability."""
        return answer.tokens_RC[:, 0], answer.log_probs_RC[:, 0]

    def update(self, answer: Answer) -> None:
        """Each row says its token; rows that have ended say padding."""
        answer, parents_R = self._spread(answer)
        open_R = self._open[self.live_R]
        tokens_R, log_probs_R = self.choose(answer)
        tokens_R = np.where(open_R, tokens_R, self.search_settings.pad)
        self.sums_N[self.live_R] += np.where(open_R, log_probs_R, np.float32(0))
        self._note_ends(open_R & self.search_settings.is_eos(tokens_R), parents_R, tokens_R)
        stay_R = self._select()
        self._move(stay_R, parents_R, tokens_R)
        over = not self._open.any() or self.history.length >= self.search_settings.max_length
        self.over = self.search_settings.notify(lambda: self.history.ids_RT) or over

    def drop(self, texts: Sequence[int]) -> None:
        """Rows of these texts stay as they are."""
        if self.search_settings.all_rows:
            raise NotOffered(WATCHED)
        of_text = np.arange(len(self.dropped_N)) // self.search_settings.returned
        self.dropped_N |= np.isin(of_text, np.asarray(texts))
        self.over = self.over or not self._open.any()

    @property
    def _open(self) -> np.ndarray:
        """Which sequences go on."""
        return np.asarray((self.eos_N < 0) & ~self.dropped_N)

    @property
    def texts_B(self) -> np.ndarray:
        """Which of the original texts are held."""
        held_B: np.ndarray = self.live_R[:: self.search_settings.returned] // self.search_settings.returned
        return held_B

    @property
    def done_B(self) -> np.ndarray:
        """Which of those are done."""
        done_BM: np.ndarray = ~self._open[self.live_R].reshape(-1, self.search_settings.returned)
        done_B: np.ndarray = np.all(done_BM, axis=1)
        return done_B

    def result(self) -> Hypotheses:
        """What each row said; the score is the sum of log-probabilities."""
        sequences_NT, _ = self.history.walk_back(self.steps_N, self.rows_N)
        ended = np.flatnonzero(self.eos_N >= 0)
        lengths_N = self.history.prompt_RT.shape[1] + self.steps_N
        padding_NT = np.full((len(sequences_NT), 1), -1, dtype=np.int64)
        sequences_NT = np.concatenate([sequences_NT, padding_NT], axis=1)
        sequences_NT[ended, lengths_N[ended]] = self.eos_N[ended]
        lengths_N[ended] += 1
        sequences_NT = np.where(sequences_NT < 0, self.search_settings.pad, sequences_NT)[
            :, : lengths_N.max()
        ]
        return Hypotheses(sequences_NT, lengths_N, self.sums_N, self.eos_N >= 0)

    def _spread(self, answer: Answer) -> tuple[Answer, np.ndarray]:
        """The first answer may be about one row per text: it counts for all rows of the text."""
        rows, wanted = len(answer.tokens_RC), len(self.live_R)
        parents_R = np.arange(wanted) // (wanted // rows)
        if rows != wanted:
            answer = Answer(answer.log_probs_RC[parents_R], answer.tokens_RC[parents_R])
        return answer, parents_R

    def _note_ends(self, ends_R: np.ndarray, parents_R: np.ndarray, tokens_R: np.ndarray) -> None:
        ended = np.flatnonzero(ends_R)
        self.steps_N[self.live_R[ended]] = self.history.steps
        self.rows_N[self.live_R[ended]] = parents_R[ended]
        self.eos_N[self.live_R[ended]] = tokens_R[ended]

    def _select(self) -> np.ndarray:
        """The rows that stay: all of them, until enough texts are done."""
        done_B = self.done_B
        self._texts_B = None
        if self.search_settings.all_rows or not worth_dropping(done_B):
            return np.arange(len(self.live_R))
        self._texts_B = np.flatnonzero(~done_B)
        return np.flatnonzero(np.repeat(~done_B, self.search_settings.returned))

    def _move(self, stay_R: np.ndarray, parents_R: np.ndarray, tokens_R: np.ndarray) -> None:
        same = len(stay_R) == len(parents_R) and (parents_R == np.arange(len(parents_R))).all()
        same = same and len(parents_R) == len(self.history.texts_R)
        self._parents_R = None if same else parents_R[stay_R]
        self.history.grow(parents_R[stay_R], tokens_R[stay_R])
        self.search_settings.processors.carry(self.history, parents_R[stay_R])
        self.live_R = self.live_R[stay_R]
        open_R = np.flatnonzero(self._open[self.live_R])
        self.steps_N[self.live_R[open_R]] = self.history.steps
        self.rows_N[self.live_R[open_R]] = open_R
