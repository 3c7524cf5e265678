"""Beam scorers, by the interface of transformers 4.34: they take each step's best continuations, keep what
has ended, and say which beams go on. ``model.beam_search`` and its kin take one (``generation.scored``).

Arrays come and go on the host here; a scorer of another library gets those of the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pegasus.errors import BadSetting
from pegasus.generation.constraints import Constraint

Early = bool | Literal["never"]


class BeamScorer:
    """What leads a beam search; subclass it and give it ``process``, ``finalize`` and ``is_done``."""

    num_beams: int
    num_beam_groups: int = 1

    @property
    def is_done(self) -> bool:
        """Whether no text can be improved any more."""
        raise NotImplementedError

    def process(
        self, input_ids: Any, next_scores: Any, next_tokens: Any, next_indices: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Takes a step: scores, tokens and beams [B, K] of the best continuations of each text.

        Returns:
            ``next_beam_scores``, ``next_beam_tokens`` and ``next_beam_indices``, one for each row.
        """
        raise NotImplementedError

    def finalize(
        self, input_ids: Any, final_beam_scores: Any, final_beam_tokens: Any, final_beam_indices: Any,
        max_length: int | None = None, **kwargs: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Ends the search.

        Returns:
            ``sequences``, ``sequence_scores`` and ``beam_indices``.
        """
        raise NotImplementedError


@dataclass
class _Bank:
    """The best hypotheses of a text (or of one group of its beams): score, tokens, origins."""

    size: int
    penalty: float
    early: Early
    max_length: int | None
    found: list[tuple[float, np.ndarray, tuple[int, ...]]] = field(default_factory=list)
    done: bool = False

    def add(self, tokens: np.ndarray, total: float, origins: tuple[int, ...]) -> None:
        """Keeps a hypothesis if it is among the best."""
        self.found.append((total / len(tokens) ** self.penalty, tokens, origins))
        self.found.sort(key=lambda one: -one[0])
        del self.found[self.size :]

    def close(self, best: float, length: int) -> None:
        """Notes whether the best sum that goes on can still beat the worst that is kept."""
        full = len(self.found) == self.size
        if self.early is True or not full:
            self.done |= full
            return
        rising = self.early == "never" and self.penalty > 0
        if rising and self.max_length is None:
            raise BadSetting('do_early_stopping="never" compares with the longest length: give max_length.')
        divisor = (self.max_length or 0) if rising else length
        self.done |= self.found[-1][0] >= best / divisor**self.penalty


class BeamSearchScorer(BeamScorer):
    """Beam search, in groups or not, with the decisions of transformers 4.34.

    Args:
        batch_size: texts.
        num_beams: beams of each text, M.
        device: without effect.
        length_penalty: the exponent of length normalization.
        do_early_stopping: True, False or "never", as ``early_stopping`` of ``generate``.
        num_beam_hyps_to_keep: how many sequences of each text are returned.
        num_beam_groups: into how many groups the beams are divided.
        max_length: the longest length, prompt counted; only ``"never"`` needs it.
    """

    def __init__(
        self, batch_size: int, num_beams: int, device: Any = None, length_penalty: float = 1.0,
        do_early_stopping: Early | None = False, num_beam_hyps_to_keep: int = 1, num_beam_groups: int = 1,
        max_length: int | None = None,
    ) -> None:  # fmt: skip
        if num_beams < 2:
            raise BadSetting(f"num_beams is {num_beams}: with one beam call greedy_search.")
        if num_beam_groups < 1 or num_beams % num_beam_groups:
            raise BadSetting(
                f"num_beam_groups is {num_beam_groups}: it must divide num_beams, {num_beams}."
            )
        self.num_beams, self.num_beam_groups = num_beams, num_beam_groups
        self.num_beam_hyps_to_keep, self.group_size = num_beam_hyps_to_keep, num_beams // num_beam_groups
        early = do_early_stopping or False
        self.banks = [
            [_Bank(self.group_size, length_penalty, early, max_length) for _ in range(num_beam_groups)]
            for _ in range(batch_size)
        ]

    @property
    def is_done(self) -> bool:
        """Whether no text can be improved any more."""
        return all(bank.done for banks in self.banks for bank in banks)

    def process(
        self, input_ids: Any, next_scores: Any, next_tokens: Any, next_indices: Any,
        pad_token_id: int | None = None, eos_token_id: int | Sequence[int] | None = None,
        beam_indices: Any = None, group_index: int = 0, **kwargs: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Keeps what ends, among the first of each text, and goes on with the best of the others."""
        eos = (eos_token_id,) if isinstance(eos_token_id, int) else tuple(eos_token_id or ())
        ids_RT, tokens_BK, size = np.asarray(input_ids), np.asarray(next_tokens), self.group_size
        scores_BK, rows_BK = np.asarray(next_scores), np.asarray(next_indices)
        rows_BK = rows_BK + np.arange(len(rows_BK))[:, None] * size
        ends_BK = np.isin(tokens_BK, eos)
        shape = (len(rows_BK), size)
        chosen = np.nonzero(~ends_BK & (np.cumsum(~ends_BK, axis=1) <= size))
        found = [array[chosen].reshape(shape) for array in (scores_BK, tokens_BK, rows_BK)]
        first = group_index * len(ids_RT)
        for text, banks in enumerate(self.banks):
            bank = banks[group_index]
            if bank.done:
                for array, filler in zip(found, (0, pad_token_id or 0, text * size)):
                    array[text] = filler
                continue
            for rank in np.flatnonzero(ends_BK[text, :size]):
                row = rows_BK[text, rank]
                origins = () if beam_indices is None else (*beam_indices[first + row], int(row))
                bank.add(ids_RT[row].copy(), float(scores_BK[text, rank]), origins)
            bank.close(float(scores_BK[text].max()), ids_RT.shape[1] + 1)
        names = ("next_beam_scores", "next_beam_tokens", "next_beam_indices")
        return {name: array.reshape(-1) for name, array in zip(names, found)}

    def finalize(
        self, input_ids: Any, final_beam_scores: Any, final_beam_tokens: Any, final_beam_indices: Any,
        max_length: int | None = None, pad_token_id: int | None = None,
        eos_token_id: int | Sequence[int] | None = None, beam_indices: Any = None, **kwargs: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """The best of each text; texts that were not done add what they were still continuing."""
        ids_RT, sums_R = np.asarray(input_ids), np.asarray(final_beam_scores)
        eos = eos_token_id if isinstance(eos_token_id, int) else next(iter(eos_token_id or ()), None)
        best = []
        for text, banks in enumerate(self.banks):
            for group, bank in enumerate(banks):
                first = text * self.num_beams + group * self.group_size
                # Of the rows by group that ``beam_indices`` names, those of this text.
                named = (group * len(self.banks) + text) * self.group_size
                for beam in range(0 if bank.done else self.group_size):
                    origins = () if beam_indices is None else tuple(beam_indices[named + beam])
                    bank.add(ids_RT[first + beam], float(sums_R[first + beam]), origins)
            everything = sorted((one for bank in banks for one in bank.found), key=lambda one: -one[0])
            best += everything[: self.num_beam_hyps_to_keep]
        longest = max(len(tokens) for _, tokens, _ in best)
        width = longest + 1 if max_length is None else min(longest + 1, max_length)
        sequences = np.full((len(best), width), pad_token_id or 0, dtype=np.int64)
        origins_NT = np.full((len(best), width), -1, dtype=np.int64)
        for row, (_, tokens, origins) in enumerate(best):
            sequences[row, : len(tokens)] = tokens[:width]
            origins_NT[row, : len(origins)] = origins[:width]
            if eos is not None and len(tokens) < width:
                sequences[row, len(tokens)] = eos
        if eos is None or ((sequences[:, -1] == (pad_token_id or 0)).all() and longest < width):
            sequences, origins_NT = sequences[:, :longest], origins_NT[:, :longest]
        scores = np.array([score for score, _, _ in best], dtype=np.float32)
        return {
            "sequences": sequences,
            "sequence_scores": scores,
            "beam_indices": None if beam_indices is None else origins_NT,
        }


class ConstrainedBeamSearchScorer(BeamSearchScorer):
    """Beam search in which things must be said; ``constrained_beam_search`` follows its settings.

    Args:
        batch_size: texts.
        num_beams: beams of each text, M.
        constraints: what must be said.
        device: without effect.
        length_penalty: the exponent of length normalization.
        do_early_stopping: True, False or "never".
        num_beam_hyps_to_keep: how many sequences of each text are returned.
        max_length: without effect; the search has a length of its own.
    """

    def __init__(
        self, batch_size: int, num_beams: int, constraints: Sequence[Constraint], device: Any = None,
        length_penalty: float = 1.0, do_early_stopping: Early | None = False,
        num_beam_hyps_to_keep: int = 1, max_length: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(batch_size, num_beams, device, length_penalty, do_early_stopping)
        self.num_beam_hyps_to_keep, self.constraints = num_beam_hyps_to_keep, list(constraints)
        self.settings = {
            "num_beams": num_beams,
            "length_penalty": length_penalty,
            "early_stopping": do_early_stopping or False,
            "num_return_sequences": num_beam_hyps_to_keep,
            "constraints": self.constraints,
        }
