"""Sampling: each row draws its next token, with or without beams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pegasus.generation.beam import Beam
from pegasus.generation.filters import Filter
from pegasus.generation.greedy import Greedy
from pegasus.generation.plan import Plan
from pegasus.generation.session import Answer, Ask, Hypotheses


def _races(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Gumbel noise: the best of scores + noise is drawn with the probability that softmax gives it.

    The k best are k draws without replacement.
    """
    return generator.gumbel(size=shape)


class Sampling(Greedy):
    """Each row draws from the distribution that the filters leave.

    Args:
        prompt_BT: what each text's decoder starts from.
        plan: the settings.
        filters: which tokens may be drawn.
        count: how many of the best tokens the filters need to see; None: all.
        generator: the source of chance.
    """

    def __init__(
        self,
        prompt_BT: np.ndarray,
        plan: Plan,
        filters: Sequence[Filter],
        count: int | None,
        generator: np.random.Generator,
    ) -> None:
        super().__init__(prompt_BT, plan)
        self.filters, self.generator = filters, generator
        self.count = None if plan.record_scores else count
        self.filtered: list[np.ndarray] = []

    def choose(self, answer: Answer) -> tuple[np.ndarray, np.ndarray]:
        """A token for each row; its log-probability is that before the filters."""
        scores_RC = answer.log_probs_RC
        for one in self.filters:
            scores_RC = one(scores_RC)
        if self.plan.record_scores:
            self.filtered.append(np.array(scores_RC))
        drawn_R1 = (scores_RC + _races(self.generator, scores_RC.shape)).argmax(axis=1)[:, None]
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
        plan: Plan,
        filters: Sequence[Filter],
        count: int | None,
        generator: np.random.Generator,
    ) -> None:
        super().__init__(prompt_BT, plan)
        self.filters, self.count, self.generator = filters, count, generator

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
        raced_BN = sums_BN + _races(self.generator, sums_BN.shape)
        drawn_BK = np.argsort(-raced_BN, axis=1, kind="stable")[:, : self.considered]
        order_BK = np.argsort(-np.take_along_axis(sums_BN, drawn_BK, 1), axis=1, kind="stable")
        best_BK = np.take_along_axis(drawn_BK, order_BK, 1)
        tokens_BN = tokens_BMC.reshape(texts, -1)
        sums_BK = np.take_along_axis(sums_BN, best_BK, 1)
        return best_BK // count, np.take_along_axis(tokens_BN, best_BK, 1), sums_BK
