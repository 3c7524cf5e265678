"""PEGASUS as ``torch.nn.Module``: the two models made of an encoder and a decoder.

Names of parameters, arguments and returned records are those of transformers 4.34, so that its
checkpoints load and code written for it runs. Axes are those of ``layers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from pegasus.backends.torch.compatibility.stepping import Stepping
from pegasus.backends.torch.learning.loss import mean_cross_entropy
from pegasus.backends.torch.model.half import logits as logits_of
from pegasus.backends.torch.model.layers import TokenEmbedding
from pegasus.backends.torch.model.stacks import (
    PegasusDecoder,
    PegasusEncoder,
    PegasusPreTrainedModel,
    settle,
)
from pegasus.backends.torch.model.typed_calls import as_record
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig
from pegasus.spec.outputs import (
    BaseModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
    encoder_record,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int

    from pegasus.spec.parameters import Model


def shift_tokens_right(
    input_ids: Int[Tensor, "B T"], pad_token_id: int, decoder_start_token_id: int
) -> Int[Tensor, "B T"]:
    """Decoder input for labels: the start token, then all labels but the last; -100 becomes padding."""
    shifted = torch.cat(
        [torch.full_like(input_ids[:, :1], decoder_start_token_id), input_ids[:, :-1]], dim=1
    )
    return shifted.masked_fill(shifted == -100, pad_token_id)


class PegasusModel(PegasusPreTrainedModel):
    """The encoder and the decoder over one table of embeddings, without a head."""

    kind: ClassVar[Model] = "bare"
    _tied_weights_keys: ClassVar[list[str]] = [
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
    ]

    def __init__(self, config: PegasusConfig, initialize: bool = True) -> None:
        super().__init__(config)
        self.shared = TokenEmbedding(config.vocab_size, config.d_model, config.pad_token_id)
        self.encoder = PegasusEncoder(config, self.shared)
        self.decoder = PegasusDecoder(config, self.shared)
        if initialize:
            self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings that encoder and decoder share, [V, D]."""
        return self.shared

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embeddings of encoder and decoder."""
        self.shared = self.encoder.embed_tokens = self.decoder.embed_tokens = value

    def get_encoder(self) -> PegasusEncoder:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> PegasusDecoder:
        """The decoder."""
        return self.decoder

    def get_position_embeddings(self) -> tuple[nn.Embedding, nn.Embedding]:
        """The tables of positions of the encoder and of the decoder."""
        return self.encoder.get_position_embeddings(), self.decoder.get_position_embeddings()

    def forward(
        self,
        input_ids: Int[Tensor, "B S"] | None = None,
        attention_mask: Int[Tensor, "B S"] | None = None,
        decoder_input_ids: Int[Tensor, "B T"] | None = None,
        decoder_attention_mask: Int[Tensor, "B T"] | None = None,
        head_mask: Float[Tensor, "L H"] | None = None,
        decoder_head_mask: Float[Tensor, "L H"] | None = None,
        cross_attn_head_mask: Float[Tensor, "L H"] | None = None,
        encoder_outputs: BaseModelOutput | tuple[Any, ...] | None = None,
        past_key_values: Sequence[tuple[Tensor, ...]] | None = None,
        inputs_embeds: Float[Tensor, "B S D"] | None = None,
        decoder_inputs_embeds: Float[Tensor, "B T D"] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Seq2SeqModelOutput | tuple[Any, ...]:
        """Encode the source (unless ``encoder_outputs`` are given) and decode the target.

        Arguments are those of the encoder and, with ``decoder_`` before them, of the decoder.
        """
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            raise BadSetting(
                "the decoder has no input: give decoder_input_ids, decoder_inputs_embeds or, to a model "
                "with a head, labels; to make a text call generate"
            )
        attentions, hidden, record = settle(
            self.config, output_attentions, output_hidden_states, return_dict
        )
        if encoder_outputs is None:
            encoded: BaseModelOutput = self.encoder(
                input_ids, attention_mask, head_mask, inputs_embeds, attentions, hidden, True
            )
        else:
            encoded = encoder_record(encoder_outputs)
        decoded = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=attention_mask,
            head_mask=decoder_head_mask,
            cross_attn_head_mask=cross_attn_head_mask,
            past_key_values=past_key_values,
            inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            output_attentions=attentions,
            output_hidden_states=hidden,
            return_dict=True,
        )
        output = Seq2SeqModelOutput(
            last_hidden_state=decoded.last_hidden_state,
            past_key_values=decoded.past_key_values,
            decoder_hidden_states=decoded.hidden_states,
            decoder_attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_last_hidden_state=encoded.last_hidden_state,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
        )
        return output if record else output.to_tuple()

    if TYPE_CHECKING:

        @as_record(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """See ``forward``."""


class PegasusForConditionalGeneration(Stepping, PegasusPreTrainedModel):
    """PEGASUS with its language-modelling head: the model that summarizes."""

    kind: ClassVar[Model] = "conditional"
    _tied_weights_keys: ClassVar[list[str]] = [
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
        "lm_head.weight",
    ]
    _keys_to_ignore_on_load_missing: ClassVar[list[str]] = ["final_logits_bias"]

    def __init__(self, config: PegasusConfig) -> None:
        super().__init__(config)
        self.model = PegasusModel(config, initialize=False)
        self.final_logits_bias: Tensor
        self.register_buffer("final_logits_bias", torch.zeros(1, config.vocab_size))
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_encoder(self) -> PegasusEncoder:
        """The encoder."""
        return self.model.encoder

    def get_decoder(self) -> PegasusDecoder:
        """The decoder."""
        return self.model.decoder

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings, [V, D]."""
        return self.model.shared

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embeddings of encoder and decoder."""
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Linear:
        """The layer from states to logits, without its bias."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the layer from states to logits."""
        self.lm_head = new_embeddings

    def get_position_embeddings(self) -> tuple[nn.Embedding, nn.Embedding]:
        """The tables of positions of the encoder and of the decoder."""
        return self.model.get_position_embeddings()

    def prepare_decoder_input_ids_from_labels(self, labels: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
        """Decoder input for these labels."""
        return shift_tokens_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)

    def forward(
        self,
        input_ids: Int[Tensor, "B S"] | None = None,
        attention_mask: Int[Tensor, "B S"] | None = None,
        decoder_input_ids: Int[Tensor, "B T"] | None = None,
        decoder_attention_mask: Int[Tensor, "B T"] | None = None,
        head_mask: Float[Tensor, "L H"] | None = None,
        decoder_head_mask: Float[Tensor, "L H"] | None = None,
        cross_attn_head_mask: Float[Tensor, "L H"] | None = None,
        encoder_outputs: BaseModelOutput | tuple[Any, ...] | None = None,
        past_key_values: Sequence[tuple[Tensor, ...]] | None = None,
        inputs_embeds: Float[Tensor, "B S D"] | None = None,
        decoder_inputs_embeds: Float[Tensor, "B T D"] | None = None,
        labels: Int[Tensor, "B T"] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Logits for the target, and the loss when labels are given.

        Args:
            labels: the target's tokens. -100 is ignored; padding counts, as in transformers, so replace it
                by -100. Without decoder input they are shifted right to make it.
            input_ids: see ``PegasusModel.forward`` for this and all other arguments.
            attention_mask: see there.
            decoder_input_ids: see there.
            decoder_attention_mask: see there.
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
        """
        record = settle(self.config, None, None, return_dict)[2]
        if labels is not None:
            use_cache = False
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        outputs = self.model(
            input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            head_mask=head_mask,
            decoder_head_mask=decoder_head_mask,
            cross_attn_head_mask=cross_attn_head_mask,
            encoder_outputs=encoder_outputs,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            decoder_inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = logits_of(self.lm_head, outputs.last_hidden_state) + self.final_logits_bias
        rest = {name: value for name, value in outputs.items() if name != "last_hidden_state"}
        output = Seq2SeqLMOutput(loss=mean_cross_entropy(logits, labels), logits=logits, **rest)
        return output if record else output.to_tuple()

    if TYPE_CHECKING:

        @as_record(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """See ``forward``."""
