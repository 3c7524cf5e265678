"""Beam search whose decisions the caller's beam scorer takes, by the interface of transformers 4.34.

The scorer is told the best continuations of each text (``process``) and says which beams go on; at the end
(``finalize``) it says what was found. So scorers written for transformers, its own among them, can be used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pegasus.errors import BadSetting, NotOffered
from pegasus.generation.search.sampling import Noise
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Answer, Ask, Edit, Hypotheses


@dataclass(frozen=True)
class Callers:
    """What the caller brings along, and how arrays travel to it.

    Attributes:
        scorer: its beam scorer.
        processors: functions (ids, log-probabilities) → log-probabilities.
        warpers: functions (ids, sums of log-probabilities) → sums, for sampling.
        to_native: a host's array → the device's.
        to_host: the other way.
    """

    scorer: Any
    processors: Sequence[Any]
    warpers: Sequence[Any]
    to_native: Callable[[np.ndarray], Any]
    to_host: Callable[[Any], np.ndarray]


class ScoredBeams:
    """Beams in one or several groups, led by a scorer.

    Args:
        prompt_RT: what each beam starts from; the beams of a text lie side by side.
        search_settings: the settings.
        callers: the scorer and the functions beside it.
        whole: whether the scorer wants the scores of the whole vocabulary (constrained search).
        noise: draws continuations instead of taking the best; None: it does not.
    """

    def __init__(
        self, prompt_RT: np.ndarray, search_settings: SearchSettings, callers: Callers, whole: bool = False,
        noise: Noise | None = None,
    ) -> None:  # fmt: skip
        self.search_settings, self.callers, self.whole, self.noise = search_settings, callers, whole, noise
        self.beams = int(callers.scorer.num_beams)
        self.groups = int(getattr(callers.scorer, "num_beam_groups", 1))
        self.size = self.beams // self.groups
        if len(prompt_RT) % self.beams:
            raise BadSetting(
                f"input_ids have {len(prompt_RT)} rows, which is no multiple of the scorer's "
                f"{self.beams} beams: repeat each text, with input_ids.repeat_interleave(num_beams, 0)"
            )
        self.history = TokenHistory(prompt_RT)
        self.sums_R = np.zeros(len(prompt_RT), dtype=np.float32)
        if noise is None:
            # All beams are the same at first, so only one of each group counts.
            self.sums_R[np.arange(len(prompt_RT)) % self.size != 0] = -1e9
        self.considered = max(2, 1 + len(search_settings.eos)) * self.size
        #: By group and row within it: which rows each beam came from, as the scorer wants to be told.
        self.origins: list[tuple[tuple[int, ...], ...]] = [
            tuple(() for _ in range(len(prompt_RT) // self.groups)) for _ in range(self.groups)
        ]
        self._group, self._over = 0, False
        self._parents_R: np.ndarray | None = None
        self._chosen = self._nothing_chosen()
        self._last: tuple[Any, Any] = (None, None)

    def ask(self) -> Ask | None:
        """What may follow the beams of the next group; the first group's ask moves the model on."""
        if self._over:
            return None
        rows = self._rows()
        fresh = self._group == 0
        return Ask(
            self.history.unread_RT if fresh else np.zeros((len(rows), 0), dtype=np.int64),
            parents_R=self._parents_R if fresh else None,
            edits=[Edit("call", call=self._processed, ids_RT=self.history.ids_RT[rows])],
            count=None if self.whole or self.noise is not None else self.considered,
            scores="log_probs",
            rows=rows if self.groups > 1 else None,
        )

    def update(self, answer: Answer) -> None:
        """Hands the best continuations of a group to the scorer; after the last group all rows move."""
        rows = self._rows()
        sums_RC = (answer.log_probs_RC + self.sums_R[rows, None]).astype(np.float32)
        texts = len(rows) // self.size
        sums_BN = sums_RC.reshape(texts, -1)
        if self.noise is None:
            best_BK = np.argsort(-sums_BN, axis=1, kind="stable")[:, : self.considered]
        else:
            best_BK = self.noise.drawn(sums_RC.reshape(texts, self.size, -1), self.considered)
        tokens_BK = np.take_along_axis(answer.tokens_RC.reshape(texts, -1), best_BK, axis=1)
        found = (np.take_along_axis(sums_BN, best_BK, 1), tokens_BK, best_BK // sums_RC.shape[1])
        self._settle(rows, found, sums_RC)
        self._group += 1
        if self._group == self.groups:
            self._move()

    def drop(self, texts: Sequence[int]) -> None:
        """Refused: the scorer counts all its texts."""
        raise NotOffered("a search led by a beam scorer keeps all its texts: cancel the whole call.")

    def result(self) -> Hypotheses:
        """What the scorer says was found."""
        native = self.callers.to_native
        tokens, indices = self._last
        said = self.callers.scorer.finalize(
            native(self.history.ids_RT), native(self.sums_R), tokens, indices,
            pad_token_id=self.search_settings.pad, eos_token_id=list(self.search_settings.eos) or None,
            max_length=self.search_settings.max_length, beam_indices=sum(self.origins, ()),
        )  # fmt: skip
        sequences_NT = self.callers.to_host(said["sequences"]).astype(np.int64)
        scores_N = self.callers.to_host(said["sequence_scores"]).astype(np.float32)
        said_NT = sequences_NT[:, self.history.prompt_RT.shape[1] :]
        ends_N = np.asarray(self.search_settings.is_eos(said_NT).any(axis=1))
        origins = said.get("beam_indices")
        beams_NT = None if origins is None else self.callers.to_host(origins).astype(np.int64)
        lengths_N = np.full(len(sequences_NT), sequences_NT.shape[1])
        return Hypotheses(sequences_NT, lengths_N, scores_N, ends_N, beams_NT)

    def _rows(self) -> np.ndarray:
        """The rows of the group whose turn it is."""
        firsts = np.arange(len(self.history.texts_R) // self.beams)[:, None] * self.beams
        return np.asarray(firsts + self._group * self.size + np.arange(self.size)).reshape(-1)

    def _nothing_chosen(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = len(self.history.texts_R)
        return np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.float32)

    def _processed(self, ids: Any, scores: Any) -> Any:
        """The caller's functions over one group; warpers see sums, as in transformers 4.34."""
        groups = {"current_tokens": self.callers.to_native(self._chosen[1]), "beam_group_idx": self._group}
        for processor in self.callers.processors:
            known = inspect.signature(processor).parameters
            extra = {name: value for name, value in groups.items() if name in known}
            scores = processor(ids, scores, **extra)
        if self.callers.warpers:
            sums = self.callers.to_native(self.sums_R[self._rows(), None])
            scores = scores + sums
            for warper in self.callers.warpers:
                scores = warper(ids, scores)
            scores = scores - sums
        return scores

    def _settle(self, rows: np.ndarray, found: tuple[np.ndarray, ...], sums_RC: np.ndarray) -> None:
        """The scorer's word about one group."""
        native, host = self.callers.to_native, self.callers.to_host
        more: tuple[Any, ...] = (native(sums_RC),) if self.whole else ()
        named = {"group_index": self._group} if self.groups > 1 else {}
        tokens, indices = native(found[1]), native(found[2])
        said = self.callers.scorer.process(
            native(self.history.ids_RT[rows]), native(found[0]), tokens, indices, *more,
            pad_token_id=self.search_settings.pad, eos_token_id=list(self.search_settings.eos) or None,
            beam_indices=sum(self.origins, ()), **named,
        )  # fmt: skip
        self._last = (tokens, indices)
        from_R = host(said["next_beam_indices"]).astype(np.int64)
        parents_R, tokens_R, sums_R = self._chosen
        parents_R[rows] = rows[from_R]
        tokens_R[rows] = host(said["next_beam_tokens"])
        sums_R[rows] = host(said["next_beam_scores"])
        before = self.origins[self._group]
        self.origins[self._group] = tuple((*before[row], int(row)) for row in from_R)

    def _move(self) -> None:
        parents_R, tokens_R, self.sums_R = self._chosen
        self._parents_R = parents_R
        self.history.grow(parents_R, tokens_R)
        self._chosen, self._group = self._nothing_chosen(), 0
        over = bool(self.callers.scorer.is_done) or self.history.length >= self.search_settings.max_length
        self._over = self.search_settings.notify(lambda: self.history.ids_RT) or over
