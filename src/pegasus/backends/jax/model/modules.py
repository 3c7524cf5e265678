"""Encoder, decoder and the models made of them, as Linen modules with the parameter tree of transformers.

The tables of positions are no parameters. A caller may bring them as the collection "positions"
(``encoder/table`` and ``decoder/table``, [places, D]); otherwise they are computed, for as many places as
the configuration names or the tokens need. Another collection, "turned", may hold matrices of the decoder
as [out, in], for steps of few rows on a CPU (``layers.by_rows``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pegasus.backends.jax.model.layers import (
    DecoderLayer,
    Dense,
    EncoderLayer,
    LayerNorm,
    Sizes,
    by_rows,
    dropout,
    precision,
    turned,
)
from pegasus.backends.jax.model.mode import PLAIN, Looks, Mode
from pegasus.spec import masks
from pegasus.spec.positions import sinusoid_table

#: Keys and values [R, H, L, E] of each layer.
Memory = tuple[tuple[jax.Array, jax.Array], ...]


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of texts; a pytree."""

    states: jax.Array
    hidden_states: tuple[jax.Array, ...] | None = None
    attentions: tuple[jax.Array, ...] | None = None


@dataclass(frozen=True)
class Decoded:
    """What the decoder made of tokens; a pytree. ``memory`` is that of self-attention, now."""

    states: jax.Array
    memory: Memory
    hidden_states: tuple[jax.Array, ...] | None = None
    attentions: tuple[jax.Array, ...] | None = None
    cross_attentions: tuple[jax.Array, ...] | None = None


@dataclass(frozen=True)
class Past:
    """What the decoder remembers of earlier tokens; a pytree.

    Attributes:
        memory: keys and values with room for L places.
        start: how many of the places are taken: where the new tokens go.
        mask: [R, L], 0 for a place that nobody may look at; None: all may be looked at.
    """

    memory: Memory
    start: jax.Array
    mask: jax.Array | None = None


for _record, _names in (
    (Encoded, ["states", "hidden_states", "attentions"]),
    (Decoded, ["states", "memory", "hidden_states", "attentions", "cross_attentions"]),
    (Past, ["memory", "start", "mask"]),
):
    jax.tree_util.register_dataclass(_record, data_fields=_names, meta_fields=[])


class Embedding(nn.Module):
    """A table of vectors, [V, D], that is also the output layer where weights are tied."""

    sizes: Sizes
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """The table."""
        shape = (self.sizes.vocabulary, self.sizes.width)
        self.embedding = self.param("embedding", nn.initializers.normal(self.sizes.std), shape, jnp.float32)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """The vectors of tokens; that of padding does not learn from being looked up."""
        vectors = jnp.take(self.embedding, tokens, axis=0)
        if self.sizes.padding is None:
            return vectors
        padded = (tokens == self.sizes.padding)[..., None]
        return jnp.where(padded, jax.lax.stop_gradient(vectors), vectors)

    def logits(self, states: jax.Array) -> jax.Array:
        """States times the table, in float32 at least: their differences are what a search looks at."""
        if self.dtype == jnp.float32 and (few := turned(self, "embedding", states)) is not None:
            return by_rows(states, few)
        wide = jnp.promote_types(self.dtype, jnp.float32)
        table = self.embedding.astype(self.dtype)
        exact = precision(self.dtype)
        return jnp.einsum("...d,vd->...v", states, table, precision=exact, preferred_element_type=wide)


class LayerStack(nn.Module):
    """The layers of one side, under their numbers."""

    sizes: Sizes
    dtype: Any = jnp.float32
    side: int = 0
    remat: bool = False

    def setup(self) -> None:
        """One module a layer."""
        kind: Any = DecoderLayer if self.side else EncoderLayer
        if self.remat:
            kind = nn.remat(kind, static_argnums=(7,) if self.side else (3,))
        count = self.sizes.layers[self.side]
        self.layers = [kind(self.sizes, i, self.dtype, self.side, name=str(i)) for i in range(count)]

    def cross_memory(self, states_BSD: jax.Array) -> Memory:
        """What the decoder's layers look at of the encoder's states."""
        return tuple(layer.cross_memory(states_BSD) for layer in self.layers)

    def encode(self, states: jax.Array, looks: Looks, mode: Mode) -> tuple[jax.Array, list[Any], list[Any]]:
        """The last states, and those before each layer and its probabilities."""
        before, weights = [], []
        for layer in self.layers:
            before.append(states)
            new, found = layer(states, looks, mode)
            states = self._maybe(states, new, mode)
            weights.append(found)
        return states, before, weights

    def decode(
        self, states: jax.Array, past: Past | None, looks: Looks, sources: Any, cross: Looks, mode: Mode
    ) -> tuple[jax.Array, list[Any], list[tuple[Any, Any, Any]]]:
        """The last states, those before each layer, and what else each layer found."""
        before, found = [], []
        start = 0 if past is None else past.start
        for number, layer in enumerate(self.layers):
            before.append(states)
            memory = None if past is None else past.memory[number]
            source = sources[number] if isinstance(sources, tuple) else sources
            new, *rest = layer(states, memory, start, looks, source, cross, mode)
            states = self._maybe(states, new, mode)
            found.append(tuple(rest))
        return states, before, found

    def _maybe(self, old: jax.Array, new: jax.Array, mode: Mode) -> jax.Array:
        """A layer may be skipped in training."""
        rate = self.sizes.layerdrop[self.side]
        if not mode.train or rate == 0:
            return new
        return jnp.where(jax.random.bernoulli(self.make_rng("dropout"), rate), old, new)


