"""Logits processors within a program: what ``generation.processors`` asks for, by tokens on the device.

Each class of processors that there is a reading of has one row in ``READINGS``: how its numbers become
arrays, and which edit follows from them. What an edit means is said in ``generation.session.edits`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pegasus.backends.jax.inference.buckets import doubled
from pegasus.generation.processors.logits_processors import (
    ForcedAt,
    LengthDecay,
    MinLength,
    Processor,
    RepetitionPenalty,
    Suppressed,
    Whole,
)
from pegasus.generation.processors.phrase_processors import NoRepeatedNgrams, PhraseBias
from pegasus.generation.session import Edit
from pegasus.generation.session.edits import edit

#: What is compiled for: the reading's name and a word or number of it.
Kind = tuple[str, Any]
Values = dict[str, Any]
#: Kind and values of one edit.
Planned = tuple[Kind, Values]


class TracedScores:
    """Numbers [R, V] of a program under way, for ``session.edits``; see ``session.decoder.Scores``."""

    where = staticmethod(jnp.where)

    def __init__(self, scores_RV: jax.Array) -> None:
        self.scores_RV = scores_RV
        self.rows = scores_RV.shape[0]

    def places(self, rows_K: Any, tokens_K: Any) -> Any:
        """What indexes them; tokens beyond the vocabulary are nowhere."""
        return (slice(None) if rows_K is None else rows_K, tokens_K)

    def get(self, places: Any) -> jax.Array:
        """The numbers there."""
        return self.scores_RV.at[places].get(mode="fill", fill_value=0)

    def put(self, places: Any, values: Any) -> None:
        """Changes them."""
        self.scores_RV = self.scores_RV.at[places].set(values, mode="drop")

    def array(self, values_K: Any) -> jax.Array:
        """In float32."""
        return jnp.asarray(values_K, jnp.float32)

    def fill(self, rows_K: Any, value: float) -> None:
        """One number for all; edits of single rows are not read here."""
        self.scores_RV = jnp.full_like(self.scores_RV, value)

    def log_softmax(self, rows_K: Any = None) -> None:
        """Log-probabilities."""
        self.scores_RV = jax.nn.log_softmax(self.scores_RV, axis=-1)

    def repair(self, rows_K: Any = None) -> None:
        """No NaN and no +∞."""
        most = jnp.finfo(jnp.float32).max
        self.scores_RV = jnp.nan_to_num(self.scores_RV, nan=0.0, posinf=most, neginf=-jnp.inf)


# -- how the numbers of a processor become arrays ----------------------------------------------------------


def _tokens(tokens: Any) -> np.ndarray:
    found: np.ndarray = np.asarray(tokens, np.int32)
    return found


def _min_length(one: MinLength, longest: int) -> Iterator[tuple[Any, Values]]:
    yield None, {"least": np.int32(one.least), "tokens": _tokens(one.eos)}


def _forced(one: ForcedAt, longest: int) -> Iterator[tuple[Any, Values]]:
    for place, tokens in one.tokens_at.items():
        yield None, {"at": np.int32(place), "tokens": _tokens(tokens)}


def _suppressed(one: Suppressed, longest: int) -> Iterator[tuple[Any, Values]]:
    at = -1 if one.only_at is None else one.only_at
    yield None, {"at": np.int32(at), "tokens": _tokens(one.tokens)}


def _decay(one: LengthDecay, longest: int) -> Iterator[tuple[Any, Values]]:
    with np.errstate(over="ignore"):
        after = np.arange(doubled(longest + 1)) - one.start
        factors = np.float64(one.factor) ** after
        yield (
            None,
            {"start": np.int32(one.start), "tokens": _tokens(one.eos), "factors": np.float32(factors)},
        )


def _whole(one: Whole, longest: int) -> Iterator[tuple[Any, Values]]:
    yield one.kind, {}


def _repetition(one: RepetitionPenalty, longest: int) -> Iterator[tuple[Any, Values]]:
    yield None, {"penalty": np.float32(one.penalty)}


def _ngrams(one: NoRepeatedNgrams, longest: int) -> Iterator[tuple[Any, Values]]:
    yield one.size, {}


def _biases(one: PhraseBias, longest: int) -> Iterator[tuple[Any, Values]]:
    yield None, {"tokens": _tokens(one.tokens_N), "values": one.values_N}


# -- the edit that follows: whether it is made at this length, and which it is -----------------------------


def _when_short(_: Any, v: Values, ids_RL: Any, length: Any) -> tuple[Any, Edit]:
    return length < v["least"], Edit("ban", v["tokens"])


def _when_forced(_: Any, v: Values, ids_RL: Any, length: Any) -> tuple[Any, Edit]:
    return length == v["at"], Edit("force", v["tokens"])


def _when_suppressed(_: Any, v: Values, ids_RL: Any, length: Any) -> tuple[Any, Edit]:
    return (v["at"] < 0) | (length == v["at"]), Edit("ban", v["tokens"])


def _when_late(_: Any, v: Values, ids_RL: Any, length: Any) -> tuple[Any, Edit]:
    return length > v["start"], Edit("stretch", v["tokens"], values_N=v["factors"][length][None])


def _always_whole(kind: Any, v: Values, ids_RL: Any, length: Any) -> tuple[Any, Edit]:
    return True, Edit(kind)


def _of_what_is_said(_: Any, v: Values, ids_RL: Any, length: Any) -> tuple[Any, Edit]:
    rows_RL, tokens_RL = _said(ids_RL, jnp.arange(ids_RL.shape[1]) < length)
    return True, Edit("scale", tokens_RL, rows_RL, v["penalty"])


def _of_runs(size: int, v: Values, ids_RL: Any, length: Any) -> tuple[Any, Edit]:
    """What follows in a row where its newest ``size - 1`` tokens have stood before."""
    same_RL = jnp.arange(ids_RL.shape[1]) < length
    for back in range(1, size):
        newest_R1 = jax.lax.dynamic_slice_in_dim(ids_RL, length - back, 1, axis=1)
        same_RL = same_RL & (jnp.roll(ids_RL, back, axis=1) == newest_R1)
    same_RL = same_RL & (jnp.arange(ids_RL.shape[1]) >= size - 1)
    rows_RL, tokens_RL = _said(ids_RL, same_RL)
    return length >= size, Edit("ban", tokens_RL, rows_RL)


def _of_single_tokens(_: Any, v: Values, ids_RL: Any, length: Any) -> tuple[Any, Edit]:
    return True, Edit("add", v["tokens"], None, v["values"])


def _said(ids_RL: jax.Array, counted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rows and tokens of the places that count; the others are no token at all."""
    rows_RL = jnp.broadcast_to(jnp.arange(len(ids_RL))[:, None], ids_RL.shape)
    return rows_RL, jnp.where(counted, ids_RL, jnp.iinfo(jnp.int32).max)


