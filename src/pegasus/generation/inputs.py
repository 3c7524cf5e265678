"""What a call brings along: the source, the decoder's prompt and their masks, checked and completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from pegasus.errors import BadSetting, UnknownToken
from pegasus.generation.arguments import token_list
from pegasus.generation.config import GenerationConfig
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Records


class Arrays(Protocol):
    """The hooks that move arrays between the host and the device."""

    config: Any

    def to_host(self, native: Any) -> np.ndarray:
        """A NumPy array of one of the device."""
        ...

    def to_native(self, array: np.ndarray) -> Any:
        """The device's array of a NumPy array."""
        ...


@dataclass(frozen=True)
class Inputs:
    """One call's inputs.

    Attributes:
        request: what a session is opened with.
        prompt_BT: what the decoder of each text starts from.
        sources: the tokens of each source, padding included; None when only embeddings or states came.
    """

    request: Request
    prompt_BT: np.ndarray
    sources: Sequence[np.ndarray] | None

    def of_text(self, text: int) -> Inputs:
        """The inputs of one text alone."""
        one = slice(text, text + 1)
        batched = ["input_ids", "attention_mask", "inputs_embeds", "decoder_attention_mask"]
        batched += ["encoder_hidden_states", "encoder_attention_mask"]
        found = {name: getattr(self.request, name) for name in batched}
        cut = {name: value[one] for name, value in found.items() if value is not None}
        if self.request.encoder_outputs is not None:
            cut["encoder_outputs"] = (self.request.encoder_outputs[0][one],)
        sources = None if self.sources is None else self.sources[one]
        return Inputs(replace(self.request, **cut), self.prompt_BT[one], sources)


def read_inputs(
    model: Arrays, inputs: Any, for_model: Mapping[str, Any], settings: GenerationConfig, causal: bool
) -> Inputs:
    """Reads the arguments that are for the model.

    Raises:
        BadSetting: the source is missing or given twice, or does not fit the kind of model.
    """
    given = {name: value for name, value in for_model.items() if name != "decoder_input_ids"}
    if inputs is not None and "input_ids" in given:
        raise BadSetting("the source is given twice, as `inputs` and as `input_ids`: give one of them.")
    if inputs is not None:
        given["input_ids"] = inputs
    request = Request(**given, use_cache=bool(settings.use_cache), records=records_for(settings))
    if (
        request.input_ids is None
        and _nothing_to_read(request, causal)
        and settings.bos_token_id is not None
    ):
        request = replace(request, input_ids=np.array([[settings.bos_token_id]], dtype=np.int64))
    ids_BS = None if request.input_ids is None else np.asarray(model.to_host(request.input_ids))
    if ids_BS is not None:
        _check_ids(ids_BS, model.config.vocab_size)
        if isinstance(request.input_ids, list | tuple):
            request = replace(request, input_ids=ids_BS)
    if causal:
        return _causal(model, request, ids_BS, settings)
    return _encoder_decoder(model, request, ids_BS, for_model.get("decoder_input_ids"), settings)


def _nothing_to_read(request: Request, causal: bool) -> bool:
    """Whether a source must be made up: an encoder then reads the token that begins texts."""
    given = (request.input_ids, request.inputs_embeds, request.encoder_outputs)
    return not causal and all(one is None for one in given)


def _check_ids(ids_BS: np.ndarray, vocab_size: int) -> None:
    if ids_BS.ndim != 2 or not np.issubdtype(ids_BS.dtype, np.number):
        raise BadSetting(f"input_ids must be [texts, tokens], found the shape {ids_BS.shape}.")
    if not len(ids_BS):
        raise BadSetting("input_ids hold no text: give at least one row.")
    if ids_BS.size and not 0 <= ids_BS.min() <= ids_BS.max() < vocab_size:
        wrong = ids_BS.max() if ids_BS.max() >= vocab_size else ids_BS.min()
        raise UnknownToken(
            f"input_ids hold {wrong:,}, and the model knows the tokens 0 to {vocab_size - 1:,}: take the "
            "tokenizer that belongs to it."
        )


def records_for(settings: GenerationConfig) -> Records:
    """What is to be recorded for the caller."""
    wanted = bool(settings.return_dict_in_generate)
    return Records(
        scores=wanted and bool(settings.output_scores),
        attentions=wanted and bool(settings.output_attentions),
        hidden_states=wanted and bool(settings.output_hidden_states),
        logits=wanted and bool(settings.output_logits),
    )


