"""Scores in a NumPy array: all questions and changes in their plainest form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def log_softmax(scores_NV: np.ndarray) -> np.ndarray:
    """Log-probabilities over the vocabulary; −∞ stays −∞."""
    shifted_NV = scores_NV - scores_NV.max(axis=1, keepdims=True)
    logs_NV: np.ndarray = shifted_NV - np.log(np.exp(shifted_NV).sum(axis=1, keepdims=True))
    return logs_NV


class HostScores:
    """Numbers of the host; ``session.decoder.Scores`` describes each question.

    Args:
        scores_NV: float32; changed in place.
        to_native: what the caller's arrays are made of; None: NumPy's.
    """

    in_place = True

    def __init__(self, scores_NV: np.ndarray, to_native: Callable[[np.ndarray], Any] | None = None) -> None:
        self.scores_NV, self.to_native = scores_NV, to_native or np.asarray
        self.rows, self.vocabulary = scores_NV.shape

    def places(self, rows_K: np.ndarray | None, tokens_K: np.ndarray) -> Any:
        """An index."""
        if rows_K is None:
            return np.arange(self.rows)[:, None], tokens_K[None]
        return rows_K, tokens_K

    def where(self, condition: Any, yes: Any, no: Any) -> np.ndarray:
        """One or the other."""
        return np.asarray(np.where(condition, yes, no))

    def get(self, places: Any) -> np.ndarray:
        """The numbers there."""
        return np.asarray(self.scores_NV[places])

    def put(self, places: Any, values: Any) -> None:
        """Changes them."""
        self.scores_NV[places] = values

    def array(self, values_K: np.ndarray) -> np.ndarray:
        """In float32."""
        return np.asarray(values_K, dtype=np.float32)

    def fill(self, rows_K: np.ndarray, value: float) -> None:
        """One number for whole rows."""
        self.scores_NV[rows_K] = value

    def take(self, rows_K: np.ndarray | None) -> Any:
        """A copy of some rows."""
        return self.to_native(np.array(self.scores_NV if rows_K is None else self.scores_NV[rows_K]))

    def replace(self, rows_K: np.ndarray | None, values: Any) -> None:
        """Other numbers for whole rows."""
        self.scores_NV[slice(None) if rows_K is None else rows_K] = np.asarray(values)

    def copy(self) -> Any:
        """A copy of all."""
        return self.to_native(np.array(self.scores_NV))

    def log_softmax(self, rows_K: np.ndarray | None = None) -> None:
        """Log-probabilities."""
        rows = slice(None) if rows_K is None else rows_K
        self.scores_NV[rows] = log_softmax(self.scores_NV[rows])

    def repair(self, rows_K: np.ndarray | None = None) -> None:
        """No NaN and no +∞."""
        rows, most = slice(None) if rows_K is None else rows_K, float(np.finfo(np.float32).max)
        self.scores_NV[rows] = np.nan_to_num(self.scores_NV[rows], nan=0.0, posinf=most, neginf=-np.inf)

    def logsumexp(self) -> np.ndarray:
        """[N]."""
        most_N1 = self.scores_NV.max(axis=1, keepdims=True)
        sums_N1 = np.exp(self.scores_NV - most_N1).sum(axis=1, keepdims=True)
        found_N: np.ndarray = (most_N1 + np.log(sums_N1))[:, 0]
        return found_N

    def best(self, count: int, shift: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Those from the least that is wanted on, sorted: of equal ones the lower token comes first."""
        scores_NV = self.whole(shift)
        least_N = np.partition(scores_NV, -count, axis=1)[:, -count]
        tokens_NC = np.stack([_first(row, least, count) for row, least in zip(scores_NV, least_N)])
        return np.take_along_axis(scores_NV, tokens_NC, axis=1), tokens_NC

    def gather(self, tokens_NK: np.ndarray, shift: Any = None) -> np.ndarray:
        """Some tokens of each row."""
        found_NK = np.take_along_axis(self.scores_NV, tokens_NK, axis=1)
        return found_NK if shift is None else found_NK - shift[:, None]

    def whole(self, shift: Any = None) -> np.ndarray:
        """All of them."""
        return np.array(self.scores_NV) if shift is None else self.scores_NV - shift[:, None]


def _first(scores_V: np.ndarray, least: np.floating, count: int) -> np.ndarray:
    tokens = np.flatnonzero(scores_V >= least)
    return np.asarray(tokens[np.argsort(-scores_V[tokens], kind="stable")[:count]])
