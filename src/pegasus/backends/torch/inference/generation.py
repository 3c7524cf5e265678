"""Generation on PyTorch: the hooks that ``GenerationMixin`` asks for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np
import torch
from torch import Tensor

from pegasus.backends.torch.compatibility.hand_decoder import HandDecoder, overruled
from pegasus.backends.torch.inference import attribution, encoder_passes, static
from pegasus.backends.torch.inference.decoder import TorchDecoder
from pegasus.backends.torch.model.half import logits
from pegasus.backends.torch.model.hooks import TorchHooks
from pegasus.generation.generate import GenerationMixin
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pegasus.generation.config import GenerationConfig
    from pegasus.generation.options import GenerateOptions


class TorchGeneration(TorchHooks, GenerationMixin):
    """The PyTorch hooks of ``GenerationMixin``, mixed into every model class."""

    if TYPE_CHECKING:  # what comes back is decided by arguments, which only overloads can say

        @overload  # type: ignore[override]
        def generate(
            self,
            inputs: Any = None,
            generation_config: None = None,
            logits_processor: Sequence[Any] | None = None,
            stopping_criteria: Sequence[Any] | None = None,
            prefix_allowed_tokens_fn: Callable[[int, Any], Sequence[int]] | None = None,
            synced_gpus: bool | None = None,
            assistant_model: Any = None,
            streamer: Any = None,
            negative_prompt_ids: None = None,
            negative_prompt_attention_mask: None = None,
            *,
            return_dict_in_generate: Literal[False] = False,
            **kwargs: Unpack[GenerateOptions],
        ) -> Tensor: ...

        @overload
        def generate(
            self,
            inputs: Any = None,
            generation_config: GenerationConfig | None = None,
            logits_processor: Sequence[Any] | None = None,
            stopping_criteria: Sequence[Any] | None = None,
            prefix_allowed_tokens_fn: Callable[[int, Any], Sequence[int]] | None = None,
            synced_gpus: bool | None = None,
            assistant_model: Any = None,
            streamer: Any = None,
            negative_prompt_ids: None = None,
            negative_prompt_attention_mask: None = None,
            *,
            return_dict_in_generate: bool = ...,
            **kwargs: Unpack[GenerateOptions],
        ) -> Any: ...

        def generate(self, *args: Any, **kwargs: Any) -> Any:
            """See ``GenerationMixin``."""

    def open_decoder(self, request: Request) -> TorchDecoder | HandDecoder | static.StaticDecoder:
        """A decoder over the sources of this request, which are encoded here."""
        model: Any = self
        request = self._on_device(request)
        records = request.records
        causal = getattr(self, "kind", None) == "causal"
        encoded: Any = None if causal else request.encoder_outputs
        with torch.no_grad() if records.any else torch.inference_mode():
            if not causal and encoded is None and encoder_passes.fits(model, request):
                encoded = static.encode(model, request)
            if not causal and encoded is None:
                encoded = model.get_encoder()(
                    input_ids=request.input_ids,
                    attention_mask=request.attention_mask,
                    head_mask=request.head_mask,
                    inputs_embeds=request.inputs_embeds,
                    output_attentions=records.attentions,
                    output_hidden_states=records.hidden_states,
                    return_dict=True,
                )
        states_BSD = request.encoder_hidden_states if causal else encoded[0]
        source_mask_BS = request.encoder_attention_mask if causal else request.attention_mask
        if overruled(model):
            return HandDecoder(model, request, states_BSD, source_mask_BS)
        if static.fits(model, request):
            return static.StaticDecoder(model, states_BSD, source_mask_BS)
        recorded = Reading()
        if not causal and records.any:
            recorded = Reading(
                attentions=getattr(encoded, "attentions", None),
                hidden_states=getattr(encoded, "hidden_states", None),
            )
        return TorchDecoder(
            model.get_decoder(),
            self._to_logits,
            int(model.config.vocab_size),
            request,
            states_BSD,
            source_mask_BS,
            recorded,
        )

    def _to_logits(self, states_ND: Tensor) -> Tensor:
        model: Any = self
        bias = getattr(model, "final_logits_bias", None)
        logits_NV: Tensor = logits(model.lm_head, states_ND)
        return logits_NV if bias is None else logits_NV + bias

    def _on_device(self, request: Request) -> Request:
        """The same with tensors where arrays of the host were given."""
        given = {one.name: getattr(request, one.name) for one in fields(request)}
        arrays = {name: self.to_native(one) for name, one in given.items() if isinstance(one, np.ndarray)}
        return replace(request, **arrays)

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Where the decoder looked: float32 [summary tokens, source tokens], mean of layers and heads.

        Args:
            source: tokens of the source.
            summary: tokens of the summary, without the start token. Row t is the look that token t was
                written with, and sums to 1.
        """
        return attribution.attend(self, source, summary)

    def to_native(self, array: np.ndarray) -> Tensor:
        """A tensor with a copy of the numbers, on the model's device."""
        device = next(self.parameters()).device  # type: ignore[attr-defined]
        return torch.from_numpy(np.array(array)).to(device)
