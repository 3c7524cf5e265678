"""Logits warpers: which tokens may be drawn, as classes to call on PyTorch tensors.

The names and arguments are those of transformers 4.34; ``generation/search/sampling_filters.py`` computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pegasus.backends.torch.compatibility.logits_processors import LogitsWarper
from pegasus.errors import BadSetting
from pegasus.generation.search import sampling_filters as filters


class _Filter(LogitsWarper):
    """Puts ``filter_value`` wherever a filter takes a token out."""

    filter_value: float

    def _keep(self) -> Callable[[np.ndarray], np.ndarray]:
        raise NotImplementedError

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores of the tokens that may be drawn."""
        host = scores.detach().float().cpu().numpy()
        out = torch.from_numpy(np.isneginf(self._keep()(host))).to(scores.device)
        return scores.masked_fill(out, self.filter_value)


class TemperatureLogitsWarper(LogitsWarper):
    """Flattens (above 1) or sharpens (below 1) the distribution."""

    def __init__(self, temperature: float) -> None:
        if isinstance(temperature, bool) or not temperature > 0:
            raise BadSetting(
                f"temperature={temperature!r} is no number above 0. For greedy search say do_sample=False."
            )
        self.temperature = float(temperature)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores, divided."""
        return scores / self.temperature


class TopKLogitsWarper(_Filter):
    """Keeps the ``top_k`` best."""

    def __init__(self, top_k: int, filter_value: float = -math.inf, min_tokens_to_keep: int = 1) -> None:
        if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
            raise BadSetting(f"top_k={top_k!r} is no whole number from 1 on.")
        self.top_k, self.filter_value = max(top_k, min_tokens_to_keep), filter_value

    def _keep(self) -> Callable[[np.ndarray], np.ndarray]:
        return lambda scores_RC: filters.top_k(scores_RC, self.top_k)


class TopPLogitsWarper(_Filter):
    """Keeps the smallest set of best tokens that together reach ``top_p``."""

    def __init__(self, top_p: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1) -> None:
        if not 0 <= top_p <= 1:
            raise BadSetting(f"top_p={top_p!r} is no share from 0 to 1.")
        self.top_p, self.filter_value, self.min_tokens_to_keep = (
            float(top_p),
            filter_value,
            min_tokens_to_keep,
        )

    def _keep(self) -> Callable[[np.ndarray], np.ndarray]:
        return lambda scores_RC: filters.top_p(scores_RC, self.top_p, self.min_tokens_to_keep)


class TypicalLogitsWarper(_Filter):
    """Keeps the tokens whose surprise is nearest to the expected one, until they reach ``mass``."""

    def __init__(
        self, mass: float = 0.9, filter_value: float = -math.inf, min_tokens_to_keep: int = 1
    ) -> None:
        _check_share(mass, "mass")
        self.mass, self.filter_value, self.min_tokens_to_keep = mass, filter_value, min_tokens_to_keep

    def _keep(self) -> Callable[[np.ndarray], np.ndarray]:
        return lambda scores_RC: filters.typical(scores_RC, self.mass, self.min_tokens_to_keep)


class EpsilonLogitsWarper(_Filter):
    """Keeps tokens of at least this probability."""

    @staticmethod
    def _above(scores_RC: np.ndarray, epsilon: float, least: int) -> np.ndarray:
        return filters.epsilon(scores_RC, epsilon, least)

    def __init__(
        self, epsilon: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1
    ) -> None:
        _check_share(epsilon, "epsilon")
        self.epsilon, self.filter_value, self.min_tokens_to_keep = epsilon, filter_value, min_tokens_to_keep

    def _keep(self) -> Callable[[np.ndarray], np.ndarray]:
        return lambda scores_RC: self._above(scores_RC, self.epsilon, self.min_tokens_to_keep)


class EtaLogitsWarper(EpsilonLogitsWarper):
    """Like epsilon, with a lower bar where the distribution is flat."""

    @staticmethod
    def _above(scores_RC: np.ndarray, epsilon: float, least: int) -> np.ndarray:
        return filters.eta(scores_RC, epsilon, least)


def top_k_top_p_filtering(
    logits: Tensor,
    top_k: int = 0,
    top_p: float = 1.0,
    filter_value: float = -math.inf,
    min_tokens_to_keep: int = 1,
) -> Tensor:
    """Logits [R, V] of which the ``top_k`` best are kept, and of these what together reaches ``top_p``."""
    if top_k > 0:
        logits = TopKLogitsWarper(top_k, filter_value, min_tokens_to_keep)(logits, logits)
    if 0 <= top_p <= 1.0:
        logits = TopPLogitsWarper(top_p, filter_value, min_tokens_to_keep)(logits, logits)
    return logits


def _check_share(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise BadSetting(f"{name}={value!r} is no number between 0 and 1.")
