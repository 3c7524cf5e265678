"""The fields of a configuration beside a model's shape: names, defaults, how values are written."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pegasus.errors import BadSetting

#: What the feed-forward layers may use, by the names of transformers; ``backends`` say what each computes.
ACTIVATIONS = (
    *("relu", "gelu", "gelu_new", "silu", "swish", "tanh"),
    *("gelu_10", "gelu_accurate", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "laplace", "linear"),
    *("mish", "quick_gelu", "relu2", "relu6", "sigmoid"),
)

#: What the decoder reads where it starts, see ``PegasusConfig``.
STARTS = ("token", "zeros")

#: Where transformers and the authors differ, as transformers has it: see ``PegasusConfig``.
SWITCHES: dict[str, Any] = {
    "position_table": "transformers",
    "layer_norm_eps": 1e-5,
    "decoder_start": "token",
}

#: The version of transformers whose fields and defaults the files of this package have; its readers ask.
FORMAT_VERSION = "4.34.0"
#: Fields that every configuration of transformers 4.34 has, with its defaults.
COMMON: dict[str, Any] = {
    "return_dict": True,
    "output_hidden_states": False,
    "output_attentions": False,
    "torchscript": False,
    "torch_dtype": None,
    "use_bfloat16": False,
    "tf_legacy_loss": False,
    "pruned_heads": {},
    "tie_word_embeddings": True,
    "is_decoder": False,
    "cross_attention_hidden_size": None,
    "add_cross_attention": False,
    "tie_encoder_decoder": False,
    "chunk_size_feed_forward": 0,
    "architectures": None,
    "finetuning_task": None,
    "id2label": None,
    "label2id": None,
    "tokenizer_class": None,
    "prefix": None,
    "bos_token_id": None,
    "sep_token_id": None,
    "task_specific_params": None,
    "problem_type": None,
    "transformers_version": None,
}

#: Settings of ``generate`` that old checkpoints keep here, with the defaults of transformers 4.34.
GENERATION: dict[str, Any] = {
    "max_length": 20,
    "min_length": 0,
    "do_sample": False,
    "early_stopping": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "num_return_sequences": 1,
    "output_scores": False,
    "return_dict_in_generate": False,
    "forced_bos_token_id": None,
    "remove_invalid_values": False,
    "exponential_decay_length_penalty": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
}

#: Keys of the first PEGASUS checkpoints. The models here ignore them, as transformers does, but other
#: readers do not: CTranslate2's converter fails without ``normalize_before`` and asks for a layer norm
#: that PEGASUS lacks without ``normalize_embedding``. So they are always written.
LEGACY: dict[str, Any] = {
    "normalize_before": True,
    "normalize_embedding": False,
    "add_final_layer_norm": True,
    "static_position_embeddings": True,
    "extra_pos_embeddings": 1,
    "add_bias_logits": False,
    "force_bos_token_to_be_generated": False,
    "classif_dropout": 0.0,
    "gradient_checkpointing": False,
}


def usual() -> dict[str, Any]:
    """Every field that has no place in the constructor's signature, with its default."""
    return copy.deepcopy({**COMMON, **GENERATION, **LEGACY, **SWITCHES})


def unsaid() -> dict[str, Any]:
    """The values that a file need not state, because every reader takes them for granted."""
    labels = {"id2label": {0: "LABEL_0", 1: "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    return {**COMMON, **GENERATION, **SWITCHES, **labels}


def as_type_of(name: str, text: str, old: Any) -> Any:
    """The value that a text stands for, read as the type that the field has now."""
    if isinstance(old, bool):
        known = {"true": True, "1": True, "y": True, "yes": True, "on": True}
        known |= {"false": False, "0": False, "n": False, "no": False, "off": False}
        if text.lower() not in known:
            raise BadSetting(f"{name}={text!r}: write true or false")
        return known[text.lower()]
    if not isinstance(old, int | float | str):
        raise BadSetting(
            f"{name} is a {type(old).__name__}: only numbers, words and truths are set by text"
        )
    try:
        return type(old)(text)
    except ValueError:
        raise BadSetting(f"{name}={text!r}: write a value such as {old!r}") from None


def plain(value: Any) -> Any:
    """JSON has no dtypes, tuples or integer keys; a dtype of any framework ends in its plain name."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value).rsplit(".", 1)[-1]