def _encoder_decoder(
    model: Arrays, request: Request, ids_BS: np.ndarray | None, prompt: Any, settings: GenerationConfig
) -> Inputs:
    if request.encoder_hidden_states is not None or request.encoder_attention_mask is not None:
        raise BadSetting(
            "this model takes encoder states as encoder_outputs and their mask as attention_mask."
        )
    count = _count_texts(request, ids_BS)
    prompt_BT, decoder_mask = _prompt(model, prompt, request.decoder_attention_mask, count, settings)
    request = replace(request, decoder_attention_mask=decoder_mask)
    if request.attention_mask is None and ids_BS is not None and request.encoder_outputs is None:
        request = replace(request, attention_mask=model.to_native(usual_mask(ids_BS, settings)))
    return Inputs(request, prompt_BT, None if ids_BS is None else list(ids_BS))


def _count_texts(request: Request, ids_BS: np.ndarray | None) -> int:
    if ids_BS is None and request.inputs_embeds is None and request.encoder_outputs is None:
        raise BadSetting("there is nothing to summarize: give input_ids, inputs_embeds or encoder_outputs.")
    if ids_BS is not None and request.inputs_embeds is not None:
        raise BadSetting("the source is given twice, as input_ids and as inputs_embeds: give one of them.")
    if ids_BS is not None:
        return len(ids_BS)
    states = request.inputs_embeds if request.inputs_embeds is not None else request.encoder_outputs[0]
    return int(states.shape[0])


def usual_mask(ids_BS: np.ndarray, settings: GenerationConfig) -> np.ndarray:
    """1 where there is a token: padding is masked, unless padding and EOS are the same token."""
    pad = settings.pad_token_id
    masked = pad is not None and pad not in token_list(settings.eos_token_id)
    mask_BS: np.ndarray = (ids_BS != pad) if masked else np.ones(ids_BS.shape, dtype=bool)
    return mask_BS.astype(np.int64)


def _prompt(
    model: Arrays, given: Any, mask: Any, count: int, settings: GenerationConfig
) -> tuple[np.ndarray, Any]:
    """What the decoder starts from: the start token, put before a prompt that lacks it."""
    starts = (settings.decoder_start_token_id, model.config.decoder_start_token_id, settings.bos_token_id)
    start = next((token for token in starts if token is not None), None)
    if start is None:
        raise BadSetting("no decoder_start_token_id and no bos_token_id is set: the decoder cannot start.")
    starts_B1 = np.full((count, 1), start, dtype=np.int64)
    if given is None:
        return starts_B1, mask
    prompt_BT = np.asarray(model.to_host(given)).astype(np.int64)
    if prompt_BT.ndim != 2 or len(prompt_BT) != count:
        raise BadSetting(f"decoder_input_ids must be [{count}, tokens], found the shape {prompt_BT.shape}.")
    if (prompt_BT[:, 0] != start).all():
        prompt_BT = np.concatenate([starts_B1, prompt_BT], axis=1)
        if mask is not None:
            mask_BT = np.asarray(model.to_host(mask))
            mask = model.to_native(np.concatenate([np.ones_like(mask_BT[:, :1]), mask_BT], axis=1))
    return prompt_BT, mask


def _causal(
    model: Arrays, request: Request, ids_BS: np.ndarray | None, settings: GenerationConfig
) -> Inputs:
    if request.inputs_embeds is not None or request.encoder_outputs is not None:
        raise BadSetting(
            "PegasusForCausalLM goes on from input_ids; encoder states are encoder_hidden_states."
        )
    if settings.encoder_no_repeat_ngram_size:
        raise BadSetting("encoder_no_repeat_ngram_size looks at a source, and a decoder alone has none.")
    if ids_BS is None:
        if settings.bos_token_id is None:
            raise BadSetting("there is nothing to go on from: give input_ids or set bos_token_id.")
        states = request.encoder_hidden_states
        ids_BS = np.full((1 if states is None else int(states.shape[0]), 1), settings.bos_token_id)
    if request.attention_mask is None:
        request = replace(request, attention_mask=model.to_native(usual_mask(ids_BS, settings)))
    return Inputs(request, ids_BS.astype(np.int64), list(ids_BS))
