"""Encoder and decoder, and the two over one table of embeddings: the Keras layer named ``model``.

Axes are those of ``layers``. Positions have no end: where a table is too short its rows are computed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from pegasus.backends.tensorflow.model.inputs import argument_names, settled
from pegasus.backends.tensorflow.model.layers import (
    PLAIN,
    Draws,
    Flat,
    Layer,
    LayerNorm,
    Looks,
    Memory,
    Mode,
    TransformerLayer,
    dropout,
    exact,
    wide,
)
from pegasus.backends.tensorflow.model.passes import ALL_HEADS, Decoded, Encoded, Heads, Past, remembered
from pegasus.errors import BadSetting
from pegasus.spec import masks
from pegasus.spec.config import PegasusConfig
from pegasus.spec.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    ModelOutput,
)
from pegasus.spec.positions import divisors


class Embedding(Layer):
    """A table of vectors, [V, D], that is also the output layer where weights are tied."""

    def __init__(self, name: str, rows: int, width: int, dtype: Any, trainable: bool = True) -> None:
        super().__init__(name, dtype)
        self.rows, self.width, self.learns = rows, width, trainable

    def build(self, input_shape: Any = None) -> None:
        """The table."""
        self.embeddings = self.weight("embeddings", (self.rows, self.width), trainable=self.learns)

    def call(self, tokens: tf.Tensor, padding: int | None = None) -> tf.Tensor:
        """The vectors of tokens; that of padding does not learn from being looked up."""
        vectors = tf.gather(exact(self.embeddings), tokens)
        if padding is None:
            return vectors
        return tf.where((tokens == padding)[..., None], tf.stop_gradient(vectors), vectors)

    def logits(self, states_ND: tf.Tensor) -> tf.Tensor:
        """States times the table."""
        return tf.matmul(states_ND, self.made(self.embeddings), transpose_b=True)

    def resize(self, table: np.ndarray) -> None:
        """Another table in the place of this one."""
        self.rows = len(table)
        self.replace_weight("embeddings", table)


class Stack(Layer):
    """What encoder and decoder share: embeddings with positions, layers, a final norm."""

    decoder = False

    def __init__(self, config: PegasusConfig, shared: Embedding, seeds: Any, name: str, dtype: Any) -> None:
        super().__init__(name, dtype)
        self.config, self.embed_tokens, self.seeds = config, shared, seeds
        count, dtype = config.max_position_embeddings, self.dtype_policy
        self.embed_positions = Embedding("embed_positions", count, config.d_model, dtype, trainable=False)
        number = config.decoder_layers if self.decoder else config.encoder_layers
        self.layers = [TransformerLayer(config, i, self.decoder, dtype) for i in range(number)]
        self.layer_norm = LayerNorm("layer_norm", config.d_model, config.layer_norm_eps, dtype)
        self.layerdrop = config.decoder_layerdrop if self.decoder else config.encoder_layerdrop

    def build(self, input_shape: Any = None) -> None:
        """Its parts, without the embeddings, which belong to both."""
        for layer in (self.embed_positions, *self.layers, self.layer_norm):
            layer.build()

    def embed(self, tokens: tf.Tensor, start: Any = 0) -> tf.Tensor:
        """Embeddings of the tokens from place ``start`` on, scaled, without positions; float32 at least.

        Where ``config.decoder_start`` says so, the decoder's start token is read as zeros.
        """
        scale = math.sqrt(self.config.d_model) if self.config.scale_embedding else 1.0
        vectors = self.embed_tokens.call(tokens, self.config.pad_token_id)
        vectors = tf.cast(vectors, wide(vectors.dtype)) * scale
        if not self.decoder or self.config.decoder_start != "zeros":
            return vectors
        first = start + tf.range(tf.shape(tokens)[1]) == 0
        begins = tf.logical_and(first, tokens == self.config.decoder_start_token_id)
        return tf.where(begins[..., None], tf.zeros((), vectors.dtype), vectors)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See ``call``; inputs come in the three forms of the models."""
        return super().__call__(**settled(argument_names(type(self)), args, kwargs))

    def mode(
        self, attentions: bool | None, hidden: bool | None, training: bool | None, remat: bool = False
    ) -> Mode:
        """What the caller asked to see, or else what the configuration says."""
        config = self.config
        attentions = config.output_attentions if attentions is None else attentions
        hidden = config.output_hidden_states if hidden is None else hidden
        draws = Draws(self.seeds.next()) if training else None
        return Mode(draws, bool(attentions), bool(hidden), remat=remat and not attentions)

    def given(self, tokens: Any, embeds: Any, side: str = "", past: Any = None) -> tf.Tensor:
        """Embeddings of one of them, which follow what ``past_key_values`` hold.

        Raises:
            BadSetting: neither or both came.
        """
        if (tokens is None) == (embeds is None):
            found = "neither" if tokens is None else "both"
            raise BadSetting(f"give either {side}input_ids or {side}inputs_embeds: {found} came")
        if embeds is not None:
            return embeds
        return self.embed(tokens, 0 if past is None else tf.shape(past[0][0])[2])

    def _begin(
        self, embeds_BTD: tf.Tensor, places: Any, longest: int | None, mode: Mode
    ) -> tuple[tf.Tensor, Mode]:
        """Flat embeddings with positions, and their sizes; all places are below ``longest``, if known."""
        sizes = tf.shape(embeds_BTD)
        mode = replace(mode, sizes=(sizes[0], sizes[1]))
        states = tf.cast(embeds_BTD, wide(self.compute_dtype))
        table, rows = exact(self.embed_positions.embeddings), self.embed_positions.rows
        if longest is not None and longest <= rows:
            vectors = tf.gather(table, places)
        else:
            vectors = tf.cond(
                tf.reduce_max(places) < rows, lambda: tf.gather(table, places), lambda: self._beyond(places)
            )
        flat = tf.reshape(states + tf.cast(vectors, states.dtype), (-1, self.config.d_model))
        return dropout(flat, self.config.dropout, mode), mode

    def _shaped(self, flat: tf.Tensor, mode: Mode) -> tf.Tensor:
        """States row by row again, [R, T, D]."""
        return tf.reshape(flat, (*mode.sizes, self.config.d_model))

    def _end(self, states: tf.Tensor, before: list[tf.Tensor], mode: Mode) -> tuple[tf.Tensor, Any]:
        """The last states behind the final norm, and those of every layer where they are wanted."""
        last = self._shaped(self.layer_norm.call(states), mode)
        return last, (*(self._shaped(one, mode) for one in before), last) if mode.hidden else None

    def _beyond(self, places: tf.Tensor) -> tf.Tensor:
        """Positions of which some are computed by the formula."""
        table, width = exact(self.embed_positions.embeddings), self.config.d_model
        angles = tf.cast(places, tf.float64)[..., None] / divisors(width, self.config.position_table)
        computed = tf.concat([tf.sin(angles), tf.cos(angles[..., : width // 2])], -1)
        rows = self.embed_positions.rows
        stored = tf.gather(table, tf.minimum(places, rows - 1))
        return tf.where((places < rows)[..., None], stored, tf.cast(computed, table.dtype))

    def _layer(self, number: int, states: tf.Tensor, mode: Mode, looks: Looks, **rest: Any) -> Any:
        """One layer, which may be skipped in training."""
        source = rest.pop("source", None)

        def run(states: tf.Tensor, source: Any) -> Any:
            part = (
                mode
                if mode.draws is None
                else replace(mode, draws=mode.draws.part(2 * number + self.decoder))
            )
            return self.layers[number].call(states, looks, part, source=source, **rest)

        if mode.remat and mode.draws is not None:
            found = (_recomputed(run, states, source), None, None, (), None)
        else:
            found = run(states, source)
        if mode.draws is None or self.layerdrop == 0:
            return found
        skipped = mode.draws.uniform(()) < self.layerdrop
        return (tf.where(skipped, states, found[0]), *found[1:])


class Encoder(Stack):
    """The stack of encoder layers with its final norm."""

    def run(
        self,
        embeds_BSD: tf.Tensor,
        mask_BS: Any = None,
        mode: Mode = PLAIN,
        heads: Any = None,
    ) -> Encoded:
        """Encode embedded texts."""
        rows = _rows(heads, len(self.layers), "head_mask")
        allowed = None if mask_BS is None else masks.padding(mask_BS)
        places = tf.range(tf.shape(embeds_BSD)[1])
        states, mode = self._begin(embeds_BSD, places, embeds_BSD.shape[1], mode)
        before, weights = [], []
        for i, row in enumerate(rows):
            before.append(states)
            states, found, *_ = self._layer(i, states, mode, Looks(allowed, heads=row))
            weights.append(found)
        last, hidden = self._end(states, before, mode)
        return Encoded(last, hidden, tuple(weights) if mode.attentions else None)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
    ) -> Any:
        """Encode texts; arguments as in ``TFPegasusModel.call``."""
        mode = self.mode(output_attentions, output_hidden_states, training)
        encoded = self.run(self.given(input_ids, inputs_embeds), attention_mask, mode, head_mask)
        record = BaseModelOutput(encoded.states, encoded.hidden_states, encoded.attentions)
        return returned(self.config, record, return_dict)


class Decoder(Stack):
    """The stack of decoder layers with its final norm."""

    decoder = True

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        encoder_hidden_states: Any = None,
        encoder_attention_mask: Any = None,
        head_mask: Any = None,
        cross_attn_head_mask: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
    ) -> Any:
        """Decode tokens; arguments as those of ``TFPegasusModel.call`` with ``decoder_`` before them."""
        embeds = self.given(input_ids, inputs_embeds, "decoder_", past_key_values)
        past, sources = remembered(past_key_values, embeds, attention_mask)
        decoded = self.run(
            embeds,
            encoder_hidden_states if sources is None else sources,
            encoder_attention_mask,
            attention_mask,
            position_ids,
            past,
            self.mode(output_attentions, output_hidden_states, training),
            Heads(head_mask, cross_attn_head_mask),
        )
        cached = self.config.use_cache if use_cache is None else use_cache
        record = BaseModelOutputWithPastAndCrossAttentions(
            decoded.states,
            decoded.presents if cached else None,
            decoded.hidden_states,
            decoded.attentions,
            decoded.cross_attentions,
        )
        return returned(self.config, record, return_dict)

    def cross_memory(self, states_BSD: tf.Tensor) -> tuple[Memory, ...]:
        """Keys and values of the encoder's states, layer by layer."""
        flat = Flat.of(states_BSD, self.config.d_model, self.compute_dtype)
        return tuple(layer.encoder_attn.memory(*flat) for layer in self.layers)

    def run(
        self,
        embeds_RTD: tf.Tensor,
        sources: Any,
        source_mask_BS: Any = None,
        mask_RT: Any = None,
        places: Any = None,
        past: Past | None = None,
        mode: Mode = PLAIN,
        heads: Heads = ALL_HEADS,
    ) -> Decoded:
        """Decode embedded tokens: all at once (``mask_RT``), or after those that are remembered.

        Args:
            embeds_RTD: without positions.
            sources: the encoder's states, what ``cross_memory`` made of them, or None.
            source_mask_BS: their padding.
            mask_RT: padding of the tokens, where nothing is remembered.
            places: [R, T] or [T], where each token stands; None: they go on from what is remembered.
            past: what is remembered.
            mode: see there.
            heads: see there.
        """
        length = tf.shape(embeds_RTD)[1]
        start = 0 if past is None else past.start
        looks = _self_looks(length, mask_RT, past)
        longest = embeds_RTD.shape[1] if past is None else past.room or past.memory[0][0].shape[2]
        if places is None:
            places = start + tf.range(length)
        else:
            longest = None  # they may be anywhere
        cross = Looks(None if source_mask_BS is None else masks.padding(source_mask_BS))
        rows = zip(
            _rows(heads.own, len(self.layers), "decoder_head_mask"),
            _rows(heads.cross, len(self.layers), "cross_attn_head_mask"),
        )
        states, mode = self._begin(embeds_RTD, places, longest, mode)
        if sources is not None and not isinstance(sources, tuple):
            sources = [Flat.of(sources, self.config.d_model, self.compute_dtype)] * len(self.layers)
        before, found = [], []
        for i, (own, other) in enumerate(rows):
            before.append(states)
            states, *rest = self._layer(
                i,
                states,
                mode,
                replace(looks, heads=own),
                past=None if past is None else past.memory[i],
                start=start,
                source=None if sources is None else sources[i],
                cross=replace(cross, heads=other),
            )
            found.append(rest)
        last, hidden = self._end(states, before, mode)
        weights, cross_weights, memory, seen = (tuple(one) for one in zip(*found)) if found else ((),) * 4
        return Decoded(
            last,
            memory,
            seen,
            hidden,
            weights if mode.attentions else None,
            cross_weights if mode.attentions and sources is not None else None,
        )


def returned(config: PegasusConfig, record: ModelOutput, return_dict: bool | None) -> Any:
    """A record, or a tuple where that is wanted."""
    wanted = config.use_return_dict if return_dict is None else return_dict
    return record if wanted else record.to_tuple()


def _self_looks(length: Any, mask: Any, past: Past | None) -> Looks:
    """Each token looks at itself and what came before; beyond the last token there is nothing."""
    if past is None:
        places = tf.range(length)
        padding = None if mask is None else masks.padding(mask)
        return Looks(masks.both(masks.causal(places, places), padding))
    places = tf.range(tf.shape(past.memory[0][0])[2])
    padding = None if past.mask is None else masks.padding(past.mask)
    causal = masks.causal(past.start + tf.range(length), places)
    return Looks(masks.both(causal, padding), places < past.start + length)


def _recomputed(run: Any, states: tf.Tensor, source: Flat | None) -> tf.Tensor:
    """What a layer makes of states; all that it computes on the way is computed again for gradients."""

    def again(states: tf.Tensor, *flat: tf.Tensor) -> tf.Tensor:
        return run(states, None if source is None else Flat(flat[0], source.rows))[0]

    # What is no argument gets no gradient.
    return tf.recompute_grad(again)(states, *([] if source is None else [source.states]))


def _rows(mask: Any, layers: int, name: str) -> list[Any]:
    """A head mask [L, H] layer by layer."""
    if mask is None:
        return [None] * layers
    count = mask.shape[0]
    if count is not None and count != layers:
        raise BadSetting(f"{name} has {count} rows; it must have one a layer, {layers}")
    return [mask[i] for i in range(layers)]


class PegasusMainLayer(Layer):
    """The encoder and the decoder over one table of embeddings."""

    def __init__(self, config: PegasusConfig, seeds: Any, dtype: Any) -> None:
        super().__init__("model", dtype)
        dtype = self.dtype_policy
        self.config = config
        self.shared = Embedding("model.shared", config.vocab_size, config.d_model, dtype)
        self.encoder = Encoder(config, self.shared, seeds, "encoder", dtype)
        self.decoder = Decoder(config, self.shared, seeds, "decoder", dtype)

    def build(self, input_shape: Any = None) -> None:
        """Its parts."""
        for layer in (self.shared, self.encoder, self.decoder):
            layer.build()
