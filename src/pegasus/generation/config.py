"""``GenerationConfig``: the settings of ``generate``, where they come from, and what they may be."""

from __future__ import annotations

import copy
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, overload

from pegasus import hub
from pegasus.errors import BadSetting, CheckpointNotFound
from pegasus.spec.config_fields import FORMAT_VERSION, plain
from pegasus.spec.fields import GENERATION
from pegasus.spec.files import read_object, write_whole
from pegasus.spec.kinds import Kind, refusals, shown

log = logging.getLogger(__name__)

FILE = "generation_config.json"

#: Every setting of transformers 4.34 and its default.
DEFAULTS: dict[str, Any] = {
    "max_length": 20,
    "max_new_tokens": None,
    "min_length": 0,
    "min_new_tokens": None,
    "early_stopping": False,
    "max_time": None,
    "do_sample": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "penalty_alpha": None,
    "use_cache": True,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "diversity_penalty": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "force_words_ids": None,
    "renormalize_logits": False,
    "constraints": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "remove_invalid_values": False,
    "exponential_decay_length_penalty": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_decoder_ids": None,
    "sequence_bias": None,
    "guidance_scale": None,
    "low_memory": None,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "return_dict_in_generate": False,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "encoder_no_repeat_ngram_size": 0,
    "decoder_start_token_id": None,
    "generation_kwargs": {},
}

#: Settings that transformers 4.34 does not have. They are written to a file only when they are set.
OURS: dict[str, Any] = {
    "search": "transformers",
    "length_normalization": None,
    "prompt_lookup_num_tokens": None,
    "stop_strings": None,
    "seed": None,
    "output_logits": None,
    "cache_implementation": None,
}

