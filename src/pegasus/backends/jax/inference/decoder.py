"""The decoder of generation: one program a step over a memory of fixed size, for rows in blocks of texts.

Texts, tokens and places of the memory are rounded up (``buckets``): rows beyond the true ones compute what
nobody reads. Axes are those of ``generation.session``.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pegasus.backends.jax.inference.buckets import LEAST_PLACES, doubled, padded, stepped
from pegasus.backends.jax.inference.scores import Found, JaxScores, find
from pegasus.backends.jax.model.kv_cache import past_of
from pegasus.backends.jax.model.mode import Mode
from pegasus.backends.jax.model.modules import Encoded, Memory, Past
from pegasus.errors import BadSetting, NotOffered
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Reading, Step


@partial(jax.jit, static_argnames=("module", "mode"))
def _encode(module: Any, mode: Mode, variables: Any, tokens: Any, mask: Any) -> tuple[Encoded, Memory]:
    encoded = module.apply(variables, tokens, mask, mode=mode, method="encode")
    return encoded, module.apply(variables, encoded.states, method="cross_memory")


@partial(jax.jit, static_argnames="module")
def _cross(module: Any, variables: Any, states: jax.Array) -> Memory:
    memory: Memory = module.apply(variables, states, method="cross_memory")
    return memory


@partial(jax.jit, static_argnames="places")
def grown(memory: Memory, places: int) -> Memory:
    """A memory with more places."""

    def wider(old: jax.Array) -> jax.Array:
        return jnp.pad(old, ((0, 0), (0, 0), (0, places - old.shape[2]), (0, 0)))

    return jax.tree.map(wider, memory)  # type: ignore[no-any-return]


@jax.jit
def rows_of(tree: Any, index: jax.Array) -> Any:
    """Some rows of every array."""
    return jax.tree.map(lambda one: jnp.take(one, index, axis=0), tree)


def empty_memory(module: Any, rows: int, places: int) -> Memory:
    """A memory of the decoder of a module in which nothing is."""
    sizes = module.sizes
    heads = (sizes.heads[1] - dict(sizes.pruned).get(f"decoder.{i}", 0) for i in range(sizes.layers[1]))
    shapes = ((rows, kept, places, sizes.width // sizes.heads[1]) for kept in heads)
    empty = (np.zeros(shape, module.dtype) for shape in shapes)
    return tuple((one, one) for one in empty)


@partial(jax.jit, static_argnames=("module", "mode", "several", "count"))
def _step(
    module: Any,
    mode: Mode,
    several: bool,
    count: int,
    variables: Any,
    past: Past,
    parents_R: jax.Array | None,
    tokens_RT: jax.Array,
    last: jax.Array,
    cross: Memory,
    source_mask_BS: jax.Array,
) -> tuple[Any, jax.Array, Found]:
    """Move, read, and look for the best.

    Args:
        module: with a head.
        mode: what is returned beside.
        several: whether the scores of all tokens are wanted, else those of the token at ``last``.
        count: how many of the best are looked for.
        variables: its parameters.
        past: the memory.
        parents_R: whose memory each row carries on.
        tokens_RT: what is read.
        last: where the last true token stands.
        cross: keys and values of the sources.
        source_mask_BS: their padding.
    """
    if parents_R is not None:
        past = replace(past, memory=jax.tree.map(lambda one: jnp.take(one, parents_R, axis=0), past.memory))
    decoded = module.apply(
        variables, tokens_RT, cross, source_mask_BS, None, None, past, mode, method="decode_states"
    )
    states = decoded.states
    wanted = states if several else jax.lax.dynamic_slice_in_dim(states, last, 1, axis=1)
    logits_NV = module.apply(variables, wanted.reshape(-1, wanted.shape[-1]), method="logits")
    logits_NV = logits_NV.astype(jnp.float32)
    return decoded, logits_NV, find(logits_NV, count)


class JaxDecoder:
    """A decoder with its memory, over the sources of one request.

    Args:
        model: a Flax model with a head.
        request: sources, masks, a memory that the caller brings, and what is to be recorded.

    Raises:
        NotOffered: the request asks for head masks or embeddings, which these models do not take.
        BadSetting: a text is padding from end to end.
    """

    def __init__(self, model: Any, request: Request) -> None:
        _refuse(request)
        self.model, self.request, self.module = model, request, model.module
        self.vocab_size = int(model.config.vocab_size)
        records = request.records
        self.mode = Mode(attentions=records.attentions, hidden=records.hidden_states)
        self.encoded = Reading()
        #: Whether sizes are rounded up; what is recorded has the true ones.
        self.rounds = not (records.attentions or records.hidden_states)
        self.texts, self.cross, self.source_mask_BS = self._encoded()
        self.length, self.rows = 0, 0
        self.past: Past | None = None
        if request.past_key_values is not None and request.use_cache:
            self._bring(request.past_key_values)
        self.logits_NV: jax.Array | None = None
        self._found: Found | None = None
        self._index_N = np.arange(0)

    # -- sources -------------------------------------------------------------------------------------------

    def _encoded(self) -> tuple[int, Memory, np.ndarray]:
        request, model = self.request, self.model
        given = request.encoder_outputs
        host = np.asarray(model.to_host(request.input_ids if given is None else given[0]))
        texts, length = host.shape[:2]
        size = (doubled(texts), stepped(length)) if self.rounds else (texts, length)
        mask_BS = np.ones((texts, length), np.int32)
        if request.attention_mask is not None:
            mask_BS = np.asarray(model.to_host(request.attention_mask)).astype(np.int32)
        mask_BS = padded(mask_BS, size)
        variables = model.variables(None, size[1])
        if given is not None:
            states = jnp.asarray(padded(host, (*size, host.shape[2])), self.module.dtype)
            self._record(given)
            return texts, _cross(self.module, variables, states), mask_BS
        tokens_BS = padded(host.astype(np.int32), size)
        encoded, cross = _encode(self.module, self.mode, variables, tokens_BS, mask_BS)
        self._record(encoded)
        return texts, cross, mask_BS

    def _record(self, encoded: Any) -> None:
        if self.request.records.any:
            self.encoded = Reading(
                attentions=getattr(encoded, "attentions", None),
                hidden_states=getattr(encoded, "hidden_states", None),
            )

    def _bring(self, cache: Any) -> None:
        self.past = past_of(cache)
        self.length, self.rows = int(self.past.start), len(self.past.memory[0][0])

    # -- steps ---------------------------------------------------------------------------------------------

    def computing(self) -> Any:
        """Nothing must be in force."""
        return nullcontext()

    def step(self, step: Step) -> Reading:
        """Reads tokens."""
        rows, tokens = step.tokens_RT.shape
        several = step.positions > 1
        if step.texts_B is not None:
            self.drop(np.asarray(step.texts_B))
        blocks = len(self.source_mask_BS)
        size = (rows // self.texts * blocks, doubled(tokens) if self.rounds else tokens)
        places = self._room(step.keep + size[1], size[0])
        assert self.past is not None
        decoded, self.logits_NV, self._found = _step(
            self.module,
            self.mode,
            several,
            max(1, min(doubled(step.count), self.vocab_size)),
            self.model.step_variables(places),
            replace(self.past, start=np.int32(step.keep), mask=_mask(step.mask_RT, (size[0], places))),
            self._parents(step, size[0]),
            padded(step.tokens_RT.astype(np.int32), size),
            np.int32(tokens - 1),
            self.cross,
            self.source_mask_BS,
        )
        self.past = Past(decoded.memory, np.int32(0))
        self.length, self.rows = step.keep + tokens, rows
        self._index_N = np.arange(rows)
        if several:
            first = np.arange(tokens - step.positions, tokens)
            self._index_N = (np.arange(rows)[:, None] * size[1] + first).ravel()
        return self._reading(step, decoded, rows, tokens)

    def scores(self) -> JaxScores:
        """The logits where they lie."""
        assert self.logits_NV is not None, "the first ask reads a prompt"
        return JaxScores(self.logits_NV, self._index_N, self._found)

    def copied(self, rows_K: np.ndarray | None) -> JaxScores:
        """Some rows of them: arrays of JAX never change."""
        assert self.logits_NV is not None, "the first ask reads a prompt"
        return JaxScores(
            self.logits_NV, self._index_N if rows_K is None else self._index_N[rows_K], self._found
        )

    def _reading(self, step: Step, decoded: Any, rows: int, tokens: int) -> Reading:
        hidden_RTD = None
        if step.hidden:
            hidden_RTD = np.asarray(decoded.states, np.float32)[:rows, :tokens]
        attentions, end = decoded.attentions, step.keep + tokens
        if attentions is not None:
            attentions = tuple(layer[..., :end] for layer in attentions)
        return Reading(hidden_RTD, attentions, decoded.cross_attentions, decoded.hidden_states)

    # -- memory --------------------------------------------------------------------------------------------

    def _room(self, places: int, rows: int) -> int:
        """Room for so many places."""
        if self.past is None:
            room = doubled(places, LEAST_PLACES)
            self.past, self.rows = Past(empty_memory(self.module, rows, room), np.int32(0)), rows
            return room
        room = int(self.past.memory[0][0].shape[2])
        if places > room:
            room = doubled(places, LEAST_PLACES)
            self.past = replace(self.past, memory=grown(self.past.memory, room))
        return room

    def _parents(self, step: Step, size: int) -> np.ndarray | None:
        """Whose memory each row of the program carries on; None: its own."""
        assert self.past is not None
        held = len(self.past.memory[0][0])
        if step.parents_R is not None:
            return padded(np.asarray(step.parents_R).astype(np.int32), (size,))
        if held == size:
            return None
        # The caller brought a memory with one row a text, or texts were fewer than the block.
        rows = np.arange(len(step.tokens_RT)) * self.rows // len(step.tokens_RT)
        return padded(rows.astype(np.int32), (size,))

    def drop(self, texts_B: np.ndarray) -> np.ndarray:
        """Only these texts remain; returns which one each block of the program is."""
        self.texts = len(texts_B)
        index = padded(texts_B.astype(np.int32), (doubled(self.texts) if self.rounds else self.texts,))
        self.cross, self.source_mask_BS = rows_of(self.cross, index), self.source_mask_BS[index]
        return index


def _mask(mask_RT: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None:
    return None if mask_RT is None else padded(mask_RT.astype(np.int32), size, 1)


def _refuse(request: Request) -> None:
    named = ("inputs_embeds", "head_mask", "decoder_head_mask", "cross_attn_head_mask")
    if asked := [name for name in named if getattr(request, name) is not None]:
        raise NotOffered(
            f"The JAX backend does not take {', '.join(asked)}: PegasusForConditionalGeneration does."
        )
    if request.attention_mask is None:
        return
    # Attention over padding alone is a mean over the width, and here the width is rounded up.
    empty = np.flatnonzero(~np.asarray(request.attention_mask).astype(bool).any(axis=1))
    if len(empty):
        raise BadSetting(f"text {empty[0]} is padding from end to end: leave it out.")