class Stack(nn.Module):
    """What encoder and decoder share: embeddings with positions, layers, a final norm."""

    sizes: Sizes
    dtype: Any = jnp.float32
    remat: bool = False
    side: int = 0

    def setup(self) -> None:
        """Layers and a norm."""
        self.layers = LayerStack(self.sizes, self.dtype, self.side, self.remat)
        self.layer_norm = LayerNorm(self.sizes.epsilon, self.dtype)

    def _embed(self, embeds_BTD: jax.Array, place_ids: jax.Array, longest: int, mode: Mode) -> jax.Array:
        """Embeddings, scaled already, with positions; in float32 at least."""
        if self.has_variable("positions", "table"):
            table = self.get_variable("positions", "table")
        else:
            rows = max(self.sizes.positions, longest)
            table = jnp.asarray(sinusoid_table(rows, self.sizes.width, self.sizes.table))
        wide = embeds_BTD.astype(jnp.promote_types(self.dtype, jnp.float32))
        return dropout(self, wide + jnp.take(table, place_ids, axis=0), self.sizes.dropout, mode, (1,))


class Encoder(Stack):
    """The stack of encoder layers with its final norm."""

    def __call__(
        self, embeds_BSD: jax.Array, mask_BS: jax.Array | None, place_ids: jax.Array, mode: Mode
    ) -> Encoded:
        """Encode embedded texts."""
        looks = Looks() if mask_BS is None else Looks(masks.padding(mask_BS))
        states = self._embed(embeds_BSD, place_ids, embeds_BSD.shape[1], mode)
        states, before, weights = self.layers.encode(states, looks, mode)
        last = self.layer_norm(states)
        return Encoded(
            last, (*before, last) if mode.hidden else None, tuple(weights) if mode.attentions else None
        )


class Decoder(Stack):
    """The stack of decoder layers with its final norm."""

    side: int = 1

    def cross_memory(self, states_BSD: jax.Array) -> Memory:
        """Keys and values of the encoder's states, layer by layer."""
        return self.layers.cross_memory(states_BSD)

    def __call__(
        self,
        embeds_RTD: jax.Array,
        mask: jax.Array | None,
        place_ids: jax.Array,
        past: Past | None,
        sources: Any,
        source_mask_BS: jax.Array | None,
        mode: Mode,
    ) -> Decoded:
        """Decode embedded tokens: all at once (``mask`` [R, T]), or after those that are remembered."""
        looks = _self_looks(embeds_RTD.shape[1], mask, past)
        cross = Looks() if source_mask_BS is None else Looks(masks.padding(source_mask_BS))
        longest = embeds_RTD.shape[1] if past is None else past.memory[0][0].shape[2]
        states = self._embed(embeds_RTD, place_ids, longest, mode)
        states, before, found = self.layers.decode(states, past, looks, sources, cross, mode)
        last = self.layer_norm(states)
        return Decoded(
            last,
            tuple(one[2] for one in found),
            (*before, last) if mode.hidden else None,
            tuple(one[0] for one in found) if mode.attentions else None,
            tuple(one[1] for one in found) if mode.attentions else None,
        )


def _self_looks(length: int, mask: jax.Array | None, past: Past | None) -> Looks:
    """Each token looks at itself and what came before; beyond the last token there is nothing."""
    if past is None:
        places = jnp.arange(length)
        padding = None if mask is None else masks.padding(mask)
        return Looks(masks.both(masks.causal(places, places), padding))
    places = jnp.arange(past.memory[0][0].shape[2])
    mine = past.start + jnp.arange(length)
    padding = None if past.mask is None else masks.padding(past.mask)
    there = places < past.start + length
    return Looks(masks.both(masks.causal(mine, places), padding), there)


