"""The decoder as a language model of its own: ``PegasusForCausalLM``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from pegasus.backends.torch.compatibility.stepping import CausalStepping
from pegasus.backends.torch.learning.loss import mean_cross_entropy
from pegasus.backends.torch.model.half import logits as logits_of
from pegasus.backends.torch.model.layers import TokenEmbedding
from pegasus.backends.torch.model.stacks import PegasusDecoder, PegasusPreTrainedModel, settle
from pegasus.backends.torch.model.typed_calls import as_record
from pegasus.spec.config import PegasusConfig
from pegasus.spec.outputs import CausalLMOutputWithCrossAttentions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int

    from pegasus.spec.parameters import Model


def as_decoder(config: PegasusConfig) -> PegasusConfig:
    """A copy of the configuration that says the model is a decoder."""
    values = {**config.to_dict(), "is_decoder": True, "is_encoder_decoder": False}
    decoder: PegasusConfig = type(config).from_dict(values)
    return decoder


class DecoderWrapper(PegasusPreTrainedModel):
    """Holds the decoder where an encoder-decoder checkpoint has it: at ``model.decoder``."""

    kind: ClassVar[Model] = "wrapped"

    def __init__(self, config: PegasusConfig, initialize: bool = True) -> None:
        super().__init__(config)
        embedding = TokenEmbedding(config.vocab_size, config.d_model, config.pad_token_id)
        self.decoder = PegasusDecoder(config, embedding)
        if initialize:
            self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings, [V, D]."""
        return self.decoder.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embeddings."""
        self.decoder.embed_tokens = value

    def get_decoder(self) -> PegasusDecoder:
        """The decoder."""
        return self.decoder

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The decoder's."""
        return self.decoder(*args, **kwargs)


class PegasusForCausalLM(CausalStepping, PegasusPreTrainedModel):
    """The decoder alone as a language model; it looks at an encoder's states when they are given."""

    kind: ClassVar[Model] = "causal"
    _tied_weights_keys: ClassVar[list[str]] = ["lm_head.weight"]

    def __init__(self, config: PegasusConfig) -> None:
        config = as_decoder(config)
        super().__init__(config)
        self.model = DecoderWrapper(config, initialize=False)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_decoder(self) -> PegasusDecoder:
        """The decoder."""
        return self.model.decoder

    def set_decoder(self, decoder: PegasusDecoder) -> None:
        """Replace the decoder."""
        self.model.decoder = decoder

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embeddings, [V, D]."""
        return self.model.decoder.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embeddings."""
        self.model.decoder.embed_tokens = value

    def get_output_embeddings(self) -> nn.Linear:
        """The layer from states to logits."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the layer from states to logits."""
        self.lm_head = new_embeddings

    def get_position_embeddings(self) -> nn.Embedding:
        """The table of positions."""
        return self.model.decoder.get_position_embeddings()

    def forward(
        self,
        input_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Int[Tensor, "B T"] | None = None,
        encoder_hidden_states: Float[Tensor, "B S D"] | None = None,
        encoder_attention_mask: Int[Tensor, "B S"] | None = None,
        head_mask: Float[Tensor, "L H"] | None = None,
        cross_attn_head_mask: Float[Tensor, "L H"] | None = None,
        past_key_values: Sequence[tuple[Tensor, ...]] | None = None,
        inputs_embeds: Float[Tensor, "B T D"] | None = None,
        labels: Int[Tensor, "B T"] | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithCrossAttentions | tuple[Any, ...]:
        """Logits for each token, and the loss when labels are given.

        Args:
            labels: what each position should say. They are *not* shifted: transformers 4.34 compares
                position t with label t, and so does this.
            input_ids: see ``PegasusDecoder.forward`` for this and all other arguments.
            attention_mask: see there.
            encoder_hidden_states: see there.
            encoder_attention_mask: see there.
            head_mask: see there.
            cross_attn_head_mask: see there.
            past_key_values: see there.
            inputs_embeds: see there.
            use_cache: see there.
            output_attentions: see there.
            output_hidden_states: see there.
            return_dict: see there.
        """
        attentions, hidden, record = settle(
            self.config, output_attentions, output_hidden_states, return_dict
        )
        outputs = self.model.decoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            head_mask=head_mask,
            cross_attn_head_mask=cross_attn_head_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=attentions,
            output_hidden_states=hidden,
            return_dict=True,
        )
        logits = logits_of(self.lm_head, outputs.last_hidden_state)
        rest = {name: value for name, value in outputs.items() if name != "last_hidden_state"}
        output = CausalLMOutputWithCrossAttentions(
            loss=mean_cross_entropy(logits, labels), logits=logits, **rest
        )
        return output if record else output.to_tuple()

    if TYPE_CHECKING:

        @as_record(forward)
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """See ``forward``."""
