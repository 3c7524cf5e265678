"""From arguments to decisions: which settings hold, which processors they ask for, what is refused."""

from __future__ import annotations

import copy
import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.generation.config import DEFAULTS, OURS, GenerationConfig
from pegasus.generation.model_inputs import Request
from pegasus.generation.processors.faithful import AllowedWords, Faithful
from pegasus.generation.processors.logits_processors import (
    AllowedNext,
    Called,
    Diversity,
    ForcedAt,
    LengthDecay,
    MinLength,
    Processor,
    RepetitionPenalty,
    SourceAffinity,
    Suppressed,
    Whole,
)
from pegasus.generation.processors.phrase_processors import NoRepeatedNgrams, NoSourceNgrams, PhraseBias

log = logging.getLogger(__name__)

_POINTER = "see docs/coming-from-transformers.md"

_NAMING_TOKENS = (
    *("forced_bos_token_id", "forced_eos_token_id", "decoder_start_token_id", "pad_token_id"),
    *("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "force_words_ids"),
)

#: Arguments that exist in transformers 4.34 and are refused here, with what to do instead.
REFUSED = {
    "decoder_inputs_embeds": "the decoder's prompt is given as decoder_input_ids",
    "return_dict": "say return_dict_in_generate",
    "negative_prompt_ids": "guidance is not defined for summarization models",
    "negative_prompt_attention_mask": "guidance is not defined for summarization models",
}

#: Arguments that say nothing to a search: a batch of training has labels too, and trainers hand it over.
_NO_EFFECT = ("labels", "synced_gpus", "token_type_ids")


def settings_for(
    config: GenerationConfig, kwargs: Mapping[str, Any]
) -> tuple[GenerationConfig, dict[str, Any]]:
    """The settings of one call, and the arguments that are for the model.

    Raises:
        BadSetting: an argument that nothing knows.
        UnsupportedArgument: an argument that is refused by name.
    """
    settings = copy.deepcopy(config) if isinstance(config, GenerationConfig) else _own(config)
    for_model = settings.update(**kwargs)
    settings.validate()
    if settings.guidance_scale not in (None, 1, 1.0):
        raise UnsupportedArgument(
            "guidance_scale is not offered: transformers fails with it for encoder-decoder models, "
            f"and no PEGASUS model was trained for it; {_POINTER}."
        )
    if settings.generation_kwargs:
        raise UnsupportedArgument(
            f"generation_kwargs is not offered: pass the settings themselves; {_POINTER}."
        )
    for name in _NO_EFFECT:
        for_model.pop(name, None)
    known = Request.names() | {"decoder_input_ids"}
    for name in for_model:
        if for_model[name] is None:
            continue
        if name in REFUSED:
            raise UnsupportedArgument(f"{name} is not offered by generate: {REFUSED[name]}; {_POINTER}.")
        if name not in known:
            raise BadSetting(_unknown(name, known | set(settings.__dict__)))
    return settings, {name: value for name, value in for_model.items() if value is not None}


def _own(config: Any) -> GenerationConfig:
    """Settings that somebody made with transformers' class of the same name."""
    values = config.to_dict() if hasattr(config, "to_dict") else None
    if not isinstance(values, dict):
        raise BadSetting(f"generation_config is a {type(config).__name__}: give a GenerationConfig.")
    known = {**DEFAULTS, **OURS}
    kept = {name: value for name, value in values.items() if name in known and value is not None}
    made: GenerationConfig = GenerationConfig.from_dict(kept)
    return made


def check_tokens(settings: GenerationConfig, vocab_size: int) -> None:
    """Refuse settings that name tokens which the model has no row for.

    Raises:
        BadSetting: names the first.
    """
    for name in _NAMING_TOKENS:
        beyond = [token for token in _tokens_in(getattr(settings, name)) if token >= vocab_size]
        if beyond:
            raise BadSetting(
                f"{name} names the token {beyond[0]:,}, and the model knows {vocab_size:,}: take "
                "those of its own tokenizer."
            )


def _tokens_in(value: Any) -> Iterator[int]:
    if isinstance(value, int | np.integer):
        yield int(value)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tokens_in(each)


def _unknown(name: str, known: set[str]) -> str:
    nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    hint = f"did you mean {nearest[0]}?" if nearest else f"the arguments are listed there: {_POINTER}."
    return f"generate has no argument {name!r}; {hint}"


def token_list(tokens: int | Sequence[int] | None) -> tuple[int, ...]:
    """One token, several or none, as a tuple."""
    if tokens is None:
        return ()
    return (int(tokens),) if isinstance(tokens, int | np.integer) else tuple(int(token) for token in tokens)


@dataclass(frozen=True)
class Limits:
    """Lengths in tokens, the prompt counted."""

    prompt: int
    longest: int
    shortest: int


def limits_for(settings: GenerationConfig, prompt: int, explicit_length: bool) -> Limits:
    """The lengths of one call: ``max_new_tokens`` wins over ``max_length``, which counts the prompt."""
    longest = settings.max_length
    if settings.max_new_tokens is not None:
        if explicit_length:
            log.warning(
                "both max_new_tokens (%s) and max_length (%s) are given; max_new_tokens holds",
                settings.max_new_tokens,
                settings.max_length,
            )
        longest = prompt + settings.max_new_tokens
    elif not explicit_length and longest == 20:
        log.info("no length is set, so at most 20 tokens are generated; set max_new_tokens")
    if prompt >= longest:
        log.warning(
            "the prompt has %d tokens and max_length is %d: one token is generated", prompt, longest
        )
    shortest = max(
        settings.min_length or 0, prompt + settings.min_new_tokens if settings.min_new_tokens else 0
    )
    if shortest > longest:
        log.warning("the least length, %d, is above the greatest, %d, which holds", shortest, longest)
    return Limits(prompt, longest, shortest)


@dataclass(frozen=True)
class Guests:
    """What the caller brings along to a search."""

    processors: Sequence[Any] = ()
    allowed: Any = None
    to_native: Any = None
    faithful: Faithful | None = None
    #: How often the likeliest token was refused, by text; filled while a search runs.
    refused: list[int] = field(default_factory=list)


def processors_for(
    settings: GenerationConfig,
    limits: Limits,
    sources: Sequence[np.ndarray] | None,
    guests: Guests,
) -> list[Processor]:
    """The processors that the settings ask for, in the order of transformers 4.34.

    Args:
        settings: the settings of the call.
        limits: its lengths.
        sources: the tokens of each text's source, padding included; None when they are not known.
        guests: the caller's own functions.
    """
    eos = token_list(settings.eos_token_id)
    processors: list[Processor] = []
    processors += _about_words(settings, sources)
    processors += _about_runs(settings, sources, eos)
    if limits.shortest > 0 and eos:
        processors.append(MinLength(limits.shortest, eos))
    if guests.allowed is not None:
        processors.append(AllowedNext(guests.allowed, guests.to_native))
    processors += _about_places(settings, limits, eos)
    processors += [Called(processor) for processor in guests.processors]
    if settings.renormalize_logits:
        processors.append(Whole("normalize"))
    if guests.faithful is not None:
        processors.append(
            AllowedWords(
                guests.faithful, _known(sources, "faithful"), _forced(settings, limits), guests.refused
            )
        )
    return processors


def _forced(settings: GenerationConfig, limits: Limits) -> set[int]:
    """Lengths at which something is forced; at the last a token cannot be the beginning of a word."""
    places = {limits.longest - 1} if settings.forced_eos_token_id is not None else set()
    if settings.forced_bos_token_id is not None:
        places.add(1)
    return places | {place for place, _ in settings.forced_decoder_ids or ()}


def _about_words(settings: GenerationConfig, sources: Sequence[np.ndarray] | None) -> list[Processor]:
    processors: list[Processor] = []
    if settings.sequence_bias:
        processors.append(
            PhraseBias({tuple(phrase): float(b) for phrase, b in settings.sequence_bias.items()})
        )
    if settings.num_beam_groups > 1 and settings.diversity_penalty:
        processors.append(Diversity(settings.diversity_penalty))
    if settings.encoder_repetition_penalty not in (None, 1.0):
        processors.append(
            SourceAffinity(
                settings.encoder_repetition_penalty, _known(sources, "encoder_repetition_penalty")
            )
        )
    if settings.repetition_penalty not in (None, 1.0):
        processors.append(RepetitionPenalty(settings.repetition_penalty))
    return processors


def _about_runs(
    settings: GenerationConfig, sources: Sequence[np.ndarray] | None, eos: tuple[int, ...]
) -> list[Processor]:
    processors: list[Processor] = []
    if settings.no_repeat_ngram_size:
        processors.append(NoRepeatedNgrams(settings.no_repeat_ngram_size))
    if settings.encoder_no_repeat_ngram_size:
        size = settings.encoder_no_repeat_ngram_size
        processors.append(NoSourceNgrams(size, _known(sources, "encoder_no_repeat_ngram_size")))
    if settings.bad_words_ids is not None:
        processors.append(PhraseBias(_forbidden(settings.bad_words_ids, eos)))
    return processors


def _about_places(settings: GenerationConfig, limits: Limits, eos: tuple[int, ...]) -> list[Processor]:
    processors: list[Processor] = []
    if settings.forced_bos_token_id is not None:
        processors.append(ForcedAt({1: token_list(settings.forced_bos_token_id)}))
    if settings.forced_eos_token_id is not None and settings.search != "authors":
        processors.append(ForcedAt({limits.longest - 1: token_list(settings.forced_eos_token_id)}))
    if settings.remove_invalid_values:
        processors.append(Whole("repair"))
    if settings.exponential_decay_length_penalty is not None:
        start, factor = settings.exponential_decay_length_penalty
        processors.append(LengthDecay(start + limits.prompt, factor, eos))
    if settings.suppress_tokens:
        processors.append(Suppressed(token_list(settings.suppress_tokens)))
    if settings.begin_suppress_tokens:
        begin = limits.prompt + (limits.prompt == 1 and settings.forced_bos_token_id is not None)
        if settings.forced_decoder_ids:
            begin += settings.forced_decoder_ids[-1][0]
        processors.append(Suppressed(token_list(settings.begin_suppress_tokens), begin))
    if settings.forced_decoder_ids:
        processors.append(ForcedAt({place: (token,) for place, token in settings.forced_decoder_ids}))
    return processors


def _known(sources: Sequence[np.ndarray] | None, name: str) -> Sequence[np.ndarray]:
    if sources is None:
        raise BadSetting(
            f"{name} looks at the tokens of the source: give input_ids, not embeddings or states."
        )
    return sources


def _forbidden(bad_words: Any, eos: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    if (
        not isinstance(bad_words, list)
        or not bad_words
        or not all(isinstance(w, list) and w for w in bad_words)
    ):
        raise BadSetting(
            f"bad_words_ids must be a non-empty list of non-empty lists of tokens, found {bad_words!r}."
        )
    # EOS alone is not a word that can be forbidden: nothing would end.
    return {tuple(word): float("-inf") for word in bad_words if word not in [[token] for token in eos]}
