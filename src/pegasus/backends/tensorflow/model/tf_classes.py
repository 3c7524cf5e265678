"""``TFPegasusModel`` and ``TFPegasusForConditionalGeneration``: transformers' TF classes as Keras models.

Axes are those of ``layers``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from pegasus.backends.tensorflow.inference.generation import TfGeneration
from pegasus.backends.tensorflow.learning.fitting import Fitting
from pegasus.backends.tensorflow.model import outputs as outputs  # registers the records
from pegasus.backends.tensorflow.model.inputs import argument_names, settled
from pegasus.backends.tensorflow.model.layers import Dense, Layer, Mode, exact, wide
from pegasus.backends.tensorflow.model.passes import Decoded, Encoded, Heads, remembered
from pegasus.backends.tensorflow.model.pretrained import TFPegasusPreTrainedModel
from pegasus.backends.tensorflow.model.stacks import Decoder, Encoder, PegasusMainLayer, returned
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig
from pegasus.spec.outputs import Seq2SeqLMOutput, Seq2SeqModelOutput
from pegasus.spec.parameters import Model

IGNORED = -100


def shift_tokens_right(input_ids: tf.Tensor, pad_token_id: int, decoder_start_token_id: int) -> tf.Tensor:
    """Decoder input for labels [B, T]: the start token, then all labels but the last; -100 is padding."""
    first = tf.fill([tf.shape(input_ids)[0], 1], tf.cast(decoder_start_token_id, input_ids.dtype))
    shifted = tf.concat([first, input_ids[:, :-1]], axis=1)
    return tf.where(shifted == IGNORED, tf.cast(pad_token_id, shifted.dtype), shifted)


def mean_cross_entropy(labels_BT: tf.Tensor, logits_BTV: tf.Tensor) -> tf.Tensor:
    """The mean over the labels that are not -100, [1] as transformers has it."""
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels_BT, 0), logits_BTV)
    counted = tf.cast(labels_BT != IGNORED, each.dtype)
    return tf.reshape(tf.reduce_sum(each * counted) / tf.reduce_sum(counted), (1,))


class TFPegasus(TfGeneration, Fitting, TFPegasusPreTrainedModel):
    """The pass of both models: encode the source, decode the target."""

    kind: ClassVar[Model]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """See ``call``; inputs come by keyword, as one list, tuple or dictionary, or as a single tensor."""
        return super().__call__(**settled(argument_names(type(self)), args, kwargs))

    def _run(self, given: dict[str, Any]) -> tuple[Encoded, Decoded, bool]:
        """Both halves, and whether keys and values are wanted."""
        decoder, ids, embeds = (
            self.model.decoder,
            given["decoder_input_ids"],
            given["decoder_inputs_embeds"],
        )
        seen = (given["output_attentions"], given["output_hidden_states"])
        mode = decoder.mode(*seen, given["training"], self.gradient_checkpointing)
        encoded = self._encode(given, mode)
        cached = self.config.use_cache if given["use_cache"] is None else given["use_cache"]
        if embeds is None and ids is None:
            cached = False
            if given["input_ids"] is None:
                raise BadSetting(
                    "the decoder has no input: give decoder_input_ids, decoder_inputs_embeds or labels; to "
                    "make a text call generate"
                )
            ids = self._shifted(given["input_ids"])
        embeds = decoder.given(ids, embeds, "decoder_", given["past_key_values"])
        past, sources = remembered(given["past_key_values"], embeds, given["decoder_attention_mask"])
        decoded = decoder.run(
            embeds,
            encoded.states if sources is None else sources,
            given["attention_mask"],
            given["decoder_attention_mask"],
            given["decoder_position_ids"],
            past,
            mode,
            Heads(given["decoder_head_mask"], given["cross_attn_head_mask"]),
        )
        return encoded, decoded, bool(cached)

    def _encode(self, given: dict[str, Any], mode: Mode) -> Encoded:
        if given["encoder_outputs"] is not None:
            record = given["encoder_outputs"]
            return Encoded(record.last_hidden_state, record.hidden_states, record.attentions)
        encoder = self.model.encoder
        embeds = encoder.given(given["input_ids"], given["inputs_embeds"])
        return encoder.run(embeds, given["attention_mask"], mode, given["head_mask"])  # type: ignore[no-any-return]

    def _shifted(self, ids: tf.Tensor) -> tf.Tensor:
        return shift_tokens_right(ids, self.config.pad_token_id or 0, self.config.decoder_start_token_id)

    def _fields(self, encoded: Encoded, decoded: Decoded, cached: bool) -> dict[str, Any]:
        return {
            "past_key_values": decoded.presents if cached else None,
            "decoder_hidden_states": decoded.hidden_states,
            "decoder_attentions": decoded.attentions,
            "cross_attentions": decoded.cross_attentions,
            "encoder_last_hidden_state": encoded.states,
            "encoder_hidden_states": encoded.hidden_states,
            "encoder_attentions": encoded.attentions,
        }

    def get_encoder(self) -> Encoder:
        """The encoder."""
        return self.model.encoder  # type: ignore[no-any-return]

    def get_decoder(self) -> Decoder:
        """The decoder."""
        return self.model.decoder  # type: ignore[no-any-return]


class TFPegasusModel(TFPegasus):
    """The encoder and the decoder over one table of embeddings, without a head."""

    kind: ClassVar[Model] = "bare"

    def __init__(self, config: PegasusConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.model = PegasusMainLayer(config, self.seeds, self.dtype_policy)
        self._begin()

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
        decoder_position_ids: Any = None,
        head_mask: Any = None,
        decoder_head_mask: Any = None,
        cross_attn_head_mask: Any = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Any = None,
        decoder_inputs_embeds: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
    ) -> Any:
        """Encode the source (unless ``encoder_outputs`` are given) and decode the target.

        Args:
            input_ids: [B, S], tokens of the source.
            attention_mask: [B, S], 1 for a token, 0 for padding; None: no padding.
            decoder_input_ids: [B, T]; None: the source, shifted to the right.
            decoder_attention_mask: [B, T]; with ``past_key_values`` it covers the earlier tokens too.
            decoder_position_ids: where each token stands; None: one after the other.
            head_mask: [L, H], what the probabilities of the encoder's heads are multiplied by.
            decoder_head_mask: [L, H], of the decoder's self-attention.
            cross_attn_head_mask: [L, H], of the attention to the source.
            encoder_outputs: what an earlier call's encoder made.
            past_key_values: what an earlier call returned.
            inputs_embeds: [B, S, D], in place of ``input_ids``; not scaled again.
            decoder_inputs_embeds: [B, T, D], in place of ``decoder_input_ids``.
            use_cache: whether to return keys and values.
            output_attentions: whether to return the probabilities of every layer.
            output_hidden_states: whether to return the states of every layer.
            return_dict: a record if true, a tuple if false.
            training: whether dropout is drawn.

        Raises:
            BadSetting: an input is missing, or came in two ways.
        """
        given = dict(locals())
        encoded, decoded, cached = self._run(given)
        record = Seq2SeqModelOutput(decoded.states, **self._fields(encoded, decoded, cached))
        return returned(self.config, record, return_dict)


class BiasLayer(Layer):
    """The bias of the logits, [1, V], which does not learn."""

    def __init__(self, size: int, dtype: Any) -> None:
        super().__init__("final_logits_bias", dtype)
        self.size = size

    def build(self, input_shape: Any = None) -> None:
        """The bias."""
        self.bias = self.weight("final_logits_bias", (1, self.size), trainable=False)

    def resize(self, bias: np.ndarray) -> None:
        """Another bias in the place of this one."""
        self.size = bias.shape[1]
        self.replace_weight("final_logits_bias", bias, "bias")

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        """With the bias."""
        return logits + tf.cast(exact(self.bias)[0], logits.dtype)


class TFPegasusForConditionalGeneration(TFPegasus):
    """PEGASUS with its language-modelling head: the model that summarizes."""

    kind: ClassVar[Model] = "conditional"

    def __init__(self, config: PegasusConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.model = PegasusMainLayer(config, self.seeds, self.dtype_policy)
        self.bias_layer = BiasLayer(config.vocab_size, self.dtype_policy)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = Dense(
                "lm_head", config.d_model, config.vocab_size, self.dtype_policy, bias=False
            )
        self._begin()

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
        decoder_position_ids: Any = None,
        head_mask: Any = None,
        decoder_head_mask: Any = None,
        cross_attn_head_mask: Any = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Any = None,
        decoder_inputs_embeds: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Any = None,
        training: bool = False,
    ) -> Any:
        """As ``TFPegasusModel.call``, with logits, and with a loss where there are labels.

        Args:
            input_ids: see there.
            attention_mask: see there.
            decoder_input_ids: see there; None: the labels, else the source, shifted to the right.
            decoder_attention_mask: see there.
            decoder_position_ids: see there.
            head_mask: see there.
            decoder_head_mask: see there.
            cross_attn_head_mask: see there.
            encoder_outputs: see there.
            past_key_values: see there.
            inputs_embeds: see there.
            decoder_inputs_embeds: see there.
            use_cache: see there.
            output_attentions: see there.
            output_hidden_states: see there.
            return_dict: see there.
            labels: [B, T]; padding and -100 are not counted.
            training: see there.

        Raises:
            BadSetting: see there.
        """
        given = dict(locals())
        if labels is not None:
            labels = tf.cast(labels, tf.int32)
            labels = tf.where(labels == self.config.pad_token_id, IGNORED, labels)
            given["use_cache"] = False
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                given["decoder_input_ids"] = self._shifted(labels)
        encoded, decoded, cached = self._run(given)
        logits = self.logits(decoded.states)
        loss = None if labels is None else mean_cross_entropy(labels, logits)
        record = Seq2SeqLMOutput(loss, logits, **self._fields(encoded, decoded, cached))
        return returned(self.config, record, return_dict)

    def logits(self, states: tf.Tensor) -> tf.Tensor:
        """Logits of the decoder's states, float32 at least: a search looks at their differences."""
        flat = tf.reshape(states, (-1, self.config.d_model))
        made = self.model.shared.logits(flat) if self.lm_head is None else self.lm_head.call(flat)
        logits = self.bias_layer.call(tf.cast(made, wide(made.dtype)))
        return tf.reshape(logits, tf.concat([tf.shape(states)[:-1], [self.config.vocab_size]], 0))

    def get_bias(self) -> dict[str, Any]:
        """The bias of the logits by its name."""
        return {"final_logits_bias": self.bias_layer.bias}

    def set_bias(self, value: dict[str, Any]) -> None:
        """Replace the bias of the logits.

        Raises:
            BadSetting: it is not [1, V].
        """
        bias = tf.convert_to_tensor(value["final_logits_bias"])
        if tuple(bias.shape) != (1, self.config.vocab_size):
            raise BadSetting(
                f"final_logits_bias is {list(bias.shape)} and must be [1, {self.config.vocab_size}]"
            )
        self.bias_layer.bias.assign(bias)

    def prepare_decoder_input_ids_from_labels(self, labels: Any) -> tf.Tensor:
        """What the decoder reads to learn these labels [B, T]."""
        return self._shifted(tf.convert_to_tensor(labels))
