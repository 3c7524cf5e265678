"""The layers of PEGASUS as Linen modules: products, norms, attention, and the two kinds of layer.

Where products are taken in 16 bits the residual, the norms, the softmax and the logits are float32, and
in float16 the last product of each branch is taken of inputs ``ROOM`` times smaller, so that nothing
leaves its range (decision: as in the PyTorch backend). In float32 none of that changes a number.

Axes: B texts, R rows (R = B · M, row r looks at text r // M), T and S positions, H heads, E head width,
D model, F feed-forward, L places of a memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from pegasus.backends.jax.model.activations import ACTIVATIONS
from pegasus.backends.jax.model.mode import Looks, Mode
from pegasus.spec.config import PegasusConfig

#: How much larger than 65,504 a change to the residual may be in float16.
ROOM = 64.0


@dataclass(frozen=True)
class Sizes:
    """What of a configuration the modules compute with, as a value that JAX can compare.

    Equal sizes share one compilation, whichever model they belong to.
    """

    vocabulary: int
    width: int
    layers: tuple[int, int]
    heads: tuple[int, int]
    inner: tuple[int, int]
    layerdrop: tuple[float, float]
    pruned: tuple[tuple[str, int], ...]
    activation: str
    dropout: float
    attention_dropout: float
    activation_dropout: float
    scale_embedding: bool
    tied: bool
    epsilon: float
    positions: int
    table: str
    std: float
    padding: int | None
    zero_start: int | None

    @classmethod
    def of(cls, config: PegasusConfig) -> Sizes:
        """Those of a configuration; pairs are of the encoder and of the decoder."""
        gone = ((place, len(heads)) for place, heads in (config.pruned_heads or {}).items())
        return cls(
            vocabulary=config.vocab_size,
            width=config.d_model,
            layers=(config.encoder_layers, config.decoder_layers),
            heads=(config.encoder_attention_heads, config.decoder_attention_heads),
            inner=(config.encoder_ffn_dim, config.decoder_ffn_dim),
            layerdrop=(config.encoder_layerdrop, config.decoder_layerdrop),
            pruned=tuple(sorted(gone)),
            activation=config.activation_function,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            scale_embedding=bool(config.scale_embedding),
            tied=bool(config.tie_word_embeddings),
            epsilon=config.layer_norm_eps,
            positions=config.max_position_embeddings,
            table=config.position_table,
            std=config.init_std,
            padding=config.pad_token_id,
            zero_start=config.decoder_start_token_id if config.decoder_start == "zeros" else None,
        )


def precision(dtype: Any) -> lax.Precision | None:
    """Products of float32 in all their bits, where an accelerator would drop some."""
    return lax.Precision.HIGHEST if jnp.dtype(dtype) == jnp.float32 else None


def scale_for(dtype: Any) -> float:
    """By what the last product of a branch is scaled down."""
    return 1 / ROOM if jnp.dtype(dtype) == jnp.float16 else 1.0


def dropout(
    module: nn.Module, values: jax.Array, rate: float, mode: Mode, shared: Sequence[int] = ()
) -> jax.Array:
    """Set a share of the numbers to zero and scale up the rest, in training; else the values themselves.

    Args:
        module: whose random numbers are drawn.
        values: any array.
        rate: the share.
        mode: says whether anything is done.
        shared: axes along which all numbers share one fate where masks are shared.
    """
    if not mode.train or rate == 0:
        return values
    if rate == 1:
        return jnp.zeros_like(values)
    axes = shared if mode.shared_dropout else ()
    shape = [1 if axis in axes else size for axis, size in enumerate(values.shape)]
    kept = jax.random.bernoulli(module.make_rng("dropout"), 1 - rate, tuple(shape))
    return jnp.where(kept, values / (1 - rate), 0).astype(values.dtype)


#: Up to so many rows a matrix that is read from memory once more often costs more than the products.
FEW_ROWS = 64


def by_rows(states: jax.Array, matrix_FD: jax.Array) -> jax.Array:
    """Few states times a matrix [out, in].

    XLA's CPU backend reads a matrix three times as fast where it stands first and the result is
    [out, rows]. The barrier keeps it from folding the transposition into the product, which undoes that.
    """
    few_ND = states.reshape(-1, states.shape[-1])
    made_FN = lax.dot_general(matrix_FD, few_ND, (((1,), (1,)), ((), ())))
    return lax.optimization_barrier(made_FN).T.reshape(*states.shape[:-1], -1)


def turned(module: nn.Module, name: str, states: jax.Array) -> jax.Array | None:
    """A matrix [out, in] that the caller brought along for few rows, in the collection "turned"."""
    few = states.size // states.shape[-1] <= FEW_ROWS
    return module.get_variable("turned", name) if few and module.has_variable("turned", name) else None


class Dense(nn.Module):
    """A linear layer: ``states · kernel + scale · bias``."""

    features: int
    std: float
    dtype: Any = jnp.float32
    use_bias: bool = True

    @nn.compact
    def __call__(self, states: jax.Array, scale: float = 1.0) -> jax.Array:
        """``scale`` times what the layer makes of ``states / scale``."""
        shape = (states.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(self.std), shape, jnp.float32)
        # Of 16 bits too the sums leave as 16: they were summed in float32.
        states, kernel_FD = states.astype(self.dtype), turned(self, "kernel", states)
        if kernel_FD is None:
            made = jnp.dot(states, kernel.astype(self.dtype), precision=precision(self.dtype))
        else:
            made = by_rows(states, kernel_FD)
        if self.has_variable("lora", "lora_A"):
            made += self._beside(states)
        if not self.use_bias:
            return made
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return made + (bias * scale).astype(self.dtype)

    def _beside(self, states: jax.Array) -> jax.Array:
        """What small matrices beside the large one add (LoRA); they come as the collection "lora"."""
        if self.has_variable("lora", "keep"):
            keep = self.get_variable("lora", "keep")
            kept = jax.random.bernoulli(self.make_rng("dropout"), keep, states.shape)
            states = jnp.where(kept, states / keep, 0).astype(self.dtype)
        for side in ("lora_A", "lora_B"):
            small = self.get_variable("lora", side).astype(self.dtype)
            states = jnp.dot(states, small, precision=precision(self.dtype))
        return states


class LayerNorm(nn.Module):
    """A layer norm computed in float32 at least; the result has the type of products."""

    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, states: jax.Array, scale: float = 1.0) -> jax.Array:
        """``scale`` times the normalized states."""
        width = (states.shape[-1],)
        weight = self.param("scale", nn.initializers.ones, width, jnp.float32)
        shift = self.param("bias", nn.initializers.zeros, width, jnp.float32)
        wide = states.astype(jnp.promote_types(states.dtype, jnp.float32))
        centred = wide - wide.mean(-1, keepdims=True)
        normed = centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + self.epsilon)
        return (normed * (weight * scale) + shift * scale).astype(self.dtype)


class Attention(nn.Module):
    """Multi-head attention with biases on all four projections.

    The queries may have M times as many rows as the keys: the M beams of a text are folded into its query
    length, so that keys and values are held once a text.
    """

    sizes: Sizes
    heads: int
    kept: int
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Four projections."""
        inner = self.width * self.kept
        self.k_proj, self.v_proj, self.q_proj = (
            Dense(inner, self.sizes.std, self.dtype, name=name) for name in ("k_proj", "v_proj", "q_proj")
        )
        self.out_proj = Dense(self.sizes.width, self.sizes.std, self.dtype)

    @property
    def width(self) -> int:
        """E."""
        return self.sizes.width // self.heads

    def memory(self, states_BSD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Keys and values of states, [B, H, S, E]."""
        return self._split(self.k_proj(states_BSD)), self._split(self.v_proj(states_BSD))

    def __call__(
        self,
        states_RTD: jax.Array,
        memory: tuple[jax.Array, jax.Array],
        looks: Looks,
        mode: Mode,
        scale: float,
    ) -> tuple[jax.Array, jax.Array | None]:
        """What the states find in keys and values, times ``scale``, and the probabilities [R, H, T, S]."""
        keys, values = memory
        queries = self._split(self.q_proj(states_RTD) * self.width**-0.5)
        rows, _, length, _ = queries.shape
        queries = _fold(queries, len(keys))
        wide = jnp.promote_types(self.dtype, jnp.float32)
        exact = precision(self.dtype)
        scores = jnp.einsum("bhte,bhse->bhts", queries, keys, precision=exact, preferred_element_type=wide)
        if looks.allowed is not None:
            scores = jnp.where(looks.allowed, scores, jnp.finfo(wide).min)
        if looks.there is not None:
            scores = jnp.where(looks.there, scores, -jnp.inf)
        weights = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
        dropped = dropout(self, weights, self.sizes.attention_dropout, mode, (0, 1))
        mixed = _unfold(jnp.einsum("bhts,bhse->bhte", dropped, values, precision=exact), rows, length)
        joined = mixed.swapaxes(1, 2).reshape(rows, length, -1)
        found = self.out_proj(joined * scale if scale != 1 else joined, scale)
        return found, _unfold(weights, rows, length) if mode.attentions else None

    def _split(self, projected: jax.Array) -> jax.Array:
        return projected.reshape(*projected.shape[:2], self.kept, self.width).swapaxes(1, 2)


def _fold(queries: jax.Array, texts: int) -> jax.Array:
    rows, heads, length, width = queries.shape
    if rows == texts:
        return queries
    beams = queries.reshape(texts, rows // texts, heads, length, width).swapaxes(1, 2)
    return beams.reshape(texts, heads, rows // texts * length, width)


def _unfold(folded: jax.Array, rows: int, length: int) -> jax.Array:
    texts, heads, _, last = folded.shape
    if rows == texts:
        return folded
    beams = folded.reshape(texts, heads, rows // texts, length, last).swapaxes(1, 2)
    return beams.reshape(rows, heads, length, last)


class Layer(nn.Module):
    """What both kinds of layer share: self-attention, feed-forward, and how a residual is added."""

    sizes: Sizes
    number: int
    dtype: Any = jnp.float32
    #: 0: the encoder's, 1: the decoder's.
    side: int = 0

    def setup(self) -> None:
        """Self-attention and the feed-forward part; ``_more`` adds what only one kind has."""
        sizes, dtype = self.sizes, self.dtype
        self.self_attn = self._attention("decoder" if self.side else "encoder")
        self.self_attn_layer_norm = LayerNorm(sizes.epsilon, dtype)
        self.fc1 = Dense(sizes.inner[self.side], sizes.std, dtype)
        self.fc2 = Dense(sizes.width, sizes.std, dtype)
        self.final_layer_norm = LayerNorm(sizes.epsilon, dtype)
        if self.side:
            self.encoder_attn = self._attention("cross")
            self.encoder_attn_layer_norm = LayerNorm(sizes.epsilon, dtype)

    def _attention(self, part: str) -> Attention:
        heads = self.sizes.heads[self.side]
        kept = heads - dict(self.sizes.pruned).get(f"{part}.{self.number}", 0)
        return Attention(self.sizes, heads, kept, self.dtype)

    def _add(self, residual: jax.Array, change: jax.Array, mode: Mode) -> jax.Array:
        dropped = dropout(self, change, self.sizes.dropout, mode, (1,)).astype(residual.dtype)
        scale = scale_for(self.dtype)
        return residual + (dropped / scale if scale != 1 else dropped)

    def _activate(self, hidden_BTF: jax.Array, scale: float) -> jax.Array:
        activation = ACTIVATIONS[self.sizes.activation]
        if scale == 1 or self.sizes.activation == "relu":  # relu keeps a scale
            return activation(hidden_BTF)
        return (activation(hidden_BTF.astype(jnp.float32) / scale) * scale).astype(hidden_BTF.dtype)

    def _feed_forward(self, states_BTD: jax.Array, mode: Mode) -> jax.Array:
        scale = scale_for(self.dtype)
        hidden_BTF = self._activate(self.fc1(self.final_layer_norm(states_BTD, scale), scale), scale)
        hidden_BTF = dropout(self, hidden_BTF, self.sizes.activation_dropout, mode, (1,))
        return self._add(states_BTD, self.fc2(hidden_BTF, scale), mode)

    def _look_at_self(
        self, states: jax.Array, past: Any, start: Any, looks: Looks, mode: Mode
    ) -> tuple[jax.Array, jax.Array | None, tuple[jax.Array, jax.Array]]:
        normed = self.self_attn_layer_norm(states)
        memory = self.self_attn.memory(normed)
        if past is not None:
            memory = tuple(
                lax.dynamic_update_slice(old, new.astype(old.dtype), (0, 0, start, 0))
                for old, new in zip(past, memory)
            )
        change, weights = self.self_attn(normed, memory, looks, mode, scale_for(self.dtype))
        return self._add(states, change, mode), weights, memory


class EncoderLayer(Layer):
    """Self-attention and feed-forward, each behind a layer norm and added to the residual."""

    def __call__(
        self, states_BSD: jax.Array, looks: Looks, mode: Mode
    ) -> tuple[jax.Array, jax.Array | None]:
        """The new states, and the attention probabilities when they are asked for."""
        states, weights, _ = self._look_at_self(states_BSD, None, 0, looks, mode)
        return self._feed_forward(states, mode), weights


class DecoderLayer(Layer):
    """Causal self-attention, attention to the encoder, and feed-forward."""

    side: int = 1

    def cross_memory(self, states_BSD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Keys and values of the encoder's states, [B, H, S, E]."""
        return self.encoder_attn.memory(states_BSD)

    def __call__(
        self,
        states_RTD: jax.Array,
        past: tuple[jax.Array, jax.Array] | None,
        start: Any,
        looks: Looks,
        source: Any,
        cross_looks: Looks,
        mode: Mode,
    ) -> tuple[jax.Array, jax.Array | None, jax.Array | None, tuple[jax.Array, jax.Array]]:
        """The new states, both kinds of probabilities, and the keys and values of self-attention.

        Args:
            states_RTD: what came before.
            past: a memory [R, H, L, E], written to from place ``start`` on; None: these states alone.
            start: the place of the first of them.
            looks: of self-attention.
            source: the encoder's states [B, S, D], or keys and values made of them.
            cross_looks: of attention to the encoder.
            mode: see there.
        """
        states, weights, present = self._look_at_self(states_RTD, past, start, looks, mode)
        memory = source if isinstance(source, tuple) else self.encoder_attn.memory(source)
        normed = self.encoder_attn_layer_norm(states)
        change, cross_weights = self.encoder_attn(normed, memory, cross_looks, mode, scale_for(self.dtype))
        states = self._add(states, change, mode)
        return self._feed_forward(states, mode), weights, cross_weights, present
