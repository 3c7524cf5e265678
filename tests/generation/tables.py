"""A session that is a table of numbers, drawn from a seeded generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pegasus.generation.session import Answer, Ask, Edit

LogitsOf = Callable[[int, tuple[int, ...]], np.ndarray]


def log_softmax(scores: np.ndarray) -> np.ndarray:
    highest = scores.max(axis=-1, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0)
    with np.errstate(divide="ignore"):
        return scores - highest - np.log(np.exp(scores - highest).sum(axis=-1, keepdims=True))


def random_logits(vocabulary: int, seed: int, spread: float = 2.0) -> LogitsOf:
    """Logits that depend on the text and on all that was written."""

    def of(text: int, prefix: tuple[int, ...]) -> np.ndarray:
        generator = np.random.default_rng([seed, text, *prefix])
        return (generator.standard_normal(vocabulary) * spread).astype(np.float32)

    return of


class TableSession:
    """Answers from a function (text, prefix) → logits. It checks what a session may rely on."""

    def __init__(self, vocab_size: int, texts: int, logits_of: LogitsOf) -> None:
        self.vocab_size, self.logits_of = vocab_size, logits_of
        self.texts_B = np.arange(texts)
        self.rows: list[tuple[int, ...]] = [()] * texts
        self.passes = 0
        self.rows_read = 0

    def step(self, ask: Ask) -> Answer:
        if ask.tokens_RT.shape[1]:
            self._read(ask)
        texts = np.repeat(self.texts_B, len(self.rows) // len(self.texts_B))
        places = [
            (int(text), row[: len(row) - back])
            for text, row in zip(texts, self.rows)
            for back in range(ask.positions - 1, -1, -1)
        ]
        if ask.rows is not None:
            places = [places[row] for row in ask.rows]
        scores = np.stack([self.logits_of(*place) for place in places])
        if ask.scores == "log_probs":
            scores = log_softmax(scores)
        for edit in ask.edits:
            scores = edited(scores, edit)
        if ask.scores == "logits":
            scores = log_softmax(scores)
        also = None if ask.also_RK is None else np.take_along_axis(scores, ask.also_RK, axis=1)
        if ask.count is None:
            every = np.broadcast_to(np.arange(self.vocab_size), scores.shape)
            return Answer(scores, every, also)
        tokens = np.argsort(-scores, axis=1, kind="stable")[:, : ask.count]
        return Answer(np.take_along_axis(scores, tokens, axis=1), tokens, also)

    def _read(self, ask: Ask) -> None:
        self.passes += 1
        self.rows_read += len(ask.tokens_RT)
        rows = self.rows if ask.keep is None else [row[: ask.keep] for row in self.rows]
        if ask.parents_R is not None:
            owners = np.repeat(self.texts_B, len(rows) // len(self.texts_B))[ask.parents_R]
            self.texts_B = self.texts_B if ask.texts_B is None else self.texts_B[ask.texts_B]
            expected = np.repeat(self.texts_B, len(ask.parents_R) // len(self.texts_B))
            assert (owners == expected).all(), "a row was given to another text"
            rows = [rows[parent] for parent in ask.parents_R]
        else:
            assert ask.texts_B is None
        if not any(rows) and len(rows) != len(ask.tokens_RT):
            rows = [()] * len(ask.tokens_RT)
        assert len(rows) == len(ask.tokens_RT)
        self.rows = [row + tuple(int(token) for token in new) for row, new in zip(rows, ask.tokens_RT)]


def edited(scores: np.ndarray, edit: Edit) -> np.ndarray:
    """Makes one edit, the slow and obvious way."""
    scores = scores.copy()
    if edit.tokens_N is None and edit.rows_N is not None:
        scores[edit.rows_N] = edited(scores[edit.rows_N], replace(edit, rows_N=None))
        return scores
    if edit.kind == "normalize":
        return log_softmax(scores)
    if edit.kind == "repair":
        scores[np.isnan(scores)] = 0
        scores[scores == np.inf] = np.finfo(scores.dtype).max
        return scores
    if edit.kind == "call":
        assert edit.call is not None
        return edit.call(edit.ids_RT, scores)
    assert edit.tokens_N is not None
    rows, tokens = edit.rows_N, edit.tokens_N
    if rows is None:
        rows = np.repeat(np.arange(len(scores)), len(tokens))
        tokens = np.tile(tokens, len(scores))
    values = np.zeros(1) if edit.values_N is None else edit.values_N
    values = np.resize(values, len(tokens)).astype(np.float32)
    before = scores.copy()
    if edit.kind in ("only", "force"):
        scores[np.unique(rows)] = -np.inf
    for row, token, value in zip(rows, tokens, values):
        old = before[row, token]
        scores[row, token] = {
            "ban": -np.inf,
            "only": old,
            "force": 0,
            "add": old + value,
            "scale": old * value if old < 0 else old / value,
            "stretch": old if old == -np.inf else old + abs(old) * (value - 1),
        }[edit.kind]
    return scores