_SAMPLING_ONLY = ("temperature", "top_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_BEAMS_ONLY = ("early_stopping", "num_beam_groups", "diversity_penalty", "length_penalty", "constraints")
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
_METADATA = ("_from_model_config", "_commit_hash", "transformers_version")


class GenerationConfig:
    """The settings of ``generate``: every field of transformers 4.34 with its default, and a few of ours.

    Ours are ``search`` (``"transformers"`` or ``"authors"``: which beam search), ``length_normalization``
    (the same two words; by default that of the search), ``prompt_lookup_num_tokens`` (draft from the
    source, this many tokens at a time), ``stop_strings`` and ``seed``; of later versions ``output_logits``
    (logits before any processor, with ``return_dict_in_generate``) and ``cache_implementation``, which has
    no effect.

    Args:
        **kwargs: any field; names that are unknown are kept and written back.

    Raises:
        BadSetting: values that no search can use.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._from_model_config: bool = kwargs.pop("_from_model_config", False)
        self.transformers_version = kwargs.pop("transformers_version", None) or FORMAT_VERSION
        for name in ("_commit_hash", "_original_object_hash"):
            kwargs.pop(name, None)
        self.__dict__.update(copy.deepcopy(DEFAULTS), **OURS)
        known = {name: value for name, value in kwargs.items() if name in DEFAULTS or name in OURS}
        self.__dict__.update(known if self._from_model_config else kwargs)
        self._tidy()
        self.validate()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"GenerationConfig has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and self._comparable() == other._comparable()

    def __hash__(self) -> int:
        return hash(repr(sorted(self._comparable().items())))

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string(ignore_metadata=True)}"

    def _comparable(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _METADATA}

    def validate(self) -> None:
        """Checks values and their combinations; what would merely have no effect is logged.

        Raises:
            BadSetting: what is wrong, what was found, what to do.
        """
        for problem in refusals(self.__dict__, GENERATION):
            raise BadSetting(f"{problem}.")
        self._expect("search", self.search in ("transformers", "authors"), "'transformers' or 'authors'")
        known = self.length_normalization in (None, "transformers", "authors")
        self._expect("length_normalization", known, "'transformers' or 'authors'")
        self._check_combinations()
        self._mention_idle()

    def _check_combinations(self) -> None:
        groups, beams, returned = self.num_beam_groups, self.num_beams, self.num_return_sequences
        grouped = beams > 1 and (groups != 1 or self.diversity_penalty != 0.0)
        if grouped:
            self._expect("num_beams", beams % groups == 0, f"divisible by num_beam_groups, {groups}")
            self._expect("do_sample", not self.do_sample, "False in group beam search")
            self._expect(
                "diversity_penalty", self.diversity_penalty > 0, "above 0, or all groups say the same"
            )
        if self.constraints is not None and beams > 1:
            self._expect("do_sample", not self.do_sample, "False in constrained beam search")
            self._expect("num_beam_groups", groups == 1, "1 in constrained beam search")
        if beams == 1 and not self.do_sample:
            self._expect("num_return_sequences", returned == 1, "1 without beams or do_sample")
        elif beams > 1:
            self._expect("num_return_sequences", returned <= beams, f"at most num_beams, {beams}")

    def _expect(self, name: str, fits: bool, wanted: str) -> None:
        if not fits:
            raise BadSetting(f"{name} is {shown(getattr(self, name))}; it must be {wanted}.")

    def _mention_idle(self) -> None:
        idle = []
        if not self.do_sample:
            idle += [name for name in _SAMPLING_ONLY if getattr(self, name) not in (DEFAULTS[name], None)]
            if self.top_k not in (50, None, 0) and self.penalty_alpha is None:
                idle.append("top_k")
        if self.num_beams == 1:
            idle += [name for name in _BEAMS_ONLY if getattr(self, name) != DEFAULTS[name]]
        if idle:
            log.info("without %s, %s has no effect", "beams or do_sample", ", ".join(idle))

    # -- where settings come from ----------------------------------------------------------------------

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        *,
        return_unused_kwargs: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Self: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Reads the generation config of a folder, a bundled model or a hub repository.

        Args:
            pretrained_model_name: a folder, a bundled name or a hub name.
            config_file_name: another file than ``generation_config.json``, for instance one of a task's.
            **kwargs: where to look (the fields of ``hub.HubOptions``), ``return_unused_kwargs``, and
                settings, which win over the file's.

        Raises:
            CheckpointNotFound: there is no such file.
        """
        options = hub.HubOptions.take(kwargs)
        name = str(config_file_name or FILE)
        folder = hub.locate(pretrained_model_name, options, patterns=(name,))
        path = folder / name
        if not path.is_file():
            raise CheckpointNotFound(
                f"{folder} holds no {name}: take the settings from the model's configuration with "
                "GenerationConfig.from_model_config(PegasusConfig.from_pretrained(...))."
            )
        return cls.from_file(path, **kwargs)

    @classmethod
    def from_file(cls, path: Path, **kwargs: Any) -> Any:
        """Makes a config of a JSON file; ``kwargs`` as in ``from_pretrained``.

        Raises:
            BadSetting: a value that no search can use; names the file.
        """
        values = read_object(path)
        try:
            return cls.from_dict(values, **kwargs)
        except BadSetting as problem:
            raise BadSetting(f"{path}: {problem}") from None

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Makes a config of a dictionary; ``kwargs`` as in ``from_pretrained``."""
        return_unused = kwargs.pop("return_unused_kwargs", False)
        config = cls(**config_dict)
        unused = config.update(**kwargs)
        return (config, unused) if return_unused else config

    @classmethod
    def from_model_config(cls, model_config: Any) -> GenerationConfig:
        """Takes the settings that old checkpoints keep in ``config.json``."""
        return cls(**{**model_config.to_dict(), "_from_model_config": True})

    def with_special_tokens_of(self, model_config: Any) -> GenerationConfig:
        """Fills pad, bos, eos and start tokens that the file did not state."""
        for name in _SPECIAL:
            if getattr(self, name) is None:
                setattr(self, name, getattr(model_config, name, None))
        return self

    @staticmethod
    def _get_default_generation_params() -> dict[str, Any]:
        """Every field with its default; the trainer of transformers 5 asks before it pads what was said."""
        return copy.deepcopy(DEFAULTS)

    @staticmethod
    def dict_torch_dtype_to_str(d: dict[str, Any]) -> None:
        """Replace dtypes in a dictionary by their names: JSON has none."""
        for name in ("torch_dtype", "dtype"):
            if d.get(name) is not None:
                d[name] = plain(d[name])

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload ``generation_config.json``; ``kwargs`` are those of ``hub.push``; returns its address."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.push(folder, repo_id, **kwargs)

    def update(
        self, defaults_only: bool = False, allow_custom_entries: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Sets the fields that exist and returns the keywords that are none.

        Args:
            defaults_only: set only fields that are None.
            allow_custom_entries: set those that do not exist too.
            **kwargs: the fields.
        """
        unused = {}
        for name, value in kwargs.items():
            if name in self.__dict__ or allow_custom_entries:
                if not defaults_only or self.__dict__.get(name) is None:
                    setattr(self, name, value)
            else:
                unused[name] = value
        self._tidy()
        return unused

    def _tidy(self) -> None:
        """Numbers of NumPy and of frameworks become Python's, 6.0 becomes 6 where only whole ones fit."""
        self.__dict__["sequence_bias"] = _tuple_keys(self.__dict__["sequence_bias"])
        for name, kind in GENERATION.items():
            if name in self.__dict__:
                self.__dict__[name] = _plain_number(self.__dict__[name], kind)

    # -- where they go ---------------------------------------------------------------------------------

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Writes the settings that are not defaults into a folder, which is made when it does not exist.

        Args:
            save_directory: the folder.
            config_file_name: another name than ``generation_config.json``.
            push_to_hub: whether to upload the folder too; ``kwargs`` are then those of ``hub.push``.
            **kwargs: ``repo_id`` (the folder's name otherwise) and the other arguments of ``hub.push``.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        name = str(config_file_name or FILE)
        write_whole(folder / name, self.to_json_string().encode("utf-8"))
        if push_to_hub:
            hub.push(folder, kwargs.pop("repo_id", None) or folder.name, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Every field."""
        values = copy.deepcopy(self.__dict__)
        if not values["_from_model_config"]:
            del values["_from_model_config"]
        return values

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields that are not defaults."""
        defaults = {**DEFAULTS, **OURS}
        return {
            name: value
            for name, value in self.to_dict().items()
            if name not in defaults or value != defaults[name]
        }

    def to_json_string(self, use_diff: bool = True, ignore_metadata: bool = False) -> str:
        """The settings as JSON text, keys sorted."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        if ignore_metadata:
            values = {name: value for name, value in values.items() if name not in _METADATA}
        if values.get("sequence_bias"):
            # JSON has no tuples for keys: lists of pairs, as later versions of transformers write it.
            values["sequence_bias"] = [
                [list(phrase), bias] for phrase, bias in values["sequence_bias"].items()
            ]
        return json.dumps(values, indent=2, sort_keys=True, default=str) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Writes ``to_json_string`` to a file."""
        Path(json_file_path).write_text(self.to_json_string(use_diff), encoding="utf-8")


def _plain_number(value: Any, kind: Kind) -> Any:
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()
    whole = isinstance(value, float) and value.is_integer() and not kind.fits(value)
    return int(value) if whole and kind.fits(int(value)) else value


def _tuple_keys(bias: Any) -> Any:
    """Phrases are tuples in Python and lists of pairs in JSON."""
    try:
        return {tuple(phrase): value for phrase, value in bias} if isinstance(bias, list) else bias
    except (TypeError, ValueError):
        return bias  # refused with the other fields
