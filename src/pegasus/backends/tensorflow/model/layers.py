"""The layers of PEGASUS as Keras layers: products, norms, attention, and the two kinds of layer.

A layer's weights are made when it is built and named as transformers' TF classes name them. Within the
model layers call each other's ``call``, so that nothing is converted on the way. Where products are taken
in 16 bits the residual, the norms, the softmax and the logits are float32, and in float16 the last product
of each branch is taken of inputs ``ROOM`` times smaller, so that nothing leaves its range.

States pass through the layers flat, as matrices [N, D] with N = R · T: products are then of matrices, few
operations stand in a graph, and the M beams of a text, whose rows lie side by side, are one long query.

Axes: B texts, R rows (R = B · M, row r looks at text r // M), T and S positions, H heads, E head width,
D model, F feed-forward, L places of a memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pegasus.backends.tensorflow.model.activations import ACTIVATIONS
from pegasus.spec.config import PegasusConfig

#: How much larger than 65,504 a change to the residual may be in float16.
ROOM = 64.0


class Draws:
    """Random numbers of one pass: each dropout gets a seed of its own.

    Args:
        seed: two whole numbers.
    """

    def __init__(self, seed: tf.Tensor) -> None:
        self.seed, self.count = tf.cast(seed, tf.int32), 0

    def uniform(self, shape: Any) -> tf.Tensor:
        """Numbers from 0 to 1, other ones at each call."""
        self.count += 1
        mine = tf.random.experimental.stateless_fold_in(self.seed, self.count)
        return tf.random.stateless_uniform(shape, mine)

    def part(self, number: int) -> Draws:
        """Random numbers of one part of the pass: the same ones each time that it is computed."""
        return Draws(tf.random.experimental.stateless_fold_in(self.seed, -1 - number))


@dataclass(frozen=True)
class Mode:
    """What is done beside the plain pass.

    Attributes:
        draws: what dropout and layerdrop are drawn from; None: nothing is drawn.
        attentions: whether probabilities are returned.
        hidden: whether the states of every layer are returned.
        shared_dropout: one dropout mask for all positions of a text, as the authors.
        remat: whether the activations of a layer are computed again in the backward pass.
        sizes: rows and their length, of which flat states are.
    """

    draws: Draws | None = None
    attentions: bool = False
    hidden: bool = False
    shared_dropout: bool = False
    remat: bool = False
    sizes: Any = None


PLAIN = Mode()


@dataclass(frozen=True)
class Looks:
    """Who may look where in an attention.

    Attributes:
        allowed: booleans that broadcast to [B, 1, T, S]. A query that may look nowhere looks everywhere.
        there: booleans [S]: places that hold something at all; None: all. Others do not exist.
        heads: what each head's probabilities are multiplied by, [H]; None: 1.
    """

    allowed: tf.Tensor | None = None
    there: tf.Tensor | None = None
    heads: tf.Tensor | None = None


#: Keys and values [R, H, L, E].
Memory = tuple[tf.Tensor, tf.Tensor]


class Flat(NamedTuple):
    """States of texts one below the other, [B · S, D], and of how many texts they are."""

    states: tf.Tensor
    rows: Any

    @classmethod
    def of(cls, states_BSD: tf.Tensor, width: int, dtype: Any) -> Flat:
        """Those of [B, S, D], D being the width, in a type."""
        flat = tf.reshape(tf.cast(states_BSD, dtype), (-1, width))
        return cls(flat, tf.shape(states_BSD)[0])


def wide(dtype: Any) -> tf.DType:
    """float32, or the type itself where that is wider."""
    found = tf.as_dtype(dtype)
    return tf.float32 if found.size < 4 else found


def scale_for(dtype: Any) -> float:
    """By what the last product of a branch is scaled down."""
    return 1 / ROOM if tf.as_dtype(dtype) == tf.float16 else 1.0


def exact(variable: Any) -> Any:
    """TensorFlow's variable within Keras' one, which would turn itself into the type of products."""
    return variable._value


def dropout(values: tf.Tensor, rate: float, mode: Mode, shared: int = 0) -> tf.Tensor:
    """Set a share of the numbers to zero and scale up the rest, where anything is drawn.

    Args:
        values: flat states, or with ``shared`` any tensor.
        rate: the share.
        mode: what is drawn from.
        shared: how many of the first axes share one fate where masks are shared; 0: the positions of a row.
    """
    if mode.draws is None or rate == 0:
        return values
    if rate == 1:
        return tf.zeros_like(values)
    shape = tf.shape(values)
    if mode.shared_dropout and shared:
        shape = tf.concat([tf.ones(shared, tf.int32), shape[shared:]], 0)
    elif mode.shared_dropout:
        shape = tf.stack([mode.sizes[0], shape[-1]])
    kept = mode.draws.uniform(shape) >= rate
    if mode.shared_dropout and not shared:
        kept = tf.repeat(kept, mode.sizes[1], axis=0)
    return tf.where(kept, values / (1 - rate), tf.zeros((), values.dtype))


#: What weights are made of while a model is built: a path → numbers; None: zeros. So that each number is in
#: memory once: what is made of zeros first, and then filled, is there twice while it is.
NUMBERS: ContextVar[Callable[[str], Any] | None] = ContextVar("NUMBERS", default=None)


class Layer(keras.layers.Layer):
    """A Keras layer that converts nothing by itself."""

    def __init__(self, name: str, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype, autocast=False)

    def weight(self, name: str, shape: Sequence[int], trainable: bool = True) -> Any:
        """A weight of this name, of the numbers that ``NUMBERS`` has for it."""
        find, path = NUMBERS.get(), f"{self.path}/{name}"

        def start(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
            return tf.zeros(shape, dtype) if find is None else tf.cast(find(path), dtype)

        return self.add_weight(name=name, shape=tuple(shape), initializer=start, trainable=trainable)

    def replace_weight(self, name: str, array: Any, attribute: str = "") -> None:
        """Another variable, perhaps of another shape, in the place of a weight."""
        old = getattr(self, attribute or name)
        self._tracker.unlock()
        self._untrack_variable(old)
        with self._open_name_scope():
            new = self.weight(name, array.shape, trainable=old.trainable)
        setattr(self, attribute or name, new)
        self._tracker.lock()
        new.assign(array)

    def made(self, variable: Any, dtype: Any = None) -> tf.Tensor:
        """A weight in the type of products, or in another."""
        return tf.cast(exact(variable), dtype or self.compute_dtype)


class Dense(Layer):
    """A linear layer: ``states · kernel + scale · bias``."""

    def __init__(self, name: str, into: int, out: int, dtype: Any, bias: bool = True) -> None:
        super().__init__(name, dtype)
        self.sizes, self.use_bias = (into, out), bias

    def build(self, input_shape: Any = None) -> None:
        """Matrix [in, out] and bias."""
        self.kernel = self.weight("kernel", self.sizes)
        self.bias = self.weight("bias", self.sizes[1:]) if self.use_bias else None

    def call(self, states_ND: tf.Tensor, scale: float = 1.0) -> tf.Tensor:
        """``scale`` times what the layer makes of ``states / scale``."""
        made = tf.matmul(tf.cast(states_ND, self.compute_dtype), self.made(self.kernel))
        if self.bias is None:
            return made
        bias = self.made(self.bias, wide(made.dtype)) * scale if scale != 1 else exact(self.bias)
        return tf.nn.bias_add(made, tf.cast(bias, made.dtype))


class LayerNorm(Layer):
    """A layer norm computed in float32 at least; the result has the type of products."""

    def __init__(self, name: str, width: int, epsilon: float, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.width, self.epsilon = width, epsilon

    def build(self, input_shape: Any = None) -> None:
        """Scale and shift."""
        self.gamma = self.weight("gamma", (self.width,))
        self.beta = self.weight("beta", (self.width,))

    def call(self, states: tf.Tensor, scale: float = 1.0) -> tf.Tensor:
        """``scale`` times the normalized states."""
        numbers = tf.cast(states, wide(states.dtype))
        centred = numbers - tf.reduce_mean(numbers, -1, keepdims=True)
        normed = centred * tf.math.rsqrt(
            tf.reduce_mean(centred * centred, -1, keepdims=True) + self.epsilon
        )
        gamma, beta = (self.made(one, numbers.dtype) for one in (self.gamma, self.beta))
        if scale != 1:
            gamma, beta = gamma * scale, beta * scale
        return tf.cast(normed * gamma + beta, self.compute_dtype)


class Attention(Layer):
    """Multi-head attention with biases on all four projections.

    The queries may have M times as many rows as the keys: the M beams of a text are one long query, so that
    keys and values are held once a text.
    """

    def __init__(self, name: str, width: int, head: int, kept: int, rate: float, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.head, self.kept, self.rate = head, kept, rate
        self.k_proj, self.v_proj, self.q_proj = (
            Dense(one, width, head * kept, dtype) for one in ("k_proj", "v_proj", "q_proj")
        )
        self.out_proj = Dense("out_proj", head * kept, width, dtype)

    def build(self, input_shape: Any = None) -> None:
        """Four projections."""
        for layer in (self.k_proj, self.q_proj, self.v_proj, self.out_proj):
            layer.build()

    def memory(self, states_ND: tf.Tensor, rows: Any) -> Memory:
        """Keys and values of flat states of so many rows, [rows, H, S, E]."""
        keys, values = self.k_proj.call(states_ND), self.v_proj.call(states_ND)
        return self._split(keys, rows), self._split(values, rows)

    def call(
        self, states_ND: tf.Tensor, memory: Memory, looks: Looks, mode: Mode, scale: float
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """What the states find in keys and values, times ``scale``, and the probabilities [R, H, T, S]."""
        keys, values = memory
        queries = self._split(self.q_proj.call(states_ND) * self.head**-0.5, tf.shape(keys)[0])
        scores = tf.matmul(queries, keys, transpose_b=True)
        scores = tf.cast(scores, wide(self.compute_dtype))
        if looks.allowed is not None:
            scores = tf.where(looks.allowed, scores, scores.dtype.min)
        if looks.there is not None:
            scores = tf.where(looks.there, scores, tf.constant(-math.inf, scores.dtype))
        weights = tf.cast(tf.nn.softmax(scores), self.compute_dtype)
        if looks.heads is not None:
            weights *= tf.cast(tf.reshape(looks.heads, (1, -1, 1, 1)), weights.dtype)
        mixed = tf.matmul(dropout(weights, self.rate, mode, 2), values)
        joined = tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, self.head * self.kept))
        found = self.out_proj.call(joined * scale if scale != 1 else joined, scale)
        return found, self._unfold(weights, mode) if mode.attentions else None

    def _split(self, flat: tf.Tensor, rows: Any) -> tf.Tensor:
        return tf.transpose(tf.reshape(flat, (rows, -1, self.kept, self.head)), (0, 2, 1, 3))

    def _unfold(self, weights: tf.Tensor, mode: Mode) -> tf.Tensor:
        """Probabilities row by row, where those of the beams of a text stand in one query."""
        (rows, length), sizes = mode.sizes, tf.shape(weights)
        beams = tf.reshape(weights, (sizes[0], self.kept, -1, length, sizes[3]))
        return tf.reshape(tf.transpose(beams, (0, 2, 1, 3, 4)), (rows, self.kept, length, sizes[3]))


def written(old: tf.Tensor, new: tf.Tensor, start: Any) -> tf.Tensor:
    """A memory [R, H, L, E] with ``new`` [R, H, T, E] at the places from ``start`` on."""
    index = tf.range(tf.shape(old)[2]) - start
    length = tf.shape(new)[2]
    if new.shape[2] != 1:
        new = tf.gather(new, tf.clip_by_value(index, 0, length - 1), axis=2)
    there = tf.logical_and(index >= 0, index < length)[None, None, :, None]
    return tf.where(there, tf.cast(new, old.dtype), old)


class TransformerLayer(Layer):
    """Self-attention, attention to the encoder in the decoder, and feed-forward, each behind a norm.

    Args:
        config: its sizes.
        number: which layer of its stack.
        decoder: whether it belongs to the decoder.
        dtype: of Keras.
    """

    def __init__(self, config: PegasusConfig, number: int, decoder: bool, dtype: Any) -> None:
        super().__init__(f"layers.{number}", dtype)
        self.config, self.number, self.decoder = config, number, decoder
        side = "decoder" if decoder else "encoder"
        inner = config.decoder_ffn_dim if decoder else config.encoder_ffn_dim
        width, epsilon, dtype = config.d_model, config.layer_norm_eps, self.dtype_policy
        self.self_attn = self._attention("self_attn", side)
        self.self_attn_layer_norm = LayerNorm("self_attn_layer_norm", width, epsilon, dtype)
        if decoder:
            self.encoder_attn = self._attention("encoder_attn", "cross")
            self.encoder_attn_layer_norm = LayerNorm("encoder_attn_layer_norm", width, epsilon, dtype)
        self.fc1, self.fc2 = Dense("fc1", width, inner, dtype), Dense("fc2", inner, width, dtype)
        self.final_layer_norm = LayerNorm("final_layer_norm", width, epsilon, dtype)

    def build(self, input_shape: Any = None) -> None:
        """Its parts."""
        names = ("self_attn", "self_attn_layer_norm", "encoder_attn", "encoder_attn_layer_norm")
        for name in (*names, "fc1", "fc2", "final_layer_norm"):
            if hasattr(self, name):
                getattr(self, name).build()

    def _attention(self, name: str, part: str) -> Attention:
        config = self.config
        heads = config.decoder_attention_heads if self.decoder else config.encoder_attention_heads
        kept = heads - len((config.pruned_heads or {}).get(f"{part}.{self.number}", ()))
        head, rate = config.d_model // heads, config.attention_dropout
        return Attention(name, config.d_model, head, kept, rate, self.dtype_policy)

    def call(
        self,
        states: tf.Tensor,
        looks: Looks,
        mode: Mode,
        past: Memory | None = None,
        start: Any = 0,
        source: Any = None,
        cross: Looks | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None, Memory, Memory | None]:
        """The new states, both kinds of probabilities, and both kinds of memory.

        Args:
            states: flat, what came before.
            looks: of self-attention.
            mode: see there; with the sizes of the states.
            past: a memory of self-attention with room for these tokens too; None: there is nothing earlier.
            start: the place of the first of them in it.
            source: the encoder's states, flat with their number of rows, or keys and values made of them.
            cross: of attention to the encoder.
        """
        scale = scale_for(self.compute_dtype)
        normed = self.self_attn_layer_norm.call(states)
        memory: Any = self.self_attn.memory(normed, mode.sizes[0])
        if past is not None:
            memory = tuple(written(old, new, start) for old, new in zip(past, memory))
        change, weights = self.self_attn.call(normed, memory, looks, mode, scale)
        states = self._add(states, change, mode)
        cross_weights, seen = None, None
        if self.decoder and source is not None:
            seen = self.encoder_attn.memory(*source) if isinstance(source, Flat) else source
            normed = self.encoder_attn_layer_norm.call(states)
            change, cross_weights = self.encoder_attn.call(normed, seen, cross or Looks(), mode, scale)
            states = self._add(states, change, mode)
        return self._feed_forward(states, mode, scale), weights, cross_weights, memory, seen

    def _feed_forward(self, states_ND: tf.Tensor, mode: Mode, scale: float) -> tf.Tensor:
        hidden_NF = self._activate(
            self.fc1.call(self.final_layer_norm.call(states_ND, scale), scale), scale
        )
        hidden_NF = dropout(hidden_NF, self.config.activation_dropout, mode)
        return self._add(states_ND, self.fc2.call(hidden_NF, scale), mode)

    def _activate(self, hidden_NF: tf.Tensor, scale: float) -> tf.Tensor:
        name = self.config.activation_function
        if scale == 1 or name == "relu":  # relu keeps a scale
            return ACTIVATIONS[name](hidden_NF)
        exact = ACTIVATIONS[name](tf.cast(hidden_NF, tf.float32) / scale) * scale
        return tf.cast(exact, hidden_NF.dtype)

    def _add(self, residual: tf.Tensor, change: tf.Tensor, mode: Mode) -> tf.Tensor:
        dropped = tf.cast(dropout(change, self.config.dropout, mode), residual.dtype)
        scale = scale_for(self.compute_dtype)
        return residual + (dropped / scale if scale != 1 else dropped)
