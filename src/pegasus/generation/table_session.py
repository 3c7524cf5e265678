"""A session that is a table of numbers: the contract's plainest reading, for trying out searches.

No model and no device: what follows a text's words is whatever a function says. It says what every part of
an ask means in the most obvious way, and refuses asks that no session could answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pegasus.errors import BadSetting
from pegasus.generation.session import Answer, Ask, Edit, log_softmax

#: The logits [V] of what follows, from the number of the text and the tokens so far.
LogitsOf = Callable[[int, tuple[int, ...]], np.ndarray]


class TableSession:
    """Answers from a function (text, tokens so far) → logits.

    Args:
        vocab_size: V.
        texts: B.
        logits_of: the function.
    """

    def __init__(self, vocab_size: int, texts: int, logits_of: LogitsOf) -> None:
        self.vocab_size, self.logits_of = vocab_size, logits_of
        self.texts_B = np.arange(texts)
        self.rows: list[tuple[int, ...]] | None = None
        #: How often tokens were read, and how many rows in all: what a model would have had to do.
        self.passes = 0
        self.rows_read = 0

    def step(self, ask: Ask) -> Answer:
        """Answers one ask."""
        if ask.tokens_RT.shape[1]:
            self._read(ask)
        scores = np.stack([self.logits_of(text, tokens) for text, tokens in self._places(ask)])
        if ask.scores == "log_probs":
            scores = log_softmax(scores)
        for edit in ask.edits:
            scores = edited(scores, edit)
        if ask.scores == "logits":
            scores = log_softmax(scores)
        also = None if ask.also_RK is None else np.take_along_axis(scores, ask.also_RK, axis=1)
        if ask.count is None:
            return Answer(scores, np.broadcast_to(np.arange(self.vocab_size), scores.shape), also)
        tokens = np.argsort(-scores, axis=1, kind="stable")[:, : ask.count]
        return Answer(np.take_along_axis(scores, tokens, axis=1), tokens, also)

    def _places(self, ask: Ask) -> list[tuple[int, tuple[int, ...]]]:
        """The places asked about: a text and the tokens up to there."""
        assert self.rows is not None, "the first ask reads a prompt"
        places = [
            (int(text), row[: len(row) - back])
            for text, row in zip(self._owners(len(self.rows)), self.rows)
            for back in range(ask.positions - 1, -1, -1)
        ]
        return places if ask.rows is None else [places[row] for row in ask.rows]

    def _owners(self, rows: int) -> np.ndarray:
        return np.repeat(self.texts_B, rows // len(self.texts_B))

    def _read(self, ask: Ask) -> None:
        self.passes += 1
        self.rows_read += len(ask.tokens_RT)
        before = [()] * len(ask.tokens_RT) if self.rows is None else self.rows
        before = before if ask.keep is None else [row[: ask.keep] for row in before]
        if ask.parents_R is not None:
            owners = self._owners(len(before))[ask.parents_R]
            self.texts_B = self.texts_B if ask.texts_B is None else self.texts_B[ask.texts_B]
            if not np.array_equal(owners, self._owners(len(ask.parents_R))):
                raise BadSetting(
                    f"rows must go on from rows of their own text, found parents {ask.parents_R}."
                )
            before = [before[parent] for parent in ask.parents_R]
        if len(before) != len(ask.tokens_RT):
            raise BadSetting(
                f"{len(before)} rows are remembered, and tokens came for {len(ask.tokens_RT)}."
            )
        self.rows = [row + tuple(new) for row, new in zip(before, ask.tokens_RT.tolist())]


def edited(scores_RV: np.ndarray, edit: Edit) -> np.ndarray:
    """The scores after one edit."""
    scores_RV = scores_RV.copy()
    if edit.kind == "accept":
        return _accepted(scores_RV, edit)
    if edit.tokens_N is None:
        if edit.rows_N is None:
            return _whole(scores_RV, edit)
        scores_RV[edit.rows_N] = _whole(scores_RV[edit.rows_N], replace(edit, rows_N=None))
        return scores_RV
    rows, tokens = edit.rows_N, edit.tokens_N
    if rows is None:
        rows, tokens = np.repeat(np.arange(len(scores_RV)), len(tokens)), np.tile(tokens, len(scores_RV))
    values = np.resize(np.zeros(1) if edit.values_N is None else edit.values_N, len(tokens))
    old = scores_RV[rows, tokens]
    if edit.kind in ("only", "force"):
        scores_RV[rows] = -np.inf
    new = [_new(edit.kind, float(was), float(value)) for was, value in zip(old, values)]
    scores_RV[rows, tokens] = np.array(new, dtype=scores_RV.dtype)
    return scores_RV


def _accepted(scores_RV: np.ndarray, edit: Edit) -> np.ndarray:
    assert edit.accept is not None
    rows = np.arange(len(scores_RV)) if edit.rows_N is None else edit.rows_N
    for row, number in zip(rows, rows if edit.numbers_N is None else edit.numbers_N):
        places = edit.accept.tokens(int(number)).tolist()
        if not np.isfinite(scores_RV[row, places]).any():
            places = list(edit.accept.ends)
        kept = scores_RV[row, places]
        scores_RV[row] = -np.inf
        scores_RV[row, places] = kept
    return scores_RV


def _new(kind: str, old: float, value: float) -> float:
    if kind == "scale":
        return old * value if old < 0 else old / value
    if kind == "stretch":
        return old if old == -np.inf else old + abs(old) * (value - 1)
    return {"ban": -np.inf, "only": old, "force": 0.0, "add": old + value}[kind]


def _whole(scores_RV: np.ndarray, edit: Edit) -> np.ndarray:
    if edit.kind == "normalize":
        return log_softmax(scores_RV)
    if edit.kind == "repair":
        most = np.finfo(scores_RV.dtype).max
        return np.asarray(np.nan_to_num(scores_RV, nan=0.0, posinf=most, neginf=-np.inf))
    assert edit.call is not None
    called: np.ndarray = np.asarray(edit.call(edit.ids_RT, scores_RV))
    return called
