"""One step of a model by hand: what a loop of the caller's own passes to ``model(...)`` after each token.

``generate`` of this package does not use these; loops written for transformers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from pegasus.errors import BadSetting
from pegasus.spec.outputs import ModelOutput

Memory = Sequence[tuple[Tensor, ...]]


class Stepping:
    """``prepare_inputs_for_generation`` and moving a memory, mixed into the models with a head."""

    config: Any

    def prepare_inputs_for_generation(
        self,
        decoder_input_ids: Tensor,
        past_key_values: Memory | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        decoder_head_mask: Tensor | None = None,
        cross_attn_head_mask: Tensor | None = None,
        use_cache: bool | None = None,
        encoder_outputs: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The arguments of the next call of an encoder-decoder.

        Args:
            decoder_input_ids: all tokens so far [R, T]; behind a memory only the new ones are passed on.
            past_key_values: what the last call returned.
            attention_mask: of the source.
            head_mask: see ``forward``.
            decoder_head_mask: see ``forward``.
            cross_attn_head_mask: see ``forward``.
            use_cache: see ``forward``.
            encoder_outputs: what the encoder made of the source.
            **kwargs: ``decoder_attention_mask``, which is passed on; others are left out.
        """
        inputs = {
            "input_ids": None,
            "encoder_outputs": encoder_outputs,
            "past_key_values": past_key_values,
            "decoder_input_ids": unread(decoder_input_ids, past_key_values),
            "attention_mask": attention_mask,
            "head_mask": head_mask,
            "decoder_head_mask": decoder_head_mask,
            "cross_attn_head_mask": cross_attn_head_mask,
            "use_cache": use_cache,
        }
        if kwargs.get("decoder_attention_mask") is not None:
            inputs["decoder_attention_mask"] = kwargs["decoder_attention_mask"]
        return inputs

    @staticmethod
    def _expand_inputs_for_generation(
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Each row as often as it has beams, one beside the other: ids and the arguments beside them."""
        if is_encoder_decoder and kwargs.get("encoder_outputs") is None:
            raise BadSetting("an encoder-decoder's rows go with their encoder_outputs: give them")
        return repeated(input_ids, expand_size), {
            name: repeated(value, expand_size) for name, value in kwargs.items()
        }

    @staticmethod
    def _update_model_kwargs_for_generation(
        outputs: Any, model_kwargs: dict[str, Any], is_encoder_decoder: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """The arguments of the next call: the memory of the last one, and a mask for one token more."""
        model_kwargs["past_key_values"] = outputs.get("past_key_values")
        name = "decoder_attention_mask" if is_encoder_decoder else "attention_mask"
        mask = model_kwargs.get(name)
        if mask is not None:
            model_kwargs[name] = functional.pad(mask, (0, 1), value=1)
        return model_kwargs

    @staticmethod
    def _reorder_cache(past_key_values: Memory, beam_idx: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """A memory whose rows are those that beams carry on; cross-attention's move with them."""
        return tuple(
            tuple(state.index_select(0, beam_idx.to(state.device)) for state in layer)
            for layer in past_key_values
        )

    def _get_decoder_start_token_id(
        self, decoder_start_token_id: int | None = None, bos_token_id: int | None = None
    ) -> int:
        """The token that a decoder starts from."""
        known = (decoder_start_token_id, self.config.decoder_start_token_id, bos_token_id)
        return next(token for token in (*known, self.config.bos_token_id) if token is not None)


class CausalStepping(Stepping):
    """The same for a decoder alone, whose tokens are ``input_ids``."""

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        past_key_values: Memory | None = None,
        attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The arguments of the next call of a decoder alone.

        Args:
            input_ids: all tokens so far [R, T]; behind a memory only the new ones are passed on.
            past_key_values: what the last call returned.
            attention_mask: over all tokens so far; none are masked without it.
            use_cache: see ``forward``.
            **kwargs: ``encoder_hidden_states`` and ``encoder_attention_mask`` are passed on.
        """
        more = ("encoder_hidden_states", "encoder_attention_mask")
        return {
            "input_ids": unread(input_ids, past_key_values),
            "attention_mask": input_ids.new_ones(input_ids.shape)
            if attention_mask is None
            else attention_mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
            **{name: kwargs[name] for name in more if kwargs.get(name) is not None},
        }


def repeated(value: Any, times: int) -> Any:
    """Rows of a tensor, or of the tensors of a record, each as often as it says; others as they are."""
    if isinstance(value, ModelOutput):
        return type(value)(**{name: repeated(one, times) for name, one in value.items()})
    if isinstance(value, tuple):
        return tuple(repeated(one, times) for one in value)
    return value.repeat_interleave(times, dim=0) if isinstance(value, Tensor) and value.dim() else value


def unread(ids: Tensor, past_key_values: Memory | None) -> Tensor:
    """The tokens that a memory does not cover; the last one at least."""
    if past_key_values is None:
        return ids
    past = past_key_values[0][0].shape[2]
    return ids[:, past:] if ids.shape[1] > past else ids[:, -1:]
