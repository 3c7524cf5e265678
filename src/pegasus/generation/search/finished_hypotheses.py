"""The best finished hypotheses of each text, and whether a text can still be improved."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pegasus.generation.session.places import flat_places

EarlyStopping = bool | Literal["never"]

#: Stands for a score of −∞ that was really found, above the −∞ of an empty place.
_LOWEST = -1e300


class LengthNormalization:
    """How a sum of log-probabilities is divided by a function of the length.

    Args:
        kind: ``"transformers"``: length to the power of the penalty, where the length counts the start
            token but not EOS in transformers 4.34 (later versions count differently and choose the same
            words). ``"authors"``: ((5 + L) / 6) to the power of the penalty, L the tokens said with EOS.
        penalty: the exponent; 0 turns normalization off.
        prompt: tokens of the prompt, which the authors do not count.
        start: the authors' 5; with 0 the divisor is L to the power of the penalty.
    """

    def __init__(
        self, kind: Literal["transformers", "authors"], penalty: float, prompt: int, start: float = 5.0
    ) -> None:
        self.kind, self.penalty, self.prompt, self.start = kind, penalty, prompt, start

    def divisor(self, length: int, ended: bool) -> float:
        """The divisor of a hypothesis of ``length`` tokens, start token counted, EOS (if ended) not."""
        if self.kind == "authors":
            said = length - self.prompt + ended
            return float(((self.start + said) / (1 + self.start)) ** self.penalty)
        return float(length**self.penalty)


class FinishedHypotheses:
    """K banks (texts, or groups of beams within texts) with room for ``size`` finished hypotheses each.

    A hypothesis is a place on the history: after which step, in which row. Banks keep their best by
    normalized score; of equals the one found first stays, as in transformers.
    """

    def __init__(self, banks: int, size: int, normalization: LengthNormalization) -> None:
        self.size, self.normalization = size, normalization
        self.scores_KM = np.full((banks, size), -np.inf)
        self.steps_KM = np.full((banks, size), -1, dtype=np.int64)
        self.rows_KM = np.full((banks, size), -1, dtype=np.int64)
        self.ended_KM = np.zeros((banks, size), dtype=bool)
        self.count_K = np.zeros(banks, dtype=np.int64)

    def add(
        self,
        banks_N: np.ndarray,
        offers_NC: np.ndarray,
        sums_NC: np.ndarray,
        rows_NC: np.ndarray,
        step: int,
        length: int,
        ended: bool,
    ) -> None:
        """Offers hypotheses to some banks, all of one length.

        Args:
            banks_N: the banks.
            offers_NC: which of the C candidates of each bank are offered.
            sums_NC: sums of log-probabilities.
            rows_NC: the rows they end in.
            step: after how many steps.
            length: tokens, start token counted, EOS not.
            ended: whether they end in EOS.
        """
        if not offers_NC.any():
            return
        scores_NC = np.maximum(
            sums_NC.astype(np.float64) / self.normalization.divisor(length, ended), _LOWEST
        )
        scores_NC = np.where(offers_NC, scores_NC, -np.inf)
        if not (scores_NC > self.scores_KM[banks_N, -1:]).any():
            return
        both = np.concatenate([self.scores_KM[banks_N], scores_NC], axis=1)
        best = (-both).argsort(axis=1, kind="stable")[:, : self.size]
        best = flat_places(best, both.shape[1])

        def merge(old_KM: np.ndarray, new_NC: np.ndarray) -> None:
            old_KM[banks_N] = np.concatenate([old_KM[banks_N], new_NC], axis=1).take(best)

        merge(self.scores_KM, scores_NC)
        merge(self.steps_KM, np.full(rows_NC.shape, step))
        merge(self.rows_KM, rows_NC)
        merge(self.ended_KM, np.full(rows_NC.shape, ended))
        self.count_K[banks_N] = np.isfinite(self.scores_KM[banks_N]).sum(axis=1)

    def closed(
        self,
        banks_N: np.ndarray,
        best_sums_N: np.ndarray,
        length: int,
        early: EarlyStopping,
        max_length: int,
    ) -> np.ndarray:
        """Which banks are done, given the best sum still being continued and the length it has.

        ``early`` True: as soon as a bank is full; False: when the best, at its present length, would not
        beat the worst that is kept; ``"never"``: when it could not at any length up to ``max_length``.
        """
        full_N: np.ndarray = self.count_K[banks_N] == self.size
        if early is True or not full_N.any():
            return full_N
        rising = early == "never" and self.normalization.penalty > 0
        divisor = self.normalization.divisor(max_length if rising else length, ended=False)
        attainable = best_sums_N.astype(np.float64) / divisor
        closed_N: np.ndarray = full_N & (self.scores_KM[banks_N, -1] >= attainable)
        return closed_N