Describe = Callable[[Any, int], Iterator[tuple[Any, Values]]]
Follow = Callable[[Any, Values, Any, Any], tuple[Any, Edit]]
READINGS: Mapping[type[Processor], tuple[Describe, Follow]] = {
    MinLength: (_min_length, _when_short),
    ForcedAt: (_forced, _when_forced),
    Suppressed: (_suppressed, _when_suppressed),
    LengthDecay: (_decay, _when_late),
    Whole: (_whole, _always_whole),
    RepetitionPenalty: (_repetition, _of_what_is_said),
    NoRepeatedNgrams: (_ngrams, _of_runs),
    PhraseBias: (_biases, _of_single_tokens),
}
_FOLLOW = {kind.__name__: follow for kind, (_, follow) in READINGS.items()}


def planned(processors: Sequence[Processor], longest: int) -> list[Planned] | None:
    """All processors as kinds and values, for rows of ``longest`` tokens; None: one has no reading."""
    found: list[Planned] = []
    for one in processors:
        if type(one) not in READINGS or (isinstance(one, PhraseBias) and one.by_length):
            return None
        describe, _ = READINGS[type(one)]
        found += [((type(one).__name__, word), values) for word, values in describe(one, longest)]
    return found


def edited(
    scores_RV: jax.Array,
    kinds: Sequence[Kind],
    values: Sequence[Values],
    ids_RL: jax.Array,
    length: jax.Array,
) -> jax.Array:
    """Scores of the token that comes next, after the edits of all processors in order.

    Args:
        scores_RV: before.
        kinds: of ``planned``.
        values: of ``planned``.
        ids_RL: what each row holds, up to ``length``.
        length: how many tokens that are.
    """
    for (name, word), numbers in zip(kinds, values):
        when, change = _FOLLOW[name](word, numbers, ids_RL, length)
        scores_RV = jax.lax.cond(when, _changed(change), lambda same: same, scores_RV)
    return scores_RV


def _changed(change: Edit) -> Callable[[jax.Array], jax.Array]:
    def make(scores_RV: jax.Array) -> jax.Array:
        scores: Any = TracedScores(scores_RV)
        edit(scores, [change], lambda array: array)
        found: jax.Array = scores.scores_RV
        return found

    return make
