"""Which tokens may be drawn: temperature, top-k, top-p, typical, epsilon and eta, as in transformers 4.34.

A filter takes scores [R, C] in any order, and returns them with −∞ where a token is out. Those that were
out before stay out, so filters may be chained, and tokens that were never listed count as out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

Filter = Callable[[np.ndarray], np.ndarray]


def softmax(scores_RC: np.ndarray) -> np.ndarray:
    """Probabilities, in float64."""
    scores_RC = scores_RC.astype(np.float64)
    weights_RC = np.exp(scores_RC - scores_RC.max(axis=1, keepdims=True))
    probabilities_RC: np.ndarray = weights_RC / weights_RC.sum(axis=1, keepdims=True)
    return probabilities_RC


def temperature(scores_RC: np.ndarray, divisor: float) -> np.ndarray:
    """Flattens (above 1) or sharpens (below 1) the distribution."""
    return scores_RC / np.float32(divisor)


def top_k(scores_RC: np.ndarray, count: int) -> np.ndarray:
    """Keeps the ``count`` best and whatever equals the last of them."""
    if count >= scores_RC.shape[1]:
        return scores_RC
    least_R1 = np.partition(scores_RC, -count, axis=1)[:, -count, None]
    return _without(scores_RC, scores_RC < least_R1)


def top_p(scores_RC: np.ndarray, mass: float, keep: int) -> np.ndarray:
    """Keeps the smallest set of best tokens that together reach ``mass``; at least ``keep`` of them."""
    order_RC = np.argsort(scores_RC, axis=1, kind="stable")
    rising_RC = np.cumsum(np.take_along_axis(softmax(scores_RC), order_RC, axis=1), axis=1)
    out_RC = rising_RC <= 1 - mass
    out_RC[:, -keep:] = False
    return _without(scores_RC, _back(out_RC, order_RC))


def typical(scores_RC: np.ndarray, mass: float, keep: int) -> np.ndarray:
    """Keeps the tokens whose surprise is nearest to the expected one, until they reach ``mass``."""
    probabilities_RC = softmax(scores_RC)
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise_RC = -np.log(probabilities_RC)
        entropy_R1 = np.nansum(surprise_RC * probabilities_RC, axis=1, keepdims=True)
    oddness_RC = np.abs(surprise_RC - entropy_R1)
    order_RC = np.argsort(oddness_RC, axis=1, kind="stable")
    reached_RC = np.cumsum(np.take_along_axis(probabilities_RC, order_RC, axis=1), axis=1)
    last_R = np.minimum((reached_RC < mass).sum(axis=1), scores_RC.shape[1] - 1)
    sorted_RC = np.take_along_axis(oddness_RC, order_RC, axis=1)
    out_RC = sorted_RC > np.take_along_axis(sorted_RC, last_R[:, None], axis=1)
    out_RC[:, :keep] = False
    return _without(scores_RC, _back(out_RC, order_RC))


def epsilon(scores_RC: np.ndarray, cutoff: float, keep: int) -> np.ndarray:
    """Keeps tokens of at least this probability, and the ``keep`` best anyway."""
    return _unless_best(scores_RC, softmax(scores_RC) < cutoff, keep)


def eta(scores_RC: np.ndarray, cutoff: float, keep: int) -> np.ndarray:
    """Like ``epsilon``, with a lower bar where the distribution is flat."""
    probabilities_RC = softmax(scores_RC)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy_R1 = -np.nansum(probabilities_RC * np.log(probabilities_RC), axis=1, keepdims=True)
    bar_R1 = np.minimum(cutoff, np.sqrt(cutoff) * np.exp(-entropy_R1))
    return _unless_best(scores_RC, probabilities_RC < bar_R1, keep)


def filters_for(settings: Any) -> list[Filter]:
    """The filters that the settings ask for, in the order of transformers 4.34."""
    keep = 2 if settings.num_beams > 1 else 1
    filters: list[Filter] = []
    if settings.temperature not in (None, 1.0):
        filters.append(partial(temperature, divisor=settings.temperature))
    if settings.top_k:
        filters.append(partial(top_k, count=max(settings.top_k, keep)))
    if settings.top_p is not None and settings.top_p < 1.0:
        filters.append(partial(top_p, mass=settings.top_p, keep=keep))
    if settings.typical_p is not None and settings.typical_p < 1.0:
        filters.append(partial(typical, mass=settings.typical_p, keep=keep))
    if settings.epsilon_cutoff:
        filters.append(partial(epsilon, cutoff=settings.epsilon_cutoff, keep=keep))
    if settings.eta_cutoff:
        filters.append(partial(eta, cutoff=settings.eta_cutoff, keep=keep))
    if settings.renormalize_logits:
        filters.append(_normalized)
    return filters


def _normalized(scores_RC: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(softmax(scores_RC)), dtype=np.float32)


def _without(scores_RC: np.ndarray, out_RC: np.ndarray) -> np.ndarray:
    return np.where(out_RC, np.float32(-np.inf), scores_RC)


def _back(sorted_RC: np.ndarray, order_RC: np.ndarray) -> np.ndarray:
    """Values in sorted order, put where they came from."""
    values_RC = np.empty_like(sorted_RC)
    np.put_along_axis(values_RC, order_RC, sorted_RC, axis=1)
    return values_RC


def _unless_best(scores_RC: np.ndarray, out_RC: np.ndarray, keep: int) -> np.ndarray:
    keep = min(keep, scores_RC.shape[1])
    best_R1 = np.partition(scores_RC, -keep, axis=1)[:, -keep, None]
    return _without(scores_RC, out_RC & (scores_RC < best_R1))
