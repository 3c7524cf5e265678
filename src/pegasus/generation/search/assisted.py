"""Drafting: several tokens are guessed cheaply and verified in one pass; the words stay those of the model.

Guesses come from a smaller model (assisted decoding) or from the source itself, since summaries copy
(prompt lookup). A guess is kept as far as the model would have said the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from pegasus.errors import NotOffered
from pegasus.generation.processors.logits_processors import LogitsProcessors
from pegasus.generation.processors.ngram_tables import RunTable, keys_of
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Answer, Ask, Edit, Hypotheses, Session

#: A token for each row and its log-probability.
Choose = Callable[[Answer], tuple[np.ndarray, np.ndarray]]


class Drafter(Protocol):
    """Guesses what comes next."""

    def propose(self, history: TokenHistory, processors: LogitsProcessors, most: int) -> list[int]:
        """Up to ``most`` tokens to follow the one row of the history; none if there is no guess."""
        ...

    def learn(self, proposed: int, accepted: int) -> None:
        """How many tokens of the last guess were right."""
        ...


class SourceDrafter:
    """Guesses that a run of words will go on as it does in the source.

    Args:
        source: the tokens of the source, without padding.
        count: tokens per guess.
        longest: the longest run that is looked up; shorter ones follow.
    """

    def __init__(self, source: np.ndarray, count: int, longest: int = 3) -> None:
        self.source, self.count = source.astype(np.int64), count
        self.tables: dict[int, RunTable] = {}
        for size in range(min(longest, len(source) - 1), 0, -1):
            runs = np.lib.stride_tricks.sliding_window_view(self.source[:-1], size)
            self.tables[size] = RunTable(keys_of(runs), np.arange(size, len(source)))

    def propose(self, history: TokenHistory, processors: LogitsProcessors, most: int) -> list[int]:
        """What follows the first place of the source that ends in the longest of the last runs."""
        for size, table in self.tables.items():
            _, places = table.find(keys_of(history.window(size)))
            if len(places) and history.steps >= size:
                first = int(places[0])
                return [int(token) for token in self.source[first : first + min(self.count, most)]]
        return []

    def learn(self, proposed: int, accepted: int) -> None:
        """Nothing: the next place is looked up afresh."""


class ModelDrafter:
    """Guesses what a smaller model would say.

    It guesses more after a guess that was right to the end and less after one that was not, as
    transformers 4.34 does.

    Args:
        session: the smaller model's, opened on the same text.
        search_settings: the settings of the search.
        count: tokens of the first guess.
    """

    def __init__(self, session: Session, search_settings: SearchSettings, count: int = 5) -> None:
        self.session, self.search_settings, self.count = session, search_settings, count
        self._read: list[int] = []

    def propose(self, history: TokenHistory, processors: LogitsProcessors, most: int) -> list[int]:
        """What the smaller model says next, by greedy search under the same processors."""
        history, processors, drafts = history.fork(), processors.fork(), list[int]()
        while len(drafts) < min(self.count, most):
            token = self._next(history, processors)
            drafts.append(token)
            if token in self.search_settings.eos:
                break
            _extend(history, processors, token)
        return drafts

    def learn(self, proposed: int, accepted: int) -> None:
        """More next time if all were right, less if not."""
        if proposed:
            self.count = self.count + 2 if accepted == proposed else max(1, self.count - 1)

    def _next(self, history: TokenHistory, processors: LogitsProcessors) -> int:
        ids = history.ids_RT[0].tolist()
        keep = 0
        while keep < min(len(self._read), len(ids) - 1) and self._read[keep] == ids[keep]:
            keep += 1
        new_1T = np.array([ids[keep:]], dtype=np.int64)
        answer = self.session.step(
            Ask(new_1T, keep=keep if self._read else None, edits=processors.edits(history))
        )
        self._read = ids
        return int(answer.tokens_RC[0, 0])


class Drafted:
    """Search along one line for one text, with guesses.

    Args:
        prompt_1T: what the decoder starts from.
        search_settings: the settings.
        drafter: who guesses.
        choose: says a token for each place from its distribution, greedily or by chance.
        count: how much of each distribution ``choose`` needs; None: all.
    """

    def __init__(
        self,
        prompt_1T: np.ndarray,
        search_settings: SearchSettings,
        drafter: Drafter,
        choose: Choose,
        count: int | None = 1,
    ) -> None:
        self.search_settings, self.drafter, self.choose, self.count = (
            search_settings,
            drafter,
            choose,
            count,
        )
        self.history = TokenHistory(prompt_1T)
        self.total = np.zeros(1, dtype=np.float32)
        self.ended = False
        #: How many tokens came out of each pass of the model.
        self.taken: list[int] = []
        #: How many guesses each pass read.
        self.guessed: list[int] = []
        self._drafts: list[int] = []
        self._read = 0
        self._over = False

    def ask(self) -> Ask | None:
        """What the model would say at each place of the guess and behind it."""
        if self._over:
            return None
        room = self.search_settings.max_length - self.history.length
        self._drafts = self.drafter.propose(self.history, self.search_settings.processors, max(0, room - 1))
        ids_T = self.history.ids_RT[0, self._read :]
        return Ask(
            np.concatenate([ids_T, np.array(self._drafts, dtype=np.int64)])[None],
            keep=self._read if self._read else None,
            edits=self._edits(),
            count=self.count,
            positions=len(self._drafts) + 1,
        )

    def update(self, answer: Answer) -> None:
        """Takes over the guess as far as it is right, and the model's own next token."""
        tokens_P, log_probs_P = self.choose(answer)
        right = 0
        while right < len(self._drafts) and tokens_P[right] == self._drafts[right]:
            right += 1
        self.drafter.learn(len(self._drafts), right)
        self.taken.append(0)
        self.guessed.append(len(self._drafts))
        for place in range(right + 1):
            self._say(int(tokens_P[place]), log_probs_P[place])
            if self._over:
                break
        self._read = self.history.length - 1

    def drop(self, texts: Sequence[int]) -> None:
        """Refused: there is one text."""
        raise NotOffered("a search with guesses has a single text: cancel the whole call.")

    def result(self) -> Hypotheses:
        """What was said; the score is the sum of log-probabilities."""
        lengths = np.array([self.history.length])
        return Hypotheses(
            self.history.ids_RT,
            lengths,
            self.total,
            np.array([self.ended]),
            taken=self.taken,
            guessed=self.guessed,
        )

    def _say(self, token: int, log_prob: float) -> None:
        _extend(self.history, self.search_settings.processors, token)
        self.total += np.float32(log_prob)
        self.taken[-1] += 1
        self.ended = token in self.search_settings.eos
        over = self.ended or self.history.length >= self.search_settings.max_length
        self._over = self.search_settings.notify(lambda: self.history.ids_RT) or over

    def _edits(self) -> list[Edit]:
        """The processors at each place, as if the guess up to there had been said."""
        history, processors = self.history.fork(), self.search_settings.processors.fork()
        edits = [at_place(edit, 0) for edit in processors.edits(history)]
        for place, token in enumerate(self._drafts, start=1):
            _extend(history, processors, token)
            edits += [at_place(edit, place) for edit in processors.edits(history)]
        return edits


def at_place(edit: Edit, place: int) -> Edit:
    """An edit about the one row, as one about one place of a guess."""
    if edit.kind == "accept":
        return replace(edit, rows_N=np.array([place]), numbers_N=np.array([0]))
    if edit.tokens_N is None:
        return replace(edit, rows_N=np.array([place]))
    return replace(edit, rows_N=np.full(len(edit.tokens_N), place))


def _extend(history: TokenHistory, processors: LogitsProcessors, token: int) -> None:
    parents = np.zeros(1, dtype=np.int64)
    history.grow(parents, np.array([token]))
    processors.carry(history, parents)


def joined(parts: Sequence[Hypotheses], pad: int) -> Hypotheses:
    """What was found for each text, as if for all at once."""
    width = max(part.sequences_NT.shape[1] for part in parts)
    rows = [
        np.pad(part.sequences_NT, ((0, 0), (0, width - part.sequences_NT.shape[1])), constant_values=pad)
        for part in parts
    ]
    return Hypotheses(
        np.concatenate(rows),
        np.concatenate([part.lengths_N for part in parts]),
        np.concatenate([part.scores_N for part in parts]),
        np.concatenate([part.finished_N for part in parts]),
    )
