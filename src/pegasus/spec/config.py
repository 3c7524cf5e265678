"""``PegasusConfig``: the shape of a model and the settings that travel with its checkpoint."""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pegasus import hub
from pegasus.errors import BadSetting
from pegasus.spec import fields
from pegasus.spec.files import read_object, write_whole
from pegasus.spec.kinds import refusal, refusals, shown
from pegasus.spec.positions import TABLES

log = logging.getLogger(__name__)

ACTIVATIONS = ("relu", "gelu", "gelu_new", "silu", "swish", "tanh")

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


class PegasusConfig:
    """The configuration of a PEGASUS model, with the fields and defaults of transformers 4.34.

    The defaults are *not* those of any released checkpoint (50,265 tokens, 12 layers, gelu, embeddings
    not scaled): a checkpoint's own ``config.json`` rules. Keys that are not known are kept as attributes
    and written back. ``hidden_size`` and ``num_attention_heads`` are other names of ``d_model`` and
    ``encoder_attention_heads``.

    Two switches are ours: ``position_table`` (``"transformers"`` or ``"authors"``, see
    ``spec.positions``) and ``layer_norm_eps`` (transformers 1e-5, the authors 1e-12).

    Args:
        vocab_size: tokens the model knows, V.
        max_position_embeddings: rows of the position table that is kept; longer inputs are computed.
        encoder_layers: layers of the encoder.
        encoder_ffn_dim: width of the encoder's feed-forward layers, F.
        encoder_attention_heads: heads of the encoder, H.
        decoder_layers: layers of the decoder.
        decoder_ffn_dim: width of the decoder's feed-forward layers.
        decoder_attention_heads: heads of the decoder.
        encoder_layerdrop: probability that a layer of the encoder is skipped in training.
        decoder_layerdrop: the same for the decoder.
        use_cache: whether the decoder returns its keys and values.
        is_encoder_decoder: whether the model has an encoder.
        activation_function: of the feed-forward layers, one of ``ACTIVATIONS``.
        d_model: width of the model, D.
        dropout: of embeddings and residuals.
        attention_dropout: of attention probabilities.
        activation_dropout: inside the feed-forward layers.
        init_std: standard deviation of fresh weights.
        decoder_start_token_id: the token that the decoder starts from.
        scale_embedding: whether embeddings are multiplied by the square root of D.
        pad_token_id: padding.
        eos_token_id: end of sequence.
        forced_eos_token_id: the token that ``generate`` forces at the maximum length.
        **kwargs: any other field; unknown ones are kept.

    Raises:
        BadSetting: a value that no model can have.
    """

    model_type: ClassVar[str] = "pegasus"
    is_composition: ClassVar[bool] = False
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
    }

    def __init__(
        self,
        vocab_size: int = 50265,
        max_position_embeddings: int = 1024,
        encoder_layers: int = 12,
        encoder_ffn_dim: int = 4096,
        encoder_attention_heads: int = 16,
        decoder_layers: int = 12,
        decoder_ffn_dim: int = 4096,
        decoder_attention_heads: int = 16,
        encoder_layerdrop: float = 0.0,
        decoder_layerdrop: float = 0.0,
        use_cache: bool = True,
        is_encoder_decoder: bool = True,
        activation_function: str = "gelu",
        d_model: int = 1024,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        init_std: float = 0.02,
        decoder_start_token_id: int = 0,
        scale_embedding: bool = False,
        pad_token_id: int | None = 0,
        eos_token_id: int | list[int] | None = 1,
        forced_eos_token_id: int | list[int] | None = 1,
        **kwargs: Any,
    ) -> None:
        named = {
            name: value for name, value in locals().items() if name not in ("self", "kwargs", "__class__")
        }
        self.__dict__.update(copy.deepcopy(COMMON), **copy.deepcopy(GENERATION), **LEGACY)
        self.__dict__.update(named, num_hidden_layers=encoder_layers)
        self.__dict__.update(position_table="transformers", layer_norm_eps=1e-5, _name_or_path="")
        self._set_labels(kwargs)
        for name, value in kwargs.items():
            if callable(getattr(type(self), name, None)):
                raise BadSetting(
                    f"{type(self).__name__} has no field {shown(name)}: it is what a method is called"
                )
            setattr(self, name, value)
        self.validate()

    def __getattr__(self, name: str) -> Any:
        if name in type(self).attribute_map:
            return getattr(self, type(self).attribute_map[name])
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[type(self).attribute_map.get(name, name)] = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PegasusConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def _set_labels(self, kwargs: dict[str, Any]) -> None:
        """Labels mean nothing to PEGASUS; files carry them, so they are kept in the usual form."""
        count = kwargs.pop("num_labels", None)
        id2label = kwargs.pop("id2label", None)
        given = {"num_labels": count, "id2label": id2label, "label2id": kwargs.get("label2id")}
        for problem in refusals(given, fields.LABELS):
            raise BadSetting(f"{type(self).__name__}.{problem}")
        if id2label is None or (count is not None and len(id2label) != count):
            id2label = {i: f"LABEL_{i}" for i in range(2 if count is None else count)}
            kwargs.pop("label2id", None)
        self.id2label = {int(i): label for i, label in id2label.items()}
        self.label2id = kwargs.pop("label2id", None) or {label: i for i, label in self.id2label.items()}

    @property
    def num_labels(self) -> int:
        """How many labels ``id2label`` names."""
        return len(self.id2label)

    @property
    def use_return_dict(self) -> bool:
        """Whether models return records rather than tuples when the caller does not say."""
        return bool(self.return_dict) and not self.torchscript

    @property
    def name_or_path(self) -> str:
        """Where the configuration was loaded from."""
        return str(self.__dict__.get("_name_or_path", ""))

    def validate(self) -> None:
        """Raise ``BadSetting`` for the first value that no model can have."""
        for problem in refusals(self.__dict__, {**fields.MODEL, **fields.GENERATION}):
            raise BadSetting(f"{type(self).__name__}.{problem}")
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            fits = self.d_model % getattr(self, name) == 0
            self._expect(name, fits, f"a divisor of d_model, which is {self.d_model}")
        self._expect(
            "activation_function",
            self.activation_function in ACTIVATIONS,
            f"one of {', '.join(ACTIVATIONS)}",
        )
        self._expect("position_table", self.position_table in TABLES, f"one of {', '.join(TABLES)}")
        for name in ("pad_token_id", "decoder_start_token_id"):
            token = getattr(self, name)
            fits = token is None or token < self.vocab_size
            self._expect(name, fits, f"below vocab_size, {self.vocab_size}")

    def _expect(self, name: str, fits: bool, wanted: str) -> None:
        if not fits:
            raise BadSetting(f"{type(self).__name__}.{refusal(name, getattr(self, name), wanted)}")

    # -- in and out ------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Read ``config.json`` of a folder, a bundled model or a hub repository.

        Args:
            pretrained_model_name_or_path: a folder, a ``config.json``, a bundled name or a hub name.
            **kwargs: where to look (the fields of ``hub.HubOptions``), ``return_unused_kwargs``, and
                fields of the configuration, which win over the file's.

        Returns:
            The configuration, or with ``return_unused_kwargs`` the pair of it and the keywords that are
            no field.
        """
        options = hub.HubOptions.take(kwargs)
        for ignored in ("_from_auto", "_from_pipeline", "trust_remote_code"):
            kwargs.pop(ignored, None)
        path = Path(pretrained_model_name_or_path)
        if path.is_file():
            values = read_object(path)
        else:
            folder = hub.locate(pretrained_model_name_or_path, options, patterns=hub.CONFIG_FILES)
            values = read_object(folder / "config.json")
        values["_name_or_path"] = str(pretrained_model_name_or_path)
        try:
            return cls.from_dict(values, **kwargs)
        except BadSetting as problem:
            raise BadSetting(f"the configuration of {pretrained_model_name_or_path}: {problem}") from None

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Make a configuration from the keys of a ``config.json``; ``kwargs`` as in ``from_pretrained``."""
        values, kwargs = cls._without_aliases(config_dict), cls._without_aliases(kwargs)
        return_unused = kwargs.pop("return_unused_kwargs", False)
        model_type = values.pop("model_type", cls.model_type)
        if model_type != cls.model_type:
            log.warning(
                "this is the configuration of a %r model, used here as one of %r",
                model_type,
                cls.model_type,
            )
        if "self" in values:
            raise BadSetting(f"{cls.__name__} has no field 'self': take it out of the file")
        known = cls.field_names()
        unused = {name: value for name, value in kwargs.items() if name not in known and name not in values}
        values.update({name: value for name, value in kwargs.items() if name not in unused})
        config = cls(**values)
        return (config, unused) if return_unused else config

    @classmethod
    def _without_aliases(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same fields under their own names; where both came, the own name wins."""
        renamed = {cls.attribute_map[name]: v for name, v in values.items() if name in cls.attribute_map}
        return {**renamed, **{name: v for name, v in values.items() if name not in cls.attribute_map}}

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> PegasusConfig:
        """Build a configuration from one JSON file."""
        values = read_object(Path(json_file))
        try:
            config: PegasusConfig = cls.from_dict(values)
        except BadSetting as problem:
            raise BadSetting(f"{json_file}: {problem}") from None
        return config

    @classmethod
    def field_names(cls) -> set[str]:
        """The names of every known field, aliases included."""
        return set(cls().__dict__) | set(cls.attribute_map) | {"num_labels"}

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Write ``config.json`` into a folder, which is made when it does not exist.

        Args:
            save_directory: the folder.
            push_to_hub: whether to upload it too; ``kwargs`` are then those of ``hub.push``.
            **kwargs: ``repo_id`` (the folder's name otherwise) and the other arguments of ``hub.push``.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        text = self.to_json_string(use_diff=True) + "\n"
        write_whole(folder / "config.json", text.encode("utf-8"))
        if push_to_hub:
            hub.push(folder, kwargs.pop("repo_id", None) or folder.name, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Every field and its value, ready for JSON."""
        values = {name: _plain(value) for name, value in self.__dict__.items()}
        return {**values, "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds: PEGASUS' own fields, the legacy keys and what is not a default."""
        defaults = {**COMMON, **GENERATION, "position_table": "transformers", "layer_norm_eps": 1e-5}
        usual_labels = {"id2label": {0: "LABEL_0", 1: "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
        defaults.update(usual_labels, _name_or_path="")
        absent = object()
        return {
            name: value
            for name, value in self.to_dict().items()
            if defaults.get(name, absent) != self.__dict__.get(name)
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """The configuration as JSON text, keys sorted."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False)

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set several fields at once.

        Raises:
            BadSetting: a value that no model can have.
        """
        for name, value in config_dict.items():
            setattr(self, name, value)
        self.validate()


def _plain(value: Any) -> Any:
    """JSON has no dtypes, tuples or integer keys; a dtype of any framework ends in its plain name."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value).rsplit(".", 1)[-1]
