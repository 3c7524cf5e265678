"""Greedy and beam search as one program: steps in a ``lax.while_loop``, without a word to the host.

The program decides what the next step must know: which continuations of each text go on. It notes the
best continuations of every step, and the host's own search (``generation.search``) takes them in
afterwards: what is finished, kept and returned is decided there, as everywhere. Whether all texts are done
is judged here as well, in float32, so that no step is computed in vain; the host's word counts.

Axes are those of ``generation.session``; K continuations of a text are looked at, N steps are noted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pegasus.backends.jax.inference.compiled_processors import Kind, Values, edited
from pegasus.backends.jax.inference.scores import find
from pegasus.backends.jax.model.modules import Memory, Past

#: N, the steps of one call: after so many the host may look, stop, drop texts and make room.
STEPS = 16


@dataclass(frozen=True)
class Rule:
    """What a search is compiled for.

    Attributes:
        beams: M; 0 for greedy search.
        eos: the tokens that end a row.
        pad: what rows that have ended read.
        early: whether a text is done once M of its continuations have ended.
        judged: whether the program may find that a text is done; otherwise it goes on until it is told.
        kinds: of the logits processors.
    """

    beams: int
    eos: tuple[int, ...]
    pad: int
    early: bool = False
    judged: bool = True
    kinds: tuple[Kind, ...] = ()


@dataclass(frozen=True)
class State:
    """Where a search stands; a pytree.

    Attributes:
        memory: keys and values, with room for L places.
        ids_RL: the tokens of each row, the newest at ``length - 1``.
        length: how many these are.
        sums_BM: log-probabilities of what goes on, summed.
        ended_BM: normalized scores of the best that ended, best first; −∞ where there is none.
        done_B: texts that nobody waits for.
    """

    memory: Memory
    ids_RL: jax.Array
    length: jax.Array
    sums_BM: jax.Array
    ended_BM: jax.Array
    done_B: jax.Array


@dataclass(frozen=True)
class Notes:
    """The best continuations of each step, best first; a pytree. ``count`` steps were taken."""

    beams_NBK: jax.Array
    tokens_NBK: jax.Array
    sums_NBK: jax.Array
    count: jax.Array


@dataclass(frozen=True)
class Divisors:
    """By what a sum is divided, by the length of a row: one that ended, and the best open one; a pytree."""

    ended: Any
    open: Any


for _record, _names in (
    (State, ["memory", "ids_RL", "length", "sums_BM", "ended_BM", "done_B"]),
    (Notes, ["beams_NBK", "tokens_NBK", "sums_NBK", "count"]),
    (Divisors, ["ended", "open"]),
):
    jax.tree_util.register_dataclass(_record, data_fields=_names, meta_fields=[])


@partial(jax.jit, static_argnames=("module", "rule"), donate_argnames="state")
def advance(
    module: Any,
    rule: Rule,
    variables: Any,
    cross: Memory,
    source_mask_BS: jax.Array,
    state: State,
    values: tuple[Values, ...],
    divisors: Divisors,
    most: jax.Array,
) -> tuple[State, Notes]:
    """At least one step, and at most ``most`` of ``STEPS``, until all texts are done.

    Args:
        module: with a head.
        rule: what the search is.
        variables: the module's parameters.
        cross: keys and values of the sources.
        source_mask_BS: their padding.
        state: where it stands.
        values: of the logits processors.
        divisors: for lengths up to L + 1.
        most: steps.
    """
    choose = partial(_choose_beams if rule.beams else _choose_greedily, rule)
    texts = len(state.sums_BM)
    empty = jnp.zeros((STEPS, texts, _looked_at(rule, module.sizes.vocabulary)), jnp.int32)
    notes = Notes(empty, empty, empty.astype(jnp.float32), jnp.int32(0))

    def going(both: tuple[State, Notes]) -> jax.Array:
        state, notes = both
        return (notes.count == 0) | ((notes.count < most) & ~state.done_B.all())

    def step(both: tuple[State, Notes]) -> tuple[State, Notes]:
        state, notes = both
        newest_R1 = jax.lax.dynamic_slice_in_dim(state.ids_RL, state.length - 1, 1, axis=1)
        past = Past(state.memory, state.length - 1)
        decoded = module.apply(
            variables, newest_R1, cross, source_mask_BS, None, None, past, method="decode_states"
        )
        logits_RV = module.apply(variables, decoded.states[:, 0], method="logits").astype(jnp.float32)
        state = replace(state, memory=decoded.memory)
        state, found = choose(state, logits_RV, values, divisors)
        lists = (notes.beams_NBK, notes.tokens_NBK, notes.sums_NBK)
        beams, tokens, sums = (old.at[notes.count].set(new) for old, new in zip(lists, found))
        return state, Notes(beams, tokens, sums, notes.count + 1)

    return jax.lax.while_loop(going, step, (state, notes))  # type: ignore[no-any-return]


def _looked_at(rule: Rule, vocabulary: int) -> int:
    """K."""
    most = max(2, 1 + len(rule.eos)) * rule.beams
    return min(most, rule.beams * min(most, vocabulary)) if rule.beams else 1


def _choose_greedily(
    rule: Rule, state: State, logits_RV: jax.Array, values: Any, divisors: Divisors
) -> tuple[State, tuple[jax.Array, ...]]:
    scores_RV = edited(logits_RV, rule.kinds, values, state.ids_RL, state.length)
    shift_R, best_R1, tokens_R1 = find(scores_RV, 1)
    said_R = jnp.where(state.done_B, rule.pad, tokens_R1[:, 0])
    state = replace(
        state,
        ids_RL=_written(state.ids_RL, said_R, state.length),
        length=state.length + 1,
        done_B=state.done_B | _ends(rule, said_R),
    )
    return state, (jnp.zeros_like(tokens_R1), tokens_R1, best_R1 - shift_R[:, None])


def _choose_beams(
    rule: Rule, state: State, logits_RV: jax.Array, values: Any, divisors: Divisors
) -> tuple[State, tuple[jax.Array, ...]]:
    beams_BK, tokens_BK, sums_BK = _candidates(rule, state, logits_RV, values)
    ends_BK = _ends(rule, tokens_BK)
    # The first M that do not end go on, in their order.
    going_BM = jnp.argsort(ends_BK, axis=1, stable=True)[:, : rule.beams]
    beams_BM, tokens_BM, sums_BM = (
        jnp.take_along_axis(one, going_BM, axis=1) for one in (beams_BK, tokens_BK, sums_BK)
    )
    parents_R = (jnp.arange(len(beams_BM))[:, None] * rule.beams + beams_BM).reshape(-1)
    memory, ids_RL = jax.tree.map(
        lambda one: jnp.take(one, parents_R, axis=0), (state.memory, state.ids_RL)
    )
    ended_BM, done_B = _judged(rule, state, ends_BK, sums_BK, divisors)
    ids_RL = _written(ids_RL, tokens_BM.reshape(-1), state.length)
    state = State(memory, ids_RL, state.length + 1, sums_BM, ended_BM, done_B)
    return state, (beams_BK, tokens_BK, sums_BK)


def _candidates(rule: Rule, state: State, logits_RV: jax.Array, values: Any) -> tuple[jax.Array, ...]:
    """The K best continuations of each text: beams, tokens and sums."""
    looked_at = _looked_at(rule, logits_RV.shape[1])
    count = min(looked_at, logits_RV.shape[1])
    if rule.kinds:
        logs_RV = jax.nn.log_softmax(logits_RV, axis=-1)
        scores_RV = edited(logs_RV, rule.kinds, values, state.ids_RL, state.length)
        logs_RC, tokens_RC = jax.lax.top_k(scores_RV, count)
    else:
        shift_R, best_RC, tokens_RC = find(logits_RV, count)
        logs_RC = best_RC - shift_R[:, None]
    sums_BMC = logs_RC.reshape(-1, rule.beams, count) + state.sums_BM[:, :, None]
    sums_BK, places_BK = jax.lax.top_k(sums_BMC.reshape(len(sums_BMC), -1), looked_at)
    tokens_BN = tokens_RC.reshape(len(sums_BMC), -1)
    return places_BK // count, jnp.take_along_axis(tokens_BN, places_BK, axis=1), sums_BK


def _judged(
    rule: Rule, state: State, ends_BK: jax.Array, sums_BK: jax.Array, divisors: Divisors
) -> tuple[jax.Array, jax.Array]:
    """The best that ended, and which texts are done."""
    if not rule.judged:
        return state.ended_BM, state.done_B
    scores_BM = sums_BK[:, : rule.beams] / divisors.ended[state.length]
    offered_BM = jnp.where(ends_BK[:, : rule.beams], scores_BM, -jnp.inf)
    both = jnp.concatenate([state.ended_BM, offered_BM], axis=1)
    ended_BM, _ = jax.lax.top_k(both, rule.beams)
    worst_B = ended_BM[:, -1]
    full_B = worst_B > -jnp.inf
    if not rule.early:
        full_B &= worst_B >= sums_BK[:, 0] / divisors.open[state.length + 1]
    return ended_BM, state.done_B | full_B


def _ends(rule: Rule, tokens: jax.Array) -> jax.Array:
    return jnp.isin(tokens, jnp.array(rule.eos, jnp.int32))


def _written(ids_RL: jax.Array, tokens_R: jax.Array, length: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(
        ids_RL, tokens_R[:, None].astype(ids_RL.dtype), length, axis=1
    )


def fresh_sums(texts: int, beams: int) -> np.ndarray:
    """As ``Beam`` begins: one of the equal beams of each text counts."""
    sums_BM: np.ndarray = np.full((texts, max(1, beams)), -1e9, np.float32)
    sums_BM[:, 0] = 0
    return sums_BM
