"""The beam search of PEGASUS's authors: it keeps other hypotheses than transformers', and forces no end."""

from __future__ import annotations

import numpy as np

from pegasus.generation.search.beam import Beam, hypotheses
from pegasus.generation.session import Hypotheses


class AuthorsBeam(Beam):
    """Beam search as in google-research/pegasus (``pegasus/layers/beam_search.py``).

    A continuation that ends counts at any rank among the 2M looked at, there is no forced end, and the
    search goes on to the last step. Any finished hypothesis beats every unfinished one; a place that no
    finished one fills is taken by the beam of that rank, with its plain sum as the score.
    """

    @property
    def _ends(self) -> None:
        """An end counts at any rank."""
        return None

    def _add_finished(self, ends_BK: np.ndarray, sums_BK: np.ndarray, rows_BK: np.ndarray) -> None:
        # −10⁹ marks beams that have not begun: they end with the others but say nothing.
        offers_BK = ends_BK & ~self.done_B[:, None] & (sums_BK > -1e8)
        banks = np.flatnonzero(offers_BK.any(axis=1))
        where = (self.history.steps, self.history.length)
        self.finished.add(
            self.texts_B[banks], offers_BK[banks], sums_BK[banks], rows_BK[banks], *where, ended=True
        )

    def _close(self, best_B: np.ndarray) -> None:
        """Stops a text early only where no later step can change its result."""
        if self.search_settings.processors.may_raise or self.search_settings.length_penalty < 0:
            return
        divisor = self.finished.normalization.divisor(self.search_settings.max_length - 1, ended=True)
        attainable_B = self.sums_BM[:, 0].astype(np.float64) / divisor
        full_B = self.finished.count_K[self.texts_B] == self.finished.size
        self.done_B |= full_B & (self.finished.scores_KM[self.texts_B, -1] >= attainable_B)

    def result(self) -> Hypotheses:
        """The finished ones, best first, then what is still open in the places left."""
        self._add_open(np.ones(len(self.texts_B), dtype=bool))
        order_BN = np.tile(np.arange(self.search_settings.returned), (len(self.finished.scores_KM), 1))
        return hypotheses(self.finished, self.history, self.search_settings, order_BN)

    def _add_open(self, open_B: np.ndarray) -> None:
        finished = self.finished
        rows_BM = np.arange(self.sums_BM.size).reshape(self.sums_BM.shape)
        left_BM = np.arange(finished.size) >= finished.count_K[self.texts_B, None]
        banks, slots = np.nonzero(left_BM & open_B[:, None])
        texts = self.texts_B[banks]
        finished.scores_KM[texts, slots] = self.sums_BM[banks, slots]
        finished.steps_KM[texts, slots] = self.history.steps
        finished.rows_KM[texts, slots] = rows_BM[banks, slots]
        finished.count_K[self.texts_B[open_B]] = finished.size
