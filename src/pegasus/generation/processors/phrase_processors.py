"""Rules about runs of tokens: n-grams that may not come again, words that may or should not come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pegasus.generation.processors.logits_processors import Processor
from pegasus.generation.processors.ngram_tables import RowTables, RunTable, keys_of
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Edit


class NoRepeatedNgrams(Processor):
    """No run of ``size`` tokens comes twice in a row."""

    def __init__(self, size: int) -> None:
        self.size = size
        #: What followed each run of ``size - 1`` tokens in each row; None: nobody has asked yet.
        self.tables: RowTables | None = None
        #: The newest such run of each row, and its key.
        self._runs_RW = np.zeros((0, size - 1), dtype=np.int64)
        self._keys_R = keys_of(self._runs_RW)

    def fork(self) -> NoRepeatedNgrams:
        """A processor that goes on from here on its own."""
        other = super().fork()
        assert isinstance(other, NoRepeatedNgrams)
        other.tables = None if self.tables is None else self.tables.fork()
        return other

    def carry(self, history: TokenHistory, parents_R: np.ndarray) -> None:
        """Remembers what followed the newest run of each row."""
        if self.tables is not None:
            self.tables.reorder(parents_R)
            self.tables.put(self._keys_R[parents_R], history.newest_R)
            older_RW = self._runs_RW[parents_R]
            self._move_to(np.concatenate((older_RW[:, 1:], history.newest_R[:, None]), axis=1))

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Bans what would complete a run that has been there."""
        if self.size == 1:
            ids_RT = history.ids_RT
            rows_N = np.repeat(np.arange(len(ids_RT)), ids_RT.shape[1])
            yield Edit("ban", ids_RT.reshape(-1), rows_N, yields=True)
        elif history.length >= self.size:
            rows_N, tokens_N = self._filled(history).find(self._keys_R)
            if len(rows_N):
                yield Edit("ban", tokens_N, rows_N, yields=True)

    def _filled(self, history: TokenHistory) -> RowTables:
        """The tables; they begin with the runs of what has been written when they are first needed."""
        if self.tables is None:
            self.tables = RowTables(len(history.texts_R))
            for end in range(self.size, history.length + 1):
                self._move_to(history.ids_RT[:, end - self.size : end - 1])
                self.tables.put(self._keys_R, history.ids_RT[:, end - 1])
            self._move_to(history.window(self.size - 1))
        return self.tables

    def _move_to(self, runs_RW: np.ndarray) -> None:
        self._runs_RW, self._keys_R = runs_RW, keys_of(runs_RW)


class NoSourceNgrams(Processor):
    """No run of ``size`` tokens is copied from a row's own source text."""

    def __init__(self, size: int, sources: Sequence[np.ndarray]) -> None:
        self.size = size
        self.tables = []
        for source in sources:
            runs = (
                np.lib.stride_tricks.sliding_window_view(source, size)
                if len(source) >= size
                else source[:0, None]
            )
            runs = runs.reshape(-1, size) if len(runs) else np.zeros((0, size), dtype=np.int64)
            self.tables.append(RunTable(keys_of(runs[:, :-1]), runs[:, -1].astype(np.int64)))

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Bans what would complete a run of the source."""
        if history.length < self.size - 1:
            return
        keys_R = keys_of(history.window(self.size - 1))
        texts, starts = np.unique(history.texts_R, return_index=True)
        for text, rows in zip(texts, np.split(np.arange(len(keys_R)), starts[1:])):
            rows_N, tokens_N = self.tables[text].find(keys_R[rows])
            if len(rows_N):
                yield Edit("ban", tokens_N, rows[rows_N], yields=True)


class PhraseBias(Processor):
    """A number is added to the score of the token that completes a phrase; −∞ forbids the phrase."""

    def __init__(self, biases: Mapping[tuple[int, ...], float]) -> None:
        self.may_raise = any(bias > 0 for bias in biases.values())
        singles = {phrase[0]: bias for phrase, bias in biases.items() if len(phrase) == 1}
        self.tokens_N = np.array(list(singles), dtype=np.int64)
        self.values_N = np.array(list(singles.values()), dtype=np.float32)
        self.by_length: dict[int, tuple[RunTable, np.ndarray, np.ndarray]] = {}
        for length in sorted({len(phrase) for phrase in biases} - {1}):
            phrases = [phrase for phrase in biases if len(phrase) == length]
            runs = np.array(phrases, dtype=np.int64)
            table = RunTable(keys_of(runs[:, :-1]), np.arange(len(runs)))
            values = np.array([biases[phrase] for phrase in phrases], dtype=np.float32)
            self.by_length[length] = (table, runs[:, -1], values)

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Adds the biases of single tokens, then of phrases one token short of being complete."""
        if len(self.tokens_N):
            yield Edit("add", self.tokens_N, None, self.values_N)
        for length, (table, last_N, values_N) in self.by_length.items():
            # transformers 4.34 looks at a phrase only when a row is at least as long as the whole phrase.
            if history.length < length:
                continue
            rows_N, which_N = table.find(keys_of(history.window(length - 1)))
            if len(rows_N):
                yield _added(rows_N, last_N[which_N], values_N[which_N])


def _added(rows_N: np.ndarray, tokens_N: np.ndarray, values_N: np.ndarray) -> Edit:
    """An ``add`` edit in which each row and token is listed once."""
    pairs = np.stack([rows_N, tokens_N])
    unique, where = np.unique(pairs, axis=1, return_inverse=True)
    sums = np.zeros(unique.shape[1], dtype=np.float32)
    np.add.at(sums, where.reshape(-1), values_N)
    return Edit("add", unique[1], unique[0], sums)
