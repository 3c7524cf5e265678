"""Sampling: each row draws its next token, with or without beams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pegasus.generation.search.beam import Beam
from pegasus.generation.search.greedy import Greedy
from pegasus.generation.search.sampling_filters import Filter
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import Answer, Ask, Hypotheses


class Noise:
    """Gumbel noise: the best of scores + noise is drawn with the probability that softmax gives it.

    The k best are k draws without replacement. The noise of a step belongs to places in the order of the
    scores and to rows by their original number: neither the tail that a caller asked for nor the rows that
    are done and gone change what others draw.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.step = seed, 0

    def over(
        self, scores: np.ndarray, numbers: np.ndarray | None = None, total: int | None = None
    ) -> np.ndarray:
        """Scores [N, ..., C] with the noise of the next step added; which of ``total`` the N are."""
        first, *between, count = scores.shape
        shape = (count, total or first, *between)
        noise = np.random.default_rng([self.seed, self.step]).gumbel(size=shape)
        noise = noise if numbers is None else noise[:, numbers]
        self.step += 1
        places = np.argsort(-scores, axis=-1, kind="stable")
        raced: np.ndarray = np.array(scores, dtype=np.float64)
        ranked = np.take_along_axis(raced, places, axis=-1) + np.moveaxis(noise, 0, -1)
        np.put_along_axis(raced, places, ranked, axis=-1)
        return raced

    def drawn(
        self, sums_BMC: np.ndarray, count: int, numbers: np.ndarray | None = None, total: int | None = None
    ) -> np.ndarray:
        """``count`` continuations of each text, drawn without replacement, best sum first."""
        texts = len(sums_BMC)
        sums_BN = sums_BMC.reshape(texts, -1)
        raced_BN = self.over(sums_BMC, numbers, total).reshape(texts, -1)
        drawn_BK = np.argsort(-raced_BN, axis=1, kind="stable")[:, :count]
        order_BK = np.argsort(-np.take_along_axis(sums_BN, drawn_BK, 1), axis=1, kind="stable")
        best_BK: np.ndarray = np.take_along_axis(drawn_BK, order_BK, 1)
        return best_BK


class Sampling(Greedy):
    """Each row draws from the distribution that the filters leave.

    Args:
        prompt_BT: what each text's decoder starts from.
        search_settings: the settings.
        filters: which tokens may be drawn.
        count: how many of the best tokens the filters need to see; None: all.
        seed: what chance starts from.
    """

    def __init__(
        self,
        prompt_BT: np.ndarray,
        search_settings: SearchSettings,
        filters: Sequence[Filter],
        count: int | None,
        seed: int,
    ) -> None:
        super().__init__(prompt_BT, search_settings)
        self.filters, self.noise = filters, Noise(seed)
        self.count = None if search_settings.record_scores else count
        self.filtered: list[np.ndarray] = []

    def choose(self, answer: Answer) -> tuple[np.ndarray, np.ndarray]:
        """A token for each row; its log-probability is that before the filters."""
        scores_RC = answer.log_probs_RC
        for one in self.filters:
            scores_RC = one(scores_RC)
        if self.search_settings.record_scores:
            self.filtered.append(np.array(scores_RC))
        # Places of a guess, when there are any, are no rows.
        live = self.live_R if len(self.live_R) == len(scores_RC) else None
        total = None if live is None else len(self.eos_N)
        drawn_R1 = self.noise.over(scores_RC, live, total).argmax(axis=1)[:, None]
        tokens_R = np.take_along_axis(answer.tokens_RC, drawn_R1, axis=1)[:, 0]
        return tokens_R, np.take_along_axis(answer.log_probs_RC, drawn_R1, axis=1)[:, 0]

    def result(self) -> Hypotheses:
        """What each row said, with the filtered scores where they are recorded."""
        return super().result().with_scores(self.filtered)


class BeamSampling(Beam):
    """Beam search in which the K continuations of a text are drawn, not the best.

    As in transformers 4.34 the filters see sums of log-probabilities, so a temperature also divides what
    was said before.
    """

    def __init__(
        self,
        prompt_BT: np.ndarray,
        search_settings: SearchSettings,
        filters: Sequence[Filter],
        count: int | None,
        seed: int,
    ) -> None:
        super().__init__(prompt_BT, search_settings)
        self.filters, self.count, self.noise = filters, count, Noise(seed)
        # All beams count from the start: each draws for itself.
        self.sums_BM[:] = 0

    def ask(self) -> Ask | None:
        """The distribution of each beam, as much of it as the filters need."""
        return self._ask(self.count)

    def candidates(self, log_probs_BMC: np.ndarray, tokens_BMC: np.ndarray) -> tuple[np.ndarray, ...]:
        """K continuations of each text drawn without replacement, then ordered by their sums."""
        texts, beams, count = log_probs_BMC.shape
        sums_RC = (log_probs_BMC + self.sums_BM[:, :, None]).reshape(texts * beams, count)
        for one in self.filters:
            sums_RC = one(sums_RC)
        sums_BN = sums_RC.reshape(texts, beams * count).astype(np.float32)
        of_text = (self.texts_B, len(self.finished.count_K))
        best_BK = self.noise.drawn(sums_BN.reshape(texts, beams, count), self.considered, *of_text)
        tokens_BN = tokens_BMC.reshape(texts, -1)
        sums_BK = np.take_along_axis(sums_BN, best_BK, 1)
        return best_BK // count, np.take_along_axis(tokens_BN, best_BK, 1), sums_BK
