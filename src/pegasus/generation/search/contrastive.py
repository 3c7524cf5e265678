"""Contrastive search: likely, and unlike what has been said.

Su et al. 2022, "A Contrastive Framework for Neural Text Generation". Of the k most likely tokens the one is
said whose probability, less its state's greatest likeness to an earlier state, is highest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pegasus.errors import NotOffered
from pegasus.generation.search.search_settings import SearchSettings, worth_dropping
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Answer, Ask, Hypotheses


class Contrastive:
    """Each text has k rows, one per candidate: the model reads them all, then one is chosen.

    The row that is chosen has already been asked what follows it, so each token costs one pass.

    Args:
        prompt_BT: what each text's decoder starts from.
        search_settings: the settings.
        alpha: the weight of unlikeness against probability, 0 to 1.
        candidates: k.
    """

    def __init__(
        self, prompt_BT: np.ndarray, search_settings: SearchSettings, alpha: float, candidates: int
    ) -> None:
        self.search_settings, self.alpha, self.candidates = search_settings, alpha, candidates
        self.history = TokenHistory(prompt_BT)
        texts = len(prompt_BT)
        self.texts_B = np.arange(texts)
        self.sums_N = np.zeros(texts, dtype=np.float32)
        self.steps_N = np.zeros(texts, dtype=np.int64)
        self.rows_N = np.arange(texts)
        self.ended_N = np.zeros(texts, dtype=bool)
        #: Unit vectors of every state so far, [B, T, D], and what each candidate was given, [B, k].
        self._states_BTD: np.ndarray | None = None
        self._log_probs_BK = np.zeros((texts, 0), dtype=np.float32)
        self._next: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        self._over = False
        #: The rows that were followed, ask by ask.
        self.meant: list[np.ndarray] = []

    def ask(self) -> Ask | None:
        """What follows each candidate, and the state it leads to."""
        if self._over:
            return None
        return Ask(
            self.history.unread_RT,
            parents_R=self._next[0],
            texts_B=self._next[1],
            edits=self.search_settings.processors.edits(self.history),
            count=self.candidates,
            hidden=True,
        )

    def update(self, answer: Answer) -> None:
        """Chooses among the candidates that were read, and puts forward the next ones."""
        assert answer.hidden_RTD is not None, "the session must give hidden states"
        states_RTD = answer.hidden_RTD / np.linalg.norm(answer.hidden_RTD, axis=2, keepdims=True)
        if self._states_BTD is None:
            self._states_BTD = states_RTD
            chosen_B = np.arange(len(self.texts_B))
        else:
            chosen_B = self._choose(states_RTD[:, 0])
        if not self._over:
            self.meant.append(chosen_B)
            self._put_forward(answer, chosen_B)

    def drop(self, texts: Sequence[int]) -> None:
        """Refused: its texts share the states that are compared."""
        raise NotOffered("contrastive search keeps all its texts to the end: cancel the whole call.")

    def result(self) -> Hypotheses:
        """What was said; the score is the sum of log-probabilities."""
        sequences_NT, _ = self.history.walk_back(self.steps_N, self.rows_N)
        lengths_N = self.history.prompt_RT.shape[1] + self.steps_N
        sequences_NT = np.where(sequences_NT < 0, self.search_settings.pad, sequences_NT)
        return Hypotheses(sequences_NT, lengths_N, self.sums_N, self.ended_N, meant=self.meant)

    def _choose(self, states_RD: np.ndarray) -> np.ndarray:
        """The best candidate of each text becomes what it says; the row it is."""
        assert self._states_BTD is not None
        texts = len(self.texts_B)
        states_BKD = states_RD.reshape(texts, -1, states_RD.shape[1])
        likeness_BK = (states_BKD @ self._states_BTD.transpose(0, 2, 1)).max(axis=2)
        merit_BK = (1.0 - self.alpha) * np.exp(self._log_probs_BK) - self.alpha * likeness_BK
        best_B: np.ndarray = merit_BK.argmax(axis=1)
        here = np.arange(texts)
        chosen_B: np.ndarray = here * states_BKD.shape[1] + best_B
        self._states_BTD = np.concatenate([self._states_BTD, states_BKD[here, best_B][:, None]], axis=1)
        self._say(chosen_B, self._log_probs_BK[here, best_B])
        return chosen_B

    def _say(self, chosen_B: np.ndarray, log_probs_B: np.ndarray) -> None:
        open_B = np.flatnonzero(~self.ended_N[self.texts_B])
        texts = self.texts_B[open_B]
        self.steps_N[texts], self.rows_N[texts] = self.history.steps, chosen_B[open_B]
        self.sums_N[texts] += log_probs_B[open_B]
        self.ended_N[texts] = self.search_settings.is_eos(self.history.window(1)[chosen_B[open_B], 0])
        over = bool(self.ended_N.all()) or self.history.length >= self.search_settings.max_length
        self._over = self.search_settings.notify(lambda: self._ids(chosen_B)) or over

    def _ids(self, chosen_B: np.ndarray) -> np.ndarray:
        """The texts as they stand; padding after the end."""
        ids_BT: np.ndarray = self.history.ids_RT[chosen_B].copy()
        ends_N = self.history.prompt_RT.shape[1] + self.steps_N
        ids_BT[np.arange(ids_BT.shape[1]) >= ends_N[self.texts_B, None]] = self.search_settings.pad
        return ids_BT

    def _put_forward(self, answer: Answer, chosen_B: np.ndarray) -> None:
        texts_B, done_B = None, self.ended_N[self.texts_B]
        if not self.search_settings.all_rows and worth_dropping(done_B):
            assert self._states_BTD is not None
            texts_B = np.flatnonzero(~done_B)
            self.texts_B, chosen_B = self.texts_B[texts_B], chosen_B[texts_B]
            self._states_BTD = self._states_BTD[texts_B]
        self._log_probs_BK = answer.log_probs_RC[chosen_B]
        tokens_BK = answer.tokens_RC[chosen_B]
        parents_R = np.repeat(chosen_B, tokens_BK.shape[1])
        self._next = (parents_R, texts_B)
        self.history.grow(parents_R, tokens_BK.reshape(-1))
        self.search_settings.processors.carry(self.history, parents_R)
