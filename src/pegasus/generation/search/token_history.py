"""What has been written so far, as a history of steps that can be walked back.

Each step keeps two short arrays: the token of each row and the row it continues. Whole sequences are put
together only for those who ask, so a step costs the same at any length.
"""

from __future__ import annotations

import copy

import numpy as np


class TokenHistory:
    """The rows of a search and how they came about.

    Args:
        prompt_RT: the tokens that every row starts with.
        copies: rows per text at the start.
        texts_B: the numbers of the texts; None: 0, 1, 2 and so on.
    """

    def __init__(self, prompt_RT: np.ndarray, copies: int = 1, texts_B: np.ndarray | None = None) -> None:
        self.prompt_RT = np.ascontiguousarray(prompt_RT, dtype=np.int64)
        self.copies = copies
        #: Which of the original texts each row belongs to.
        texts = np.arange(len(prompt_RT) // copies) if texts_B is None else texts_B
        self.texts_R = np.repeat(texts, copies)
        self._prompt_texts_R = self.texts_R
        self._tokens: list[np.ndarray] = []
        self._parents: list[np.ndarray] = []
        self._texts: list[np.ndarray] = []
        self._ids_RT = self.prompt_RT
        self._read = 0

    @property
    def length(self) -> int:
        """Tokens in each row, the prompt included."""
        return int(self.prompt_RT.shape[1]) + len(self._tokens)

    @property
    def steps(self) -> int:
        """Tokens added to the prompt."""
        return len(self._tokens)

    @property
    def ids_RT(self) -> np.ndarray:
        """The tokens of each row, [R, length]; put together when asked for. Not to be written to."""
        while self._read < len(self._tokens):
            parents_R, tokens_R = self._parents[self._read], self._tokens[self._read]
            self._ids_RT = np.concatenate([self._ids_RT[parents_R], tokens_R[:, None]], axis=1)
            self._read += 1
        return self._ids_RT

    @property
    def newest_R(self) -> np.ndarray:
        """The last token of each row."""
        return self._tokens[-1] if self._tokens else self.prompt_RT[:, -1]

    @property
    def unread_RT(self) -> np.ndarray:
        """What a model has not read of each row: the prompt, then the token that came last."""
        return self._tokens[-1][:, None] if self._tokens else self.prompt_RT

    def window(self, width: int) -> np.ndarray:
        """The last ``width`` tokens of each row, [R, width]; −1 before the beginning."""
        window_RW = np.full((len(self.texts_R), width), -1, dtype=np.int64)
        at_R = np.arange(len(self.texts_R))
        for back in range(min(width, self.length)):
            step = self.steps - back
            if step > 0:
                window_RW[:, width - 1 - back] = self._tokens[step - 1][at_R]
                at_R = self._parents[step - 1][at_R]
            else:
                window_RW[:, width - 1 - back] = self.prompt_RT[at_R, step - 1]
        return window_RW

    def fork(self) -> TokenHistory:
        """A history that goes on from here on its own."""
        other = copy.copy(self)
        other._tokens, other._parents, other._texts = self._tokens[:], self._parents[:], self._texts[:]
        return other

    def grow(self, parents_R: np.ndarray, tokens_R: np.ndarray) -> None:
        """Adds one token to each row; row r continues what was row ``parents_R[r]``."""
        self.texts_R = self.texts_R[parents_R]
        self._parents.append(parents_R)
        self._tokens.append(tokens_R)
        self._texts.append(self.texts_R)

    def beams_of(self, steps_N: np.ndarray, rows_N: np.ndarray, beams: int) -> np.ndarray:
        """Rows after given steps, named by original text and beam: text · beams + beam."""
        prompt_texts = self._prompt_texts_R
        texts = [self._texts[s - 1][r] if s else prompt_texts[r] for s, r in zip(steps_N, rows_N)]
        # A single row per text stands for its first beam in the first step.
        single = (steps_N == 0) & (self.copies != beams)
        return np.array(texts, dtype=np.int64) * beams + np.where(single, 0, rows_N % beams)

    def walk_back(
        self, steps_N: np.ndarray, rows_N: np.ndarray, beams: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sequences that end in given rows after given steps.

        Args:
            steps_N: after how many steps each of them ends (0: the prompt alone).
            rows_N: in which row of that step.
            beams: rows per text, to name rows by original text and beam.

        Returns:
            Tokens [N, prompt + longest], −1 where there are none; and the row (text · beams + beam) that
            each token after the prompt was chosen from, [N, longest], −1 where there are none.
        """
        longest = int(steps_N.max(initial=0))
        tokens_NT = np.full((len(steps_N), longest), -1, dtype=np.int64)
        beams_NT = np.full((len(steps_N), longest), -1, dtype=np.int64)
        at_N = rows_N.astype(np.int64)
        for step in range(longest, 0, -1):
            live = np.flatnonzero(steps_N >= step)
            tokens_NT[live, step - 1] = self._tokens[step - 1][at_N[live]]
            at_N[live] = self._parents[step - 1][at_N[live]]
            beams_NT[live, step - 1] = self.beams_of(np.full(len(live), step - 1), at_N[live], beams)
        return np.concatenate([self.prompt_RT[at_N], tokens_NT], axis=1), beams_NT