class BareModule(nn.Module):
    """The encoder and the decoder over one table of embeddings."""

    sizes: Sizes
    dtype: Any = jnp.float32
    remat: bool = False

    def setup(self) -> None:
        """Embeddings and two stacks."""
        self.shared = Embedding(self.sizes, self.dtype)
        self.encoder = Encoder(self.sizes, self.dtype, self.remat)
        self.decoder = Decoder(self.sizes, self.dtype, self.remat)

    def embed(self, tokens: jax.Array) -> jax.Array:
        """Token embeddings, scaled, without positions."""
        scale = math.sqrt(self.sizes.width) if self.sizes.scale_embedding else 1.0
        embeds = self.shared(tokens)
        return embeds.astype(jnp.promote_types(embeds.dtype, jnp.float32)) * scale

    def encode(
        self,
        tokens_BS: jax.Array,
        mask_BS: jax.Array | None = None,
        place_ids: jax.Array | None = None,
        mode: Mode = PLAIN,
        embeds_BSD: jax.Array | None = None,
    ) -> Encoded:
        """Encode texts; ``embeds_BSD`` take the place of tokens."""
        embeds = self.embed(tokens_BS) if embeds_BSD is None else embeds_BSD
        places = jnp.arange(embeds.shape[1])[None] if place_ids is None else place_ids
        return self.encoder(embeds, mask_BS, places, mode)

    def cross_memory(self, states_BSD: jax.Array) -> Memory:
        """What the decoder looks at of the encoder's states."""
        return self.decoder.cross_memory(states_BSD)

    def decode(
        self,
        tokens_RT: jax.Array,
        sources: Any,
        source_mask_BS: jax.Array | None = None,
        mask: jax.Array | None = None,
        place_ids: jax.Array | None = None,
        past: Past | None = None,
        mode: Mode = PLAIN,
    ) -> Decoded:
        """Decode tokens over the encoder's states, or over what ``cross_memory`` made of them."""
        start = 0 if past is None else past.start
        places = start + jnp.arange(tokens_RT.shape[1])[None] if place_ids is None else place_ids
        embeds = self.embed(tokens_RT)
        if self.sizes.zero_start is not None:  # the authors' decoder starts from a vector of zeros
            begins_RT = (places == 0) & (tokens_RT == self.sizes.zero_start)
            embeds = jnp.where(begins_RT[..., None], 0.0, embeds)
        return self.decoder(embeds, mask, places, past, sources, source_mask_BS, mode)

    def __call__(
        self,
        tokens_BS: jax.Array,
        decoder_tokens_BT: jax.Array,
        mask_BS: jax.Array | None = None,
        decoder_mask_BT: jax.Array | None = None,
        place_ids: jax.Array | None = None,
        decoder_place_ids: jax.Array | None = None,
        mode: Mode = PLAIN,
    ) -> tuple[Encoded, Decoded]:
        """Both."""
        encoded = self.encode(tokens_BS, mask_BS, place_ids, mode)
        decoded = self.decode(
            decoder_tokens_BT, encoded.states, mask_BS, decoder_mask_BT, decoder_place_ids, None, mode
        )
        return encoded, decoded


class ConditionalModule(nn.Module):
    """The model with its language-modelling head; its ``Decoded.states`` are logits."""

    sizes: Sizes
    dtype: Any = jnp.float32
    remat: bool = False

    def setup(self) -> None:
        """The bare model, a bias, and an output layer where it is not tied."""
        self.model = BareModule(self.sizes, self.dtype, self.remat)
        shape = (1, self.sizes.vocabulary)
        self.final_logits_bias = self.param("final_logits_bias", nn.initializers.zeros, shape, jnp.float32)
        if not self.sizes.tied:
            self.lm_head = Dense(self.sizes.vocabulary, self.sizes.std, self.dtype, use_bias=False)

    def logits(self, states: jax.Array) -> jax.Array:
        """Logits of the decoder's states."""
        if self.sizes.tied:
            made = self.model.shared.logits(states)
        else:
            made = self.lm_head(states)
        bias = jax.lax.stop_gradient(self.final_logits_bias[0])  # it is no weight that learns
        return made.astype(jnp.promote_types(made.dtype, jnp.float32)) + bias

    def encode(self, *args: Any, **kwargs: Any) -> Encoded:
        """See ``BareModule.encode``."""
        return self.model.encode(*args, **kwargs)  # type: ignore[no-any-return]

    def cross_memory(self, states_BSD: jax.Array) -> Memory:
        """See ``BareModule.cross_memory``."""
        return self.model.cross_memory(states_BSD)  # type: ignore[no-any-return]

    def decode_states(self, *args: Any, **kwargs: Any) -> Decoded:
        """See ``BareModule.decode``."""
        return self.model.decode(*args, **kwargs)  # type: ignore[no-any-return]

    def decode(self, *args: Any, **kwargs: Any) -> Decoded:
        """See ``BareModule.decode``."""
        decoded = self.model.decode(*args, **kwargs)
        return replace(decoded, states=self.logits(decoded.states))

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Encoded, Decoded]:
        """See ``BareModule.__call__``."""
        encoded, decoded = self.model(*args, **kwargs)
        return encoded, replace(decoded, states=self.logits(decoded.states))
