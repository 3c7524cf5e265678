"""The two stacks of layers, with their embeddings and final norms: the encoder and the decoder."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pegasus.backends.torch.compatibility.adapters import Adapters
from pegasus.backends.torch.compatibility.caches import memory_of
from pegasus.backends.torch.compatibility.presented import Presented
from pegasus.backends.torch.compatibility.pruning import Pruning
from pegasus.backends.torch.compatibility.questions import Questions
from pegasus.backends.torch.compatibility.recomputing import Recomputing
from pegasus.backends.torch.compatibility.refusals import Refusals
from pegasus.backends.torch.compatibility.resizing import Resizing
from pegasus.backends.torch.compatibility.tracing import register_records, traced
from pegasus.backends.torch.inference.generation import TorchGeneration
from pegasus.backends.torch.learning.initial import FreshWeights
from pegasus.backends.torch.model.dropout import dropout
from pegasus.backends.torch.model.half import LayerNorm, products_in, wide
from pegasus.backends.torch.model.layers import (
    DecoderLayer,
    EncoderLayer,
    SinusoidalPositions,
    TokenEmbedding,
    embedding_scale,
)
from pegasus.backends.torch.model.packing import PackedPass
from pegasus.backends.torch.model.pretrained import TorchPretrained
from pegasus.errors import BadSetting, UnknownToken
from pegasus.spec import masks
from pegasus.spec.config import PegasusConfig
from pegasus.spec.outputs import BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Bool, Float, Int

    from pegasus.spec.parameters import Model

log = logging.getLogger(__name__)


class PegasusPreTrainedModel(
    Presented,
    TorchPretrained,
    FreshWeights,
    Resizing,
    Pruning,
    Recomputing,
    Questions,
    Adapters,
    Refusals,
    TorchGeneration,
    nn.Module,
):
    """What every PEGASUS model can do: load, save, resize, prune, generate where it has a head."""

    config: PegasusConfig
    config_class = PegasusConfig
    base_model_prefix = "model"

    def __init__(self, config: PegasusConfig) -> None:
        nn.Module.__init__(self)
        if not isinstance(config, PegasusConfig):
            raise BadSetting(f"a model is made from a PegasusConfig, not from {type(config).__name__}")
        config.validate()
        register_records()
        self.config = config

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """A batch of two small inputs, to try a model with."""
        input_ids = (
            torch.tensor([[4, 6, 10, 4, 2], [4, 8, 12, 2, 0]], device=self.device) % self.config.vocab_size
        )
        return {
            "attention_mask": input_ids.ne(self.config.pad_token_id),
            "input_ids": input_ids,
            "decoder_input_ids": input_ids,
        }

    def get_output_embeddings(self) -> nn.Linear | None:
        """The layer from states to logits, or None for a model without one."""
        return None


class Stack(PackedPass, PegasusPreTrainedModel):
    """What encoder and decoder share: embeddings with positions, layers, a final norm."""

    def __init__(
        self, config: PegasusConfig, embed_tokens: nn.Embedding | None, layers: Sequence[nn.Module]
    ) -> None:
        super().__init__(config)
        self.dropout = config.dropout
        self.broadcast_dropout = False
        self.padding_idx = config.pad_token_id
        self.max_source_positions = config.max_position_embeddings
        self.embed_scale = embedding_scale(config)
        self.zero_start = self.kind == "decoder" and config.decoder_start == "zeros"
        alone = embed_tokens is None
        if embed_tokens is None:
            embed_tokens = TokenEmbedding(config.vocab_size, config.d_model, config.pad_token_id)
        self.embed_tokens = embed_tokens
        self.embed_positions = SinusoidalPositions(
            config.max_position_embeddings, config.d_model, config.position_table
        )
        self.layers = nn.ModuleList(layers)
        self.layer_norm = LayerNorm(config.d_model, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.checkpoint_settings: Mapping[str, Any] = {"use_reentrant": False}
        self.checkpoint_every = 1
        if alone:
            self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings, [V, D]."""
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embeddings."""
        self.embed_tokens = value

    def get_position_embeddings(self) -> nn.Embedding:
        """The table of positions."""
        return self.embed_positions

    def _embed(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, start: int = 0
    ) -> Float[Tensor, "B T D"]:
        if (input_ids is None) == (inputs_embeds is None):
            found = "neither" if input_ids is None else "both"
            raise BadSetting(f"give either input_ids or inputs_embeds: {found} came")
        if inputs_embeds is None:
            input_ids = self._as_tensor(input_ids)
            embeds = wide(self._look_up(input_ids)) * self.embed_scale
            inputs_embeds = self._started(input_ids, embeds, start)
        states = wide(inputs_embeds) + self.embed_positions(inputs_embeds.shape[1], start)
        shared = (1,) if self.broadcast_dropout else ()
        return dropout(states, self.dropout, self.training, shared)

    def _started(self, input_ids: Tensor, embeds: Float[Tensor, "B T D"], start: int) -> Tensor:
        """Embeddings, with zeros where the decoder starts from them (``config.decoder_start``)."""
        if start or not self.zero_start:
            return embeds
        first = torch.arange(input_ids.shape[1], device=input_ids.device) == 0
        begins = first & (input_ids == self.config.decoder_start_token_id)
        return embeds.masked_fill(begins[..., None], 0.0)

    def _as_tensor(self, ids: Any) -> Tensor:
        """Ids may be lists or NumPy's too."""
        if isinstance(ids, Tensor) or traced(ids):
            return ids  # type: ignore[no-any-return]
        return torch.as_tensor(ids, dtype=torch.long, device=self.embed_tokens.weight.device)

    def _look_up(self, ids: Tensor) -> Float[Tensor, "B T D"]:
        try:
            return self.embed_tokens(ids)  # type: ignore[no-any-return]
        except IndexError:
            rows = self.embed_tokens.num_embeddings
            raise UnknownToken(
                f"input_ids hold {int(ids.min()):,} to {int(ids.max()):,}, and the model knows the tokens "
                f"0 to {rows - 1:,}: take the tokenizer that belongs to it"
            ) from None

    def _additive(self, allowed: Bool[Tensor, "B 1 T S"] | None) -> Tensor | None:
        """Zero where looking is allowed, the least number of the dtype elsewhere.

        Finite, so that a row that may look nowhere averages everything instead of giving NaN.
        """
        if allowed is None:
            return None
        dtype = products_in(self.layer_norm.weight)
        if traced(allowed):
            return (~allowed).to(dtype) * torch.finfo(dtype).min
        mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        return mask.masked_fill_(~allowed, torch.finfo(dtype).min)

    def _run(self, number: int, states: Tensor, *rest: Any) -> tuple[Any, ...]:
        layer = self.layers[number]
        again = self.gradient_checkpointing and self.training and number % self.checkpoint_every == 0
        if again:
            result: tuple[Any, ...] = checkpoint(layer, states, *rest, **self.checkpoint_settings)
        else:
            result = layer(states, *rest)
        return result

    def _skipped(self, layerdrop: float) -> bool:
        return self.training and layerdrop > 0 and float(torch.rand(())) < layerdrop

    def _asked(
        self, output_attentions: bool | None, output_hidden_states: bool | None, return_dict: bool | None
    ) -> tuple[bool, bool, bool]:
        return settle(self.config, output_attentions, output_hidden_states, return_dict)


