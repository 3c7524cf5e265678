"""What the fields of ``config.json`` and ``generation_config.json`` may be: types and bounds, name by name.

The bounds are far beyond every model there is, and short of what a changed byte can ask for: a table of
10**9 rows or 10**6 layers is an error in one sentence, not a machine without memory. Fields that are not
named here are kept and mean nothing to these models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pegasus.spec.config_fields import STARTS
from pegasus.spec.kinds import (
    FLAG,
    ID,
    OBJECT,
    SHARE,
    TEXT,
    Kind,
    either,
    is_whole,
    listing,
    maybe,
    number,
    one_of,
    whole,
)

_ANY = number(-1e9, 1e9)
_ABOVE = number(0, 1e9, above=True)
_IDS = listing(ID)
_LAYERS, _WIDTH, _LENGTH, _BEAMS = whole(0, 1000), whole(1, 2**17), whole(0, 10**6), whole(1, 1000)
#: -1 is how some say that there is none.
_NO_ID = whole(-1, 2**31 - 1)
_END = maybe(either(_NO_ID, listing(_NO_ID)))


def _is_id(key: Any) -> bool:
    return is_whole(key) or (isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10)


_LIST = Kind("a list", lambda value: isinstance(value, list | tuple))
_BIAS = Kind(
    "pairs of a list of tokens and a number",
    lambda value: (
        isinstance(value, Mapping)
        and all(_IDS.fits(phrase) and phrase and _ANY.fits(bias) for phrase, bias in value.items())
    ),
)
#: Labels, which mean nothing to PEGASUS.
LABELS: Mapping[str, Kind] = {
    "num_labels": maybe(whole(0, 10**5)),
    "id2label": maybe(
        Kind(
            "an object of numbers and names",
            lambda value: isinstance(value, Mapping) and all(map(_is_id, value)),
        )
    ),
    "label2id": maybe(OBJECT),
}

#: The shape of a model, and what all configurations have.
MODEL: Mapping[str, Kind] = {
    "vocab_size": whole(1, 2**24),
    **dict.fromkeys(("d_model", "max_position_embeddings", "encoder_ffn_dim", "decoder_ffn_dim"), _WIDTH),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), _WIDTH),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_hidden_layers"), _LAYERS),
    **dict.fromkeys(
        ("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop"),
        SHARE,
    ),
    "classif_dropout": maybe(SHARE),
    "init_std": number(0, 1000),
    "layer_norm_eps": number(0, 1, above=True),
    "decoder_start": one_of(*STARTS),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "sep_token_id", "decoder_start_token_id"), maybe(ID)),
    "eos_token_id": _END,
    **dict.fromkeys(
        (
            "use_cache", "is_encoder_decoder", "scale_embedding", "return_dict", "output_hidden_states",
            "output_attentions", "torchscript", "use_bfloat16", "tf_legacy_loss", "tie_word_embeddings",
            "is_decoder", "add_cross_attention", "tie_encoder_decoder", "gradient_checkpointing",
            "static_position_embeddings", "normalize_before", "normalize_embedding", "add_final_layer_norm",
            "add_bias_logits", "force_bos_token_to_be_generated",
        ),
        FLAG,
    ),
    "chunk_size_feed_forward": _LENGTH,
    "cross_attention_hidden_size": maybe(_WIDTH),
    "extra_pos_embeddings": maybe(_LENGTH),
    "architectures": maybe(listing(TEXT)),
    **dict.fromkeys(("finetuning_task", "tokenizer_class", "prefix"), maybe(TEXT)),
    "problem_type": maybe(
        one_of("regression", "single_label_classification", "multi_label_classification")
    ),
    **dict.fromkeys(("label2id", "task_specific_params", "pruned_heads"), maybe(OBJECT)),
}  # fmt: skip

#: Settings of ``generate``, in either file.
GENERATION: Mapping[str, Kind] = {
    "max_length": maybe(_LENGTH),
    "min_length": maybe(_LENGTH),
    **dict.fromkeys(("max_new_tokens", "min_new_tokens"), maybe(_LENGTH)),
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), _BEAMS),
    **dict.fromkeys(("temperature", "repetition_penalty", "encoder_repetition_penalty"), maybe(_ABOVE)),
    **dict.fromkeys(("top_p", "typical_p", "epsilon_cutoff", "eta_cutoff"), maybe(_ANY)),
    **dict.fromkeys(("length_penalty", "diversity_penalty"), _ANY),
    **dict.fromkeys(("penalty_alpha", "guidance_scale", "max_time"), maybe(_ANY)),
    "top_k": maybe(whole(0, 2**31 - 1)),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"), maybe(_LENGTH)),
    "prompt_lookup_num_tokens": maybe(_LENGTH),
    **dict.fromkeys(
        (
            "do_sample", "output_scores", "return_dict_in_generate", "remove_invalid_values",
            "renormalize_logits", "low_memory", "use_cache", "output_attentions", "output_hidden_states",
            "output_logits",
        ),
        FLAG,
    ),
    "early_stopping": either(FLAG, one_of("never")),
    **dict.fromkeys(("pad_token_id", "bos_token_id", "decoder_start_token_id"), maybe(_NO_ID)),
    **dict.fromkeys(("eos_token_id", "forced_bos_token_id", "forced_eos_token_id"), _END),
    "bad_words_ids": maybe(listing(_LIST)),
    "force_words_ids": maybe(listing(_LIST)),  # what is in them is told by the search that takes them
    "constraints": maybe(listing(Kind("a constraint", lambda value: hasattr(value, "advance")))),
    "sequence_bias": maybe(_BIAS),
    **dict.fromkeys(("suppress_tokens", "begin_suppress_tokens"), maybe(either(_NO_ID, listing(_NO_ID)))),
    "forced_decoder_ids": maybe(listing(listing(maybe(ID)))),
    "exponential_decay_length_penalty": maybe(
        Kind("a start and a factor", lambda value: listing(_ANY).fits(value) and len(value) == 2)
    ),
    "seed": maybe(whole(0, 2**63 - 1)),
    "stop_strings": maybe(either(TEXT, listing(TEXT))),
    "generation_kwargs": maybe(OBJECT),
    "cache_implementation": maybe(TEXT),
}  # fmt: skip
