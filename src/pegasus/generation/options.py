"""The keywords of ``generate``: its settings and the arguments of the model, each with its type.

``GenerationConfig`` says what they mean; this is for checkers, which find a misspelled or misplaced one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Tokens = int | Sequence[int] | None


class GenerateOptions(TypedDict, total=False):
    """All but ``return_dict_in_generate``, which decides what comes back."""

    max_length: int | None
    max_new_tokens: int | None
    min_length: int
    min_new_tokens: int | None
    early_stopping: bool | Literal["never"]
    max_time: float | None
    do_sample: bool
    num_beams: int
    num_beam_groups: int
    penalty_alpha: float | None
    use_cache: bool
    temperature: float | None
    top_k: int | None
    top_p: float | None
    typical_p: float | None
    epsilon_cutoff: float
    eta_cutoff: float
    diversity_penalty: float
    repetition_penalty: float | None
    encoder_repetition_penalty: float | None
    length_penalty: float
    no_repeat_ngram_size: int | None
    bad_words_ids: Sequence[Sequence[int]] | None
    force_words_ids: Sequence[Any] | None
    renormalize_logits: bool
    constraints: Sequence[Any] | None
    forced_bos_token_id: Tokens
    forced_eos_token_id: Tokens
    remove_invalid_values: bool
    exponential_decay_length_penalty: tuple[int, float] | None
    suppress_tokens: Sequence[int] | None
    begin_suppress_tokens: Sequence[int] | None
    forced_decoder_ids: Sequence[Sequence[int]] | None
    sequence_bias: Mapping[tuple[int, ...], float] | None
    guidance_scale: float | None
    low_memory: bool | None
    num_return_sequences: int
    output_attentions: bool
    output_hidden_states: bool
    output_scores: bool
    output_logits: bool | None
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: Tokens
    encoder_no_repeat_ngram_size: int | None
    decoder_start_token_id: int | None
    cache_implementation: str | None
    search: Literal["transformers", "authors"]
    length_normalization: Literal["transformers", "authors"] | None
    prompt_lookup_num_tokens: int | None
    stop_strings: str | Sequence[str] | None
    seed: int | None
    tokenizer: Any
    input_ids: Any
    attention_mask: Any
    inputs_embeds: Any
    encoder_outputs: Any
    decoder_input_ids: Any
    decoder_attention_mask: Any
    head_mask: Any
    decoder_head_mask: Any
    cross_attn_head_mask: Any
    past_key_values: Any
    encoder_hidden_states: Any
    encoder_attention_mask: Any
    labels: Any
    token_type_ids: Any


class AllGenerateOptions(GenerateOptions, total=False):
    """All of them."""

    return_dict_in_generate: bool