def settle(
    config: PegasusConfig,
    output_attentions: bool | None,
    output_hidden_states: bool | None,
    return_dict: bool | None,
) -> tuple[bool, bool, bool]:
    """What the caller asked to see, or else what the configuration says."""
    return (
        config.output_attentions if output_attentions is None else output_attentions,
        config.output_hidden_states if output_hidden_states is None else output_hidden_states,
        config.use_return_dict if return_dict is None else return_dict,
    )


def _of_layer(mask: Tensor | None, layer: int, layers: int, name: str) -> Tensor | None:
    """A layer's row of a head mask [L, H]."""
    if mask is None:
        return None
    if not traced(mask) and mask.shape[0] != layers:
        raise BadSetting(f"{name} has {mask.shape[0]} rows; it must have one a layer, {layers}")
    return mask[layer]


class PegasusEncoder(Stack):
    """The stack of encoder layers with its embeddings and final norm."""

    kind: ClassVar[Model] = "encoder"

    def __init__(self, config: PegasusConfig, embed_tokens: nn.Embedding | None = None) -> None:
        kept = _kept_heads(config, "encoder", config.encoder_attention_heads)
        layers = [EncoderLayer(config, kept(i)) for i in range(config.encoder_layers)]
        super().__init__(config, embed_tokens, layers)
        self.layerdrop = config.encoder_layerdrop

    def forward(
        self,
        input_ids: Int[Tensor, "B S"] | None = None,
        attention_mask: Int[Tensor, "B S"] | None = None,
        head_mask: Float[Tensor, "L H"] | None = None,
        inputs_embeds: Float[Tensor, "B S D"] | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Encode texts.

        Args:
            input_ids: tokens; or else give ``inputs_embeds``, which are not scaled again.
            attention_mask: 1 for a token, 0 for padding; None: no padding.
            head_mask: what each head's probabilities are multiplied by.
            inputs_embeds: embeddings without positions.
            output_attentions: whether to return the probabilities of every layer.
            output_hidden_states: whether to return the states of every layer.
            return_dict: a record if true, a tuple if false.

        Raises:
            BadSetting: neither or both of ``input_ids`` and ``inputs_embeds`` came.
        """
        attentions, hidden, record = self._asked(output_attentions, output_hidden_states, return_dict)
        states = self._embed(input_ids, inputs_embeds)
        mask = None if attention_mask is None else self._additive(masks.padding(attention_mask))
        all_states, all_weights = [], []
        for i in range(len(self.layers)):
            all_states.append(states)
            weights = None
            if not self._skipped(self.layerdrop):
                row = _of_layer(head_mask, i, len(self.layers), "head_mask")
                states, weights = self._run(i, states, mask, row, attentions)
            all_weights.append(weights)
        states = self.layer_norm(states)
        output = BaseModelOutput(
            last_hidden_state=states,
            hidden_states=(*all_states, states) if hidden else None,
            attentions=tuple(all_weights) if attentions else None,
        )
        return output if record else output.to_tuple()


class PegasusDecoder(Stack):
    """The stack of decoder layers with its embeddings and final norm."""

    kind: ClassVar[Model] = "decoder"

    def __init__(self, config: PegasusConfig, embed_tokens: nn.Embedding | None = None) -> None:
        own = _kept_heads(config, "decoder", config.decoder_attention_heads)
        cross = _kept_heads(config, "cross", config.decoder_attention_heads)
        layers = [DecoderLayer(config, own(i), cross(i)) for i in range(config.decoder_layers)]
        super().__init__(config, embed_tokens, layers)
        self.layerdrop = config.decoder_layerdrop
        self.max_target_positions = config.max_position_embeddings

    def forward(
        self,
        input_ids: Int[Tensor, "R T"] | None = None,
        attention_mask: Int[Tensor, "R T"] | None = None,
        encoder_hidden_states: Float[Tensor, "B S D"] | None = None,
        encoder_attention_mask: Int[Tensor, "B S"] | None = None,
        head_mask: Float[Tensor, "L H"] | None = None,
        cross_attn_head_mask: Float[Tensor, "L H"] | None = None,
        past_key_values: Sequence[tuple[Tensor, ...]] | None = None,
        inputs_embeds: Float[Tensor, "R T D"] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPastAndCrossAttentions | tuple[Any, ...]:
        """Decode tokens, all at once or after earlier ones whose keys and values are given.

        Args:
            input_ids: tokens; with ``past_key_values`` those that came since.
            attention_mask: 1 for a token, 0 for padding, over the earlier tokens too.
            encoder_hidden_states: what cross-attention looks at. It may have fewer rows than the decoder:
                row r then looks at text r // (R / B), so that beams share one copy.
            encoder_attention_mask: its padding.
            head_mask: what each head's probabilities in self-attention are multiplied by.
            cross_attn_head_mask: the same for cross-attention.
            past_key_values: what an earlier call returned.
            inputs_embeds: embeddings instead of ``input_ids``.
            use_cache: whether to return keys and values.
            output_attentions: whether to return the probabilities of every layer.
            output_hidden_states: whether to return the states of every layer.
            return_dict: a record if true, a tuple if false.

        Raises:
            BadSetting: neither or both of ``input_ids`` and ``inputs_embeds`` came, or masks do not fit.
        """
        attentions, hidden, record = self._asked(output_attentions, output_hidden_states, return_dict)
        cached = self._caches(use_cache)
        past_key_values = memory_of(past_key_values)
        past = 0 if past_key_values is None else past_key_values[0][0].shape[2]
        states = self._embed(input_ids, inputs_embeds, start=past)
        mask = self._self_mask(states, past, attention_mask)
        cross = None if encoder_attention_mask is None else masks.padding(encoder_attention_mask)
        cross_mask = None
        if encoder_hidden_states is not None:
            encoder_hidden_states = encoder_hidden_states.to(self.layer_norm.weight.dtype)
            cross_mask = self._additive(cross)
        all_states, all_weights, all_cross, presents = [], [], [], []
        for i in range(len(self.layers)):
            all_states.append(states)
            if self._skipped(self.layerdrop):
                continue
            row = _of_layer(head_mask, i, len(self.layers), "head_mask")
            cross_row = _of_layer(cross_attn_head_mask, i, len(self.layers), "cross_attn_head_mask")
            before = None if past_key_values is None else past_key_values[i]
            states, weights, cross_weights, present = self._run(
                i, states, mask, encoder_hidden_states, cross_mask, row, cross_row, before, attentions
            )
            all_weights.append(weights)
            all_cross.append(cross_weights)
            presents.append(present)
        states = self.layer_norm(states)
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=states,
            past_key_values=tuple(presents) if cached else None,
            hidden_states=(*all_states, states) if hidden else None,
            attentions=tuple(all_weights) if attentions else None,
            cross_attentions=tuple(all_cross) if attentions and encoder_hidden_states is not None else None,
        )
        return output if record else output.to_tuple()

    def _caches(self, use_cache: bool | None) -> bool:
        wanted = self.config.use_cache if use_cache is None else use_cache
        if wanted and self.gradient_checkpointing and self.training:
            # Nobody decodes step by step while training, and kept keys would defeat the checkpoints.
            log.info("use_cache is off while training with gradient checkpointing")
            return False
        return wanted

    def _self_mask(self, states: Tensor, past: int, attention_mask: Tensor | None) -> Tensor | None:
        length = states.shape[1]
        if traced(states):
            places = torch.ones_like(states[0, :, 0]).cumsum(0)
            seen = None if attention_mask is None else masks.padding(attention_mask)
            return self._additive(masks.both(masks.causal(places, places), seen))
        keys = torch.arange(past + length, device=states.device)
        allowed = masks.causal(keys[past:], keys) if length > 1 else None
        if attention_mask is not None:
            if attention_mask.shape[1] != past + length:
                raise BadSetting(
                    f"the decoder's attention mask covers {attention_mask.shape[1]} tokens; there are "
                    f"{past} earlier and {length} new ones"
                )
            allowed = masks.both(allowed, masks.padding(attention_mask))
        return self._additive(allowed)


def _kept_heads(config: PegasusConfig, part: str, heads: int) -> Any:
    """A function from a layer's number to how many heads pruning has left it; None when all."""
    pruned = config.pruned_heads

    def kept(layer: int) -> int | None:
        gone = pruned.get(f"{part}.{layer}")
        return None if not gone else heads - len(gone)

    return kept
