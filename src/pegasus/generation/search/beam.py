"""Beam search: M continuations of each text are kept, the best ones that end are returned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pegasus.errors import NotOffered
from pegasus.generation.search.finished_hypotheses import FinishedHypotheses, LengthNormalization
from pegasus.generation.search.search_settings import WATCHED, SearchSettings, worth_dropping
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Answer, Ask, Hypotheses
from pegasus.generation.session.places import flat_places


class Beam:
    """Beam search with the decisions of transformers 4.34.

    In each step the K = (1 + number of EOS tokens) · M best continuations of a text are looked at. Those
    that end, if they are among the first M, are finished; the first M that do not end go on.

    Args:
        prompt_BT: what each text's decoder starts from.
        search_settings: the settings.
        numbers_B: what processors call the texts; None: 0, 1, 2 and so on.
    """

    def __init__(
        self, prompt_BT: np.ndarray, search_settings: SearchSettings, numbers_B: np.ndarray | None = None
    ) -> None:
        self.search_settings = search_settings
        texts, beams = len(prompt_BT), search_settings.beams
        copies = beams if search_settings.all_rows else 1
        self.history = TokenHistory(np.repeat(prompt_BT, copies, axis=0), copies, numbers_B)
        #: Which of the original texts are held, and which of those are done.
        self.texts_B = np.arange(texts)
        self.done_B = np.zeros(texts, dtype=bool)
        # All beams are the same at first. With one at 0 and the others far below, the first step takes
        # its M continuations from one of them; −10⁹ and not −∞ because transformers' arithmetic shows
        # when there are fewer than M possible continuations.
        self.sums_BM = np.full((texts, beams), -1e9, dtype=np.float32)
        self.sums_BM[:, 0] = 0
        prompt = prompt_BT.shape[1]
        normalization = LengthNormalization(
            search_settings.length_normalization, search_settings.length_penalty, prompt
        )
        self.finished = FinishedHypotheses(texts, beams, normalization)
        self.considered = max(2, 1 + len(search_settings.eos)) * beams
        self._next: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        #: Whether there is nothing left to ask.
        self.over = False

    def ask(self) -> Ask | None:
        """The best continuations of each beam."""
        return self._ask(self.considered, best_of_texts=True)

    @property
    def _ends(self) -> frozenset[int] | None:
        """The tokens that end a row, if what comes behind the first M others is of no matter."""
        return frozenset(self.search_settings.eos)

    def _ask(self, count: int | None, *, best_of_texts: bool = False) -> Ask | None:
        if self.over:
            return None
        parents_R, texts_B = self._next
        # The first step may have a single row a text, which stands for all its beams.
        per_text = len(self.history.texts_R) // len(self.texts_B)
        return Ask(
            self.history.unread_RT,
            parents_R=parents_R,
            texts_B=texts_B,
            edits=self.search_settings.processors.edits(self.history),
            count=count,
            scores="log_probs",
            sums_BM=self.sums_BM[:, :per_text] if best_of_texts else None,
            beams=self.search_settings.beams,
            ends=self._ends,
        )

    def update(self, answer: Answer) -> None:
        """Adds ended continuations to the finished and goes on with the best of the others."""
        self.take(*self.candidates(*self._by_text(answer)))

    def take(self, beams_BK: np.ndarray, tokens_BK: np.ndarray, sums_BK: np.ndarray) -> None:
        """One step with the best continuations of each text, as ``candidates`` finds them."""
        rows_BK = self._rows_of(beams_BK)
        ends_BK = self.search_settings.is_eos(tokens_BK)
        self._add_finished(ends_BK, sums_BK, rows_BK)
        # Those that do not end come first, in their order.
        order_BK = ends_BK.argsort(axis=1, kind="stable")
        chosen_BM = flat_places(order_BK[:, : self.search_settings.beams], ends_BK.shape[1])
        self.sums_BM = sums_BK.take(chosen_BM)
        self._close(sums_BK[:, 0])
        self._move(rows_BK.take(chosen_BM), tokens_BK.take(chosen_BM))

    def candidates(self, log_probs_BMC: np.ndarray, tokens_BMC: np.ndarray) -> tuple[np.ndarray, ...]:
        """The K best continuations of each text, best first: their beams, tokens and sums."""
        sums_BN = (log_probs_BMC + self.sums_BM[:, :, None]).reshape(len(log_probs_BMC), -1)
        best_BK = (-sums_BN).argsort(axis=1, kind="stable")[:, : self.considered]
        places_BK = flat_places(best_BK, sums_BN.shape[1])
        return best_BK // log_probs_BMC.shape[2], tokens_BMC.take(places_BK), sums_BN.take(places_BK)

    def drop(self, texts: Sequence[int]) -> None:
        """What is still being continued of these texts is added to the finished as it stands."""
        if self.search_settings.all_rows:
            raise NotOffered(WATCHED)
        held_B = np.isin(self.texts_B, np.asarray(texts)) & ~self.done_B
        self._add_open(held_B)
        self.done_B |= held_B
        self.over = self.over or bool(self.done_B.all())

    def result(self) -> Hypotheses:
        """The best of the finished; texts that were not done add what they were still continuing."""
        self._add_open(~self.done_B)
        return best_of(self.finished, self.history, self.search_settings)

    def _by_text(self, answer: Answer) -> tuple[np.ndarray, np.ndarray]:
        """The answer as [B, M, C]; the first may be about one row per text, which counts for all beams."""
        shape = (len(self.texts_B), -1, answer.tokens_RC.shape[1])
        log_probs_BMC, tokens_BMC = answer.log_probs_RC.reshape(shape), answer.tokens_RC.reshape(shape)
        if tokens_BMC.shape[1] < self.search_settings.beams:
            log_probs_BMC = np.repeat(log_probs_BMC, self.search_settings.beams, axis=1)
            tokens_BMC = np.repeat(tokens_BMC, self.search_settings.beams, axis=1)
        return log_probs_BMC, tokens_BMC

    def _rows_of(self, beams_BK: np.ndarray) -> np.ndarray:
        per_text = len(self.history.texts_R) // len(self.texts_B)
        # In the first step a text may have a single row, which stands for all its beams.
        return flat_places(beams_BK if per_text > 1 else np.zeros_like(beams_BK), per_text)

    def _add_finished(self, ends_BK: np.ndarray, sums_BK: np.ndarray, rows_BK: np.ndarray) -> None:
        beams = self.search_settings.beams
        offers_BM = ends_BK[:, :beams] & ~self.done_B[:, None]
        if not offers_BM.any():
            return
        with_any = np.flatnonzero(offers_BM.any(axis=1))
        self.finished.add(
            self.texts_B[with_any],
            offers_BM[with_any],
            sums_BK[with_any, :beams],
            rows_BK[with_any, :beams],
            self.history.steps,
            self.history.length,
            ended=True,
        )

    def _close(self, best_B: np.ndarray) -> None:
        search_settings = self.search_settings
        length = self.history.length + 1
        self.done_B |= self.finished.closed(
            self.texts_B, best_B, length, search_settings.early_stopping, search_settings.max_length
        )

    def _move(self, parents_BM: np.ndarray, tokens_BM: np.ndarray) -> None:
        """The chosen beams take their places; texts that are done stand still or are dropped."""
        texts_B = None
        if self.done_B.any():
            self._stand_still(parents_BM, tokens_BM)
            if not self.search_settings.all_rows and worth_dropping(self.done_B):
                texts_B = np.flatnonzero(~self.done_B)
                parents_BM, tokens_BM = parents_BM[texts_B], tokens_BM[texts_B]
                self.sums_BM = self.sums_BM[texts_B]
                self.texts_B, self.done_B = self.texts_B[texts_B], self.done_B[texts_B]
        parents_R = parents_BM.reshape(-1)
        own_R = np.arange(len(self.history.texts_R))
        same = len(parents_R) == len(own_R) and bool((parents_R == own_R).all())
        self._next = (None if same else parents_R, texts_B)
        self.history.grow(parents_R, tokens_BM.reshape(-1))
        self.search_settings.processors.carry(self.history, parents_R)
        over = bool(self.done_B.all()) or self.history.length >= self.search_settings.max_length
        self.over = self.search_settings.notify(lambda: self.history.ids_RT) or over

    def _stand_still(self, parents_BM: np.ndarray, tokens_BM: np.ndarray) -> None:
        """Texts that are done write padding, each beam for itself."""
        own_BM = np.tile(np.arange(parents_BM.shape[1]), (len(parents_BM), 1))
        parents_BM[self.done_B] = self._rows_of(own_BM)[self.done_B]
        tokens_BM[self.done_B] = self.search_settings.pad

    def _add_open(self, open_B: np.ndarray) -> None:
        open_B = np.flatnonzero(open_B)
        rows_BM = np.arange(self.sums_BM.size).reshape(self.sums_BM.shape)
        self.finished.add(
            self.texts_B[open_B],
            np.ones_like(rows_BM[open_B], dtype=bool),
            self.sums_BM[open_B],
            rows_BM[open_B],
            self.history.steps,
            self.history.length,
            ended=False,
        )


def best_of(
    finished: FinishedHypotheses, history: TokenHistory, search_settings: SearchSettings
) -> Hypotheses:
    """The ``returned`` best of each text, out of all its banks.

    transformers 4.34 writes EOS after every hypothesis for which there is room, also after one that a
    stopping criterion cut short; so does this, while ``finished_N`` tells the truth. Of equals the one that
    was found last comes first, as there.
    """
    scores_BN = finished.scores_KM.reshape(-1, search_settings.beams)
    last_first_BN = np.argsort(-scores_BN[:, ::-1], axis=1, kind="stable")[:, : search_settings.returned]
    order_BN = search_settings.beams - 1 - last_first_BN
    return hypotheses(finished, history, search_settings, order_BN, always_eos=True)


def hypotheses(
    finished: FinishedHypotheses,
    history: TokenHistory,
    search_settings: SearchSettings,
    order_BN: np.ndarray,
    always_eos: bool = False,
) -> Hypotheses:
    """What stands in the given places of each text's finished hypotheses, padded to one width."""

    def pick(found_KM: np.ndarray) -> np.ndarray:
        return np.take_along_axis(found_KM.reshape(-1, search_settings.beams), order_BN, axis=1).reshape(-1)

    steps_N, finished_N, scores_N = (
        pick(finished.steps_KM),
        pick(finished.ended_KM),
        pick(finished.scores_KM),
    )
    rows_N = pick(finished.rows_KM)
    sequences_NT, beams_NT = history.walk_back(steps_N, rows_N, search_settings.beams)
    ended = np.flatnonzero(finished_N)
    beams_NT = _widened(beams_NT, beams_NT.shape[1] + 1)
    beams_NT[ended, steps_N[ended]] = history.beams_of(steps_N[ended], rows_N[ended], search_settings.beams)
    lengths_N = history.prompt_RT.shape[1] + steps_N
    width = max(int(lengths_N.max()), min(int(lengths_N.max()) + 1, search_settings.max_length))
    if search_settings.eos:
        room = np.flatnonzero((lengths_N < width) & (finished_N | always_eos))
        sequences_NT = _widened(sequences_NT, width)
        sequences_NT[room, lengths_N[room]] = search_settings.eos[0]
        lengths_N[room] += 1
    width = int(lengths_N.max())
    sequences_NT = _widened(sequences_NT, width)
    sequences_NT = np.where(sequences_NT < 0, search_settings.pad, sequences_NT)
    with np.errstate(over="ignore"):  # a length to the power of a large penalty may be beyond float32
        scores_N = np.where(scores_N <= -1e299, -np.inf, scores_N).astype(np.float32)
    return Hypotheses(sequences_NT, lengths_N, scores_N, finished_N, _widened(beams_NT, width))


def _widened(values_NT: np.ndarray, width: int) -> np.ndarray:
    missing = max(0, width - values_NT.shape[1])
    return np.pad(values_NT, ((0, 0), (0, missing)), constant_values=-1)[:, :width]
