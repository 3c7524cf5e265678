"""``PegasusConfig``: the shape of a model and the settings that travel with its checkpoint."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, overload

from pegasus import hub
from pegasus.errors import BadSetting
from pegasus.spec import config_fields, fields
from pegasus.spec.config_extras import ConfigExtras
from pegasus.spec.files import read_object, write_whole
from pegasus.spec.kinds import refusal, refusals, shown
from pegasus.spec.positions import TABLES
from pegasus.spec.tensors import dtype_of

log = logging.getLogger(__name__)


class PegasusConfig(ConfigExtras):
    """The configuration of a PEGASUS model, with the fields and defaults of transformers 4.34.

    The defaults are *not* those of any released checkpoint (50,265 tokens, 12 layers, gelu, embeddings
    not scaled): a checkpoint's own ``config.json`` rules. Keys that are not known are kept as attributes
    and written back. ``hidden_size`` and ``num_attention_heads`` are other names of ``d_model`` and
    ``encoder_attention_heads``.

    Three switches are ours: ``position_table`` (``"transformers"`` or ``"authors"``, see
    ``spec.positions``), ``layer_norm_eps`` (transformers 1e-5, the authors 1e-12) and ``decoder_start``:
    what the decoder reads for the start token at its first place, ``"token"`` (its embedding, as
    transformers, whose checkpoints have zeros in that row) or ``"zeros"`` (a vector of zeros, as the
    authors, who train that row as the logit of padding).

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
        self.__dict__.update(config_fields.usual(), **named)
        self.__dict__.update(num_hidden_layers=encoder_layers, _name_or_path="")
        self._set_labels(kwargs)
        for name, value in kwargs.items():
            if callable(getattr(type(self), name, None)):
                raise BadSetting(
                    f"{type(self).__name__} has no field {shown(name)}: it is what a method is called"
                )
            setattr(self, name, value)
        self._validate(narrow=True)

    def __getattr__(self, name: str) -> Any:
        if name in type(self).attribute_map:
            return getattr(self, type(self).attribute_map[name])
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        name = type(self).attribute_map.get(name, name)
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        else:
            self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PegasusConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def _set_labels(self, kwargs: dict[str, Any]) -> None:
        """Labels mean nothing to PEGASUS; files carry them, so they are kept in the usual form."""
        count = kwargs.pop("num_labels", None)
        id2label = kwargs.pop("id2label", None)
        label2id = kwargs.pop("label2id", None)
        given = {"num_labels": count, "id2label": id2label, "label2id": label2id}
        for problem in refusals(given, fields.LABELS):
            raise BadSetting(f"{type(self).__name__}.{problem}")
        self.num_labels = 2 if count is None else count
        if id2label is not None and count in (None, len(id2label)):
            self.id2label = {int(i): label for i, label in id2label.items()}
            self.label2id = label2id or {label: i for i, label in self.id2label.items()}

    @property
    def num_labels(self) -> int:
        """How many labels ``id2label`` names; set to another number it names them anew."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if len(self.id2label or {}) != count:
            self.id2label = {i: f"LABEL_{i}" for i in range(count)}
            self.label2id = {label: i for i, label in self.id2label.items()}

    @property
    def torch_dtype(self) -> Any:
        """What the weights are kept as, a ``torch.dtype``; its name where PyTorch is not installed."""
        name = self.dtype_name
        return None if name is None else dtype_of(name)

    @torch_dtype.setter
    def torch_dtype(self, value: Any) -> None:
        self.__dict__["torch_dtype"] = None if value is None else str(value).rsplit(".", 1)[-1]

    @property
    def dtype_name(self) -> str | None:
        """What the weights are kept as, by name ("float16"), as the file has it."""
        name = self.__dict__.get("torch_dtype") or self.__dict__.get("dtype")
        return None if name is None else str(name).rsplit(".", 1)[-1]

    @property
    def use_return_dict(self) -> bool:
        """Whether models return records rather than tuples when the caller does not say."""
        return bool(self.return_dict) and not self.torchscript

    @property
    def name_or_path(self) -> str:
        """Where the model of this configuration was loaded from."""
        return str(self.__dict__.get("_name_or_path") or "")

    @name_or_path.setter
    def name_or_path(self, value: str | os.PathLike[str] | None) -> None:
        self.__dict__["_name_or_path"] = "" if value is None else os.fspath(value)

    def validate(self) -> None:
        """Raise ``BadSetting`` for the first value that no model can have."""
        self._validate(narrow=False)

    def _validate(self, narrow: bool) -> None:
        """A configuration, unlike a model, may be of width 0 and have fields that do not fit together."""
        values = {name: value for name, value in self.__dict__.items() if name != "d_model" or value != 0}
        if not narrow and self.d_model == 0:
            values["d_model"] = 0
        for problem in refusals(values, {**fields.MODEL, **fields.GENERATION}):
            raise BadSetting(f"{type(self).__name__}.{problem}")
        if not narrow:
            self._check_together()
        known = self.activation_function in config_fields.ACTIVATIONS
        self._expect("activation_function", known, f"one of {', '.join(config_fields.ACTIVATIONS)}")
        self._expect("position_table", self.position_table in TABLES, f"one of {', '.join(TABLES)}")

    def _check_together(self) -> None:
        """Fields that must fit each other; they may be set one after another, so a model asks for this."""
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            self._expect(
                name,
                self.d_model % getattr(self, name) == 0,
                f"a divisor of d_model, which is {self.d_model}",
            )
        for name in ("pad_token_id", "decoder_start_token_id"):
            token = getattr(self, name)
            self._expect(name, (token or 0) < self.vocab_size, f"below vocab_size, {self.vocab_size}")

    def _expect(self, name: str, fits: bool, wanted: str) -> None:
        if not fits:
            raise BadSetting(f"{type(self).__name__}.{refusal(name, getattr(self, name), wanted)}")

    # -- in and out ------------------------------------------------------------------------------------

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        return_unused_kwargs: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self: ...

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
        values, kwargs = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        try:
            made = cls.from_dict(values, **kwargs)
            (made[0] if isinstance(made, tuple) else made).validate()
            return made
        except BadSetting as problem:
            raise BadSetting(f"the configuration of {pretrained_model_name_or_path}: {problem}") from None

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The keys of a ``config.json`` as they stand there, and the keywords that do not say where."""
        options = hub.HubOptions.take(kwargs)
        for ignored in ("_from_auto", "_from_pipeline", "trust_remote_code", "_commit_hash"):
            kwargs.pop(ignored, None)
        path = Path(pretrained_model_name_or_path)
        if path.is_file():
            return read_object(path), kwargs
        folder = hub.locate(pretrained_model_name_or_path, options, patterns=hub.CONFIG_FILES)
        return read_object(folder / "config.json"), kwargs

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
            config.validate()
        except BadSetting as problem:
            raise BadSetting(f"{json_file}: {problem}") from None
        return config

    @classmethod
    def field_names(cls) -> set[str]:
        """The names of every known field, aliases included."""
        return set(cls().__dict__) | set(cls.attribute_map) | {"num_labels", "name_or_path"}

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

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload ``config.json``; ``kwargs`` are those of ``hub.push``. Returns the commit's address."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.push(folder, repo_id, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Every field and its value, ready for JSON."""
        values = {name: config_fields.plain(value) for name, value in self.__dict__.items()}
        return {**values, "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds: PEGASUS' own fields, the legacy keys and what is not a default."""
        defaults, absent = config_fields.unsaid(), object()
        return {
            name: value
            for name, value in self.to_dict().items()
            # The folder a model came from is nobody else's business: later versions leave it out too.
            if defaults.get(name, absent) != self.__dict__.get(name) and name != "_name_or_path"
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """The configuration as JSON text, keys sorted."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False)

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write ``to_json_string`` to a file."""
        text = self.to_json_string(use_diff) + "\n"
        write_whole(Path(json_file_path), text.encode("utf-8"))

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set several fields at once.

        Raises:
            BadSetting: a value that no model can have.
        """
        for name, value in config_dict.items():
            setattr(self, name, value)
        self.validate()
