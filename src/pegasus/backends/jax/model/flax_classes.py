"""``FlaxPegasusModel`` and ``FlaxPegasusForConditionalGeneration``: transformers' classes over our modules.

Axes are those of ``layers``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from pegasus.backends.jax.inference.generation import JaxGeneration
from pegasus.backends.jax.model import outputs as outputs  # registers the records
from pegasus.backends.jax.model.kv_cache import past_of
from pegasus.backends.jax.model.mode import Mode
from pegasus.backends.jax.model.modules import BareModule, ConditionalModule, Decoded, Encoded, Past
from pegasus.backends.jax.model.pretrained import FlaxPegasusPreTrainedModel
from pegasus.errors import BadSetting
from pegasus.spec.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    ModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)
from pegasus.spec.parameters import Model


@partial(jax.jit, static_argnames=("module", "method", "mode"))
def apply(
    module: Any, method: str | None, mode: Mode, variables: Any, rngs: Any, *args: Any, **kwargs: Any
) -> Any:
    """One pass of a module, compiled once for each module, mode and shape of arguments."""
    return module.apply(variables, *args, mode=mode, method=method, rngs=rngs, **kwargs)


def shift_tokens_right(input_ids: Any, pad_token_id: int, decoder_start_token_id: int) -> jax.Array:
    """Decoder input for labels [B, T]: the start token, then all labels but the last; -100 is padding."""
    ids = jnp.asarray(input_ids)
    shifted = jnp.concatenate([jnp.full_like(ids[:, :1], decoder_start_token_id), ids[:, :-1]], axis=1)
    return jnp.where(shifted == -100, pad_token_id, shifted)


class FlaxPegasus(JaxGeneration, FlaxPegasusPreTrainedModel):
    """The three passes of both models: the whole, the encoder alone, the decoder alone."""

    kind: ClassVar[Model]

    def __call__(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
        position_ids: Any = None,
        decoder_position_ids: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        train: bool = False,
        params: Any = None,
        dropout_rng: Any = None,
    ) -> Any:
        """Encode the source and decode the target.

        It is compiled for each shape of its arguments, and may stand inside ``jit``, ``grad``, ``vmap``
        and ``pmap`` of the caller's.

        Args:
            input_ids: [B, S], tokens of the source.
            attention_mask: [B, S], 1 for a token, 0 for padding; None: no padding.
            decoder_input_ids: [B, T]; None: the source, shifted to the right.
            decoder_attention_mask: [B, T].
            position_ids: [B, S], where each token stands; None: 0, 1, 2 and so on.
            decoder_position_ids: [B, T].
            output_attentions: whether to return the probabilities of every layer.
            output_hidden_states: whether to return the states of every layer.
            return_dict: a record if true, a tuple if false.
            train: whether dropout is drawn; ``dropout_rng`` must then come.
            params: a tree in place of the model's own.
            dropout_rng: a key.
        """
        mode, record = self._mode(train, output_attentions, output_hidden_states, return_dict)
        if decoder_input_ids is None:
            start = self.config.decoder_start_token_id
            decoder_input_ids = shift_tokens_right(input_ids, self.config.pad_token_id, start)
        longest = _longest((input_ids, position_ids), (decoder_input_ids, decoder_position_ids))
        encoded, decoded = apply(
            self.module,
            None,
            mode,
            self.variables(params, longest),
            _rngs(train, dropout_rng),
            _ids(input_ids),
            _ids(decoder_input_ids),
            _ids(attention_mask),
            _ids(decoder_attention_mask),
            _ids(position_ids),
            _ids(decoder_position_ids),
        )
        output = self._joined(encoded, decoded)
        return output if record else output.to_tuple()

    def encode(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        position_ids: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        train: bool = False,
        params: Any = None,
        dropout_rng: Any = None,
    ) -> Any:
        """Encode the source; arguments as in ``__call__``."""
        mode, record = self._mode(train, output_attentions, output_hidden_states, return_dict)
        variables = self.variables(params, _longest((input_ids, position_ids)))
        rngs = _rngs(train, dropout_rng)
        mask, places = _ids(attention_mask), _ids(position_ids)
        encoded = apply(self.module, "encode", mode, variables, rngs, _ids(input_ids), mask, places)
        output = BaseModelOutput(encoded.states, encoded.hidden_states, encoded.attentions)
        return output if record else output.to_tuple()

    def decode(
        self,
        decoder_input_ids: Any,
        encoder_outputs: Any,
        encoder_attention_mask: Any = None,
        decoder_attention_mask: Any = None,
        decoder_position_ids: Any = None,
        past_key_values: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        train: bool = False,
        params: Any = None,
        dropout_rng: Any = None,
        deterministic: bool | None = None,
    ) -> Any:
        """Decode tokens over what the encoder made.

        Args:
            decoder_input_ids: [B, T]; with ``past_key_values`` those that came since.
            encoder_outputs: what ``encode`` returned, or a tuple that begins with its states.
            encoder_attention_mask: [B, S], padding of the source.
            decoder_attention_mask: [B, T]; with ``past_key_values`` it covers their places from the first
                on, and what it leaves out may be looked at.
            decoder_position_ids: [B, T]; None: they go on from the tokens that are remembered.
            past_key_values: what ``init_cache`` or an earlier call returned.
            output_attentions: see ``__call__``.
            output_hidden_states: see ``__call__``.
            return_dict: see ``__call__``.
            train: see ``__call__``.
            params: see ``__call__``.
            dropout_rng: see ``__call__``.
            deterministic: the opposite of ``train``, for those who are used to it.
        """
        train = train if deterministic is None else not deterministic
        mode, record = self._mode(train, output_attentions, output_hidden_states, return_dict)
        past = None if past_key_values is None else past_of(past_key_values, decoder_attention_mask)
        mask = decoder_attention_mask if past is None else None
        room = 0 if past is None else _room(past, np.shape(decoder_input_ids)[1])
        longest = max(room, _longest((decoder_input_ids, decoder_position_ids)))
        decoded = apply(
            self.module,
            "decode",
            mode,
            self.variables(params, longest),
            _rngs(train, dropout_rng),
            _ids(decoder_input_ids),
            jnp.asarray(encoder_outputs[0]),
            _ids(encoder_attention_mask),
            _ids(mask),
            _ids(decoder_position_ids),
            past,
        )
        presents = None if past is None else _cache(decoded, past.start + np.shape(decoder_input_ids)[1])
        output = self._decoded(decoded, presents)
        return output if record else output.to_tuple()

    def init_cache(self, batch_size: int, max_length: int, encoder_outputs: Any = None) -> dict[str, Any]:
        """An empty memory for ``decode``, with room for ``max_length`` tokens of ``batch_size`` rows.

        Args:
            batch_size: rows.
            max_length: places.
            encoder_outputs: without effect: what the decoder remembers does not depend on them.
        """
        sizes = self.module.sizes
        layers = {}
        for number in range(sizes.layers[1]):
            kept = sizes.heads[1] - dict(sizes.pruned).get(f"decoder.{number}", 0)
            room = jnp.zeros((batch_size, max_length, kept, sizes.width // sizes.heads[1]), self.dtype)
            start = jnp.zeros((), jnp.int32)
            layers[str(number)] = {
                "self_attn": {"cached_key": room, "cached_value": room, "cache_index": start}
            }
        return {"decoder": {"layers": layers}}

    def _mode(
        self,
        train: bool,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        return_dict: bool | None,
    ) -> tuple[Mode, bool]:
        """What the caller asked to see, or else what the configuration says."""
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        hidden = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        record = config.use_return_dict if return_dict is None else return_dict
        return Mode(bool(train), bool(attentions), bool(hidden)), record

    def _joined(self, encoded: Encoded, decoded: Decoded) -> ModelOutput:
        raise NotImplementedError

    def _decoded(self, decoded: Decoded, presents: Any) -> ModelOutput:
        raise NotImplementedError


def _parts(encoded: Encoded, decoded: Decoded) -> dict[str, Any]:
    return {
        "decoder_hidden_states": decoded.hidden_states,
        "decoder_attentions": decoded.attentions,
        "cross_attentions": decoded.cross_attentions,
        "encoder_last_hidden_state": encoded.states,
        "encoder_hidden_states": encoded.hidden_states,
        "encoder_attentions": encoded.attentions,
    }


class FlaxPegasusModel(FlaxPegasus):
    """The encoder and the decoder over one table of embeddings, without a head."""

    kind: ClassVar[Model] = "bare"
    module_class = BareModule

    def _joined(self, encoded: Encoded, decoded: Decoded) -> ModelOutput:
        return Seq2SeqModelOutput(last_hidden_state=decoded.states, **_parts(encoded, decoded))

    def _decoded(self, decoded: Decoded, presents: Any) -> ModelOutput:
        return BaseModelOutputWithPastAndCrossAttentions(
            decoded.states, presents, decoded.hidden_states, decoded.attentions, decoded.cross_attentions
        )


class FlaxPegasusForConditionalGeneration(FlaxPegasus):
    """PEGASUS with its language-modelling head: the model that summarizes."""

    kind: ClassVar[Model] = "conditional"
    module_class = ConditionalModule

    def _joined(self, encoded: Encoded, decoded: Decoded) -> ModelOutput:
        return Seq2SeqLMOutput(logits=decoded.states, **_parts(encoded, decoded))

    def _decoded(self, decoded: Decoded, presents: Any) -> ModelOutput:
        return CausalLMOutputWithCrossAttentions(
            logits=decoded.states,
            past_key_values=presents,
            hidden_states=decoded.hidden_states,
            attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
        )


def _ids(values: Any) -> jax.Array | None:
    return None if values is None else jnp.asarray(values, jnp.int32)


def _rngs(train: bool, dropout_rng: Any) -> dict[str, Any]:
    if train and dropout_rng is None:
        raise BadSetting("train=True draws dropout: give dropout_rng, a key such as jax.random.key(0)")
    return {} if dropout_rng is None else {"dropout": dropout_rng}


def _longest(*pairs: tuple[Any, Any]) -> int:
    """How many positions are needed for tokens and the places that a caller may have named for them."""
    found = 0
    for tokens, places in pairs:
        known = places is not None and not isinstance(places, jax.core.Tracer) and np.size(places)
        found = max(found, np.shape(tokens)[-1], int(np.max(places)) + 1 if known else 0)
    return found


def _room(past: Past, tokens: int) -> int:
    """How many places the memory has; where it is full that is said, unless its size is traced."""
    room = int(past.memory[0][0].shape[2])
    if not isinstance(past.start, jax.core.Tracer) and int(past.start) + tokens > room:
        raise BadSetting(
            f"the memory has room for {room} tokens: {int(past.start)} are in it and {tokens} new. Make "
            "a larger one by init_cache"
        )
    return room


def _cache(decoded: Decoded, start: jax.Array) -> dict[str, Any]:
    layers = {
        str(number): {
            "self_attn": {
                "cached_key": keys.swapaxes(1, 2),
                "cached_value": values.swapaxes(1, 2),
                "cache_index": start,
            }
        }
        for number, (keys, values) in enumerate(decoded.memory)
    }
    return {"decoder": {"layers": layers}}
