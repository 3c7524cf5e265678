"""``from_pretrained`` and ``save_pretrained``: the same for the models of every framework.

A backend's model inherits ``PretrainedMixin`` and supplies five hooks that touch its own arrays; names,
files, configuration and the report of what did not fit are dealt with here.
"""

from __future__ import annotations

import copy
import logging
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pegasus import hub
from pegasus.checkpoint.files import Format, Weights
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import FLOATS, RawTensor
from pegasus.checkpoint.report import Fit, fit
from pegasus.checkpoint.writing import write_checkpoint
from pegasus.errors import BadSetting, CheckpointMismatch, CheckpointNotFound, UnsupportedArgument
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import Model, copies, parameters

logger = logging.getLogger(__name__)

_GUIDE = "docs/coming-from-transformers.md tells what to use instead."

#: Arguments of transformers that are refused when they ask for something: name → what to do.
_REFUSED_ON_LOAD: dict[str, str] = {
    "from_tf": "not read yet: save the checkpoint as safetensors with transformers 4.57 first",
    "from_flax": "not read yet: save the checkpoint as safetensors with transformers 4.57 first",
    "device_map": "load, then move the model with `.to(device)`",
    "max_memory": "load, then move the model with `.to(device)`",
    "offload_folder": "load, then move the model with `.to(device)`",
    "offload_state_dict": "loading never holds the weights twice here",
    "offload_buffers": "load, then move the model with `.to(device)`",
    "load_in_8bit": "load with dtype='bfloat16'",
    "load_in_4bit": "load with dtype='bfloat16'",
    "quantization_config": "load with dtype='bfloat16'",
    "trust_remote_code": "no code is ever taken from a checkpoint here; leave it out",
    "code_revision": "no code is ever taken from a checkpoint here; leave it out",
    "state_dict": "build the model from its configuration and call `load_state_dict`",
    "variant": "give the folder or repository that holds these weights under the usual names",
    "use_flash_attention_2": "leave it out, the fastest attention that PyTorch has here is chosen",
    "adapter_kwargs": "merge the adapter into the weights first",
    "adapter_name": "merge the adapter into the weights first",
}
#: Arguments whose effect is always there, or that have none.
_NO_EFFECT_ON_LOAD = (
    *("low_cpu_mem_usage", "weights_only"),
    *("_fast_init", "_from_auto", "_from_pipeline", "_commit_hash"),
)
_REFUSED_ON_SAVE: dict[str, str] = {
    "save_function": "weights are always written as safetensors",
    "variant": "give another folder",
}
#: More random numbers than this, and than there are in the files, are no checkpoint with something missing.
MOST_MADE_UP = 10**8
_NO_EFFECT_ON_SAVE = ("save_peft_format", "save_original_format")
_BIN_FILES = (*hub.CONFIG_FILES, *hub.GENERATION_FILES, "pytorch_model.bin*", "pytorch_model-*-of-*.bin")


class PretrainedMixin:
    """Loading, saving and sharing of a model by name or folder.

    A backend supplies ``_blank``, ``_accept``, ``_fill_absent``, ``_finish`` and ``_arrays``; and, where
    its models generate, ``_load_generation_config(folder)`` and the attribute ``generation_config``.
    """

    config_class: ClassVar[type[PegasusConfig]] = PegasusConfig
    base_model_prefix: ClassVar[str] = "model"
    kind: ClassVar[Model]
    config: PegasusConfig

    # -- what a backend supplies -----------------------------------------------------------------------

    @classmethod
    def _blank(cls, config: PegasusConfig, dtype: str | None) -> Self:
        """The structure alone; nothing is initialized that ``_accept`` or ``_fill_absent`` will fill."""
        raise NotImplementedError

    def _accept(self, arrays: Iterable[tuple[str, RawTensor]]) -> None:
        """Fills parameters by canonical name, one at a time, copying: the bytes are given back after "
        "each."""
        raise NotImplementedError

    def _fill_absent(self, names: Sequence[str]) -> None:
        """Initializes what no file held: positions computed, the logits' bias zero, the rest at random."""
        raise NotImplementedError

    def _finish(self) -> Self:
        """Ties what is tied and goes into evaluation mode."""
        raise NotImplementedError

    def _arrays(self, state_dict: Mapping[str, Any] | None = None) -> Iterator[tuple[str, RawTensor]]:
        """What a save writes, by canonical name: the model's own state, or that of ``state_dict``."""
        raise NotImplementedError

    # -- loading ---------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        config: PegasusConfig | str | os.PathLike[str] | None = None,
        output_loading_info: bool = False,
        ignore_mismatched_sizes: bool = False,
        dtype: Any = None,
        torch_dtype: Any = None,
        use_safetensors: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The model of a folder, a bundled name or a hub repository, in evaluation mode.

        The checkpoint may be of any of the three model classes: what this class has is taken, what it has
        not is left out, and tied weights may be stored under any or all of their names.

        Args:
            pretrained_model_name_or_path: a folder, a bundled name or ``owner/name`` on the hub.
            *model_args: refused; name what you mean.
            config: in place of the checkpoint's ``config.json``.
            output_loading_info: return ``(model, info)`` with ``missing_keys``, ``unexpected_keys``,
                ``mismatched_keys`` and ``error_msgs``.
            ignore_mismatched_sizes: initialize parameters of another shape anew instead of refusing.
            dtype: "float32" (the default), "float16", "bfloat16", "float64", a framework's own type, or
                "auto" for the type that the checkpoint names or has.
            torch_dtype: the older name of ``dtype``.
            use_safetensors: True: nothing else will do; False: ``pytorch_model.bin`` only.
            **kwargs: the fields of ``hub.HubOptions``, and fields of the configuration.

        Returns:
            The model, or with ``output_loading_info`` the pair of it and the report.

        Raises:
            CheckpointNotFound: no such checkpoint, or a file of it is missing.
            CheckpointCorrupt: a file is damaged, cut short, altered or holds code.
            CheckpointMismatch: shapes differ from the configuration's, or nothing fits at all.
            UnsupportedArgument: an argument of transformers that has no meaning here.
        """
        name = pretrained_model_name_or_path
        if model_args:
            raise UnsupportedArgument(
                f"{len(model_args)} arguments without a name were given: name them. {_GUIDE}"
            )
        options = hub.HubOptions.take(kwargs)
        _refuse(kwargs, _REFUSED_ON_LOAD, _NO_EFFECT_ON_LOAD)
        folder = hub.locate(name, options, patterns=_BIN_FILES if use_safetensors is False else None)
        own_positions = "position_table" in kwargs
        config = cls._configuration(folder, config, kwargs)
        config._name_or_path = os.fspath(name)
        weights = open_checkpoint(folder, _formats(use_safetensors))
        fitted = (
            _without_positions(weights, config, cls.kind)
            if own_positions
            else fit(weights.tensors, config, cls.kind)
        )
        cls._judge(fitted, folder, ignore_mismatched_sizes)
        config.torch_dtype = _chosen_dtype(dtype if dtype is not None else torch_dtype, config, weights)
        model = cls._blank(config, config.torch_dtype)
        model._accept(fitted.arrays())
        model._fill_absent(fitted.absent)
        model = model._finish()
        if hasattr(model, "_load_generation_config"):
            model._load_generation_config(folder)
        return (model, fitted.report.as_dict()) if output_loading_info else model

    @classmethod
    def _configuration(
        cls, folder: Path, given: PegasusConfig | str | os.PathLike[str] | None, kwargs: dict[str, Any]
    ) -> PegasusConfig:
        """The configuration to build with, changed by the keywords that are fields of it."""
        if given is None and not (folder / "config.json").is_file():
            raise CheckpointNotFound(
                f"{folder} has no config.json (found: {_listing(folder)}): give the folder of a saved "
                "model, or `config=`."
            )
        if isinstance(given, PegasusConfig):
            config, unused = copy.deepcopy(given), kwargs
            if kwargs:
                config, unused = type(given).from_dict(given.to_dict(), return_unused_kwargs=True, **kwargs)
        else:
            source = folder if given is None else given
            config, unused = cls.config_class.from_pretrained(source, return_unused_kwargs=True, **kwargs)
        if unused:
            raise UnsupportedArgument(
                f"{cls.__name__}.from_pretrained does not know {', '.join(f'`{key}`' for key in unused)}: "
                "neither an "
                f"argument nor a field of the configuration. {_GUIDE}"
            )
        return config  # type: ignore[no-any-return]

    @classmethod
    def _judge(cls, fitted: Fit, folder: Path, ignore_mismatched_sizes: bool) -> None:
        """Refuses or warns, with everything that did not fit in one message."""
        report = fitted.report
        if report.mismatched and not ignore_mismatched_sizes:
            raise CheckpointMismatch(
                f"The weights of {folder} do not fit its configuration. {'. '.join(report.lines())}. Use "
                "the config.json "
                "that belongs to them, or ignore_mismatched_sizes=True to initialize those of another "
                "shape anew."
            )
        if fitted.made_up > max(MOST_MADE_UP, fitted.held):
            raise CheckpointMismatch(
                f"The configuration of {folder} asks for {fitted.made_up + fitted.held:,} numbers and its "
                f"files hold {fitted.held:,} of them: {'. '.join(report.lines())}. Use the "
                "config.json that belongs to them."
            )
        if report.left_out:
            logger.info(
                "%s leaves out on purpose %d tensors of %s, such as %s",
                cls.__name__,
                len(report.left_out),
                folder,
                ", ".join(report.left_out[:3]),
            )
        if report.lines():
            logger.warning(
                "%s was loaded from %s, but not all of it fits. %s. What is missing or of another shape "
                "was "
                "initialized at random: train the model before relying on it.",
                cls.__name__,
                folder,
                ". ".join(report.lines()),
            )

    # -- saving ----------------------------------------------------------------------------------------

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        is_main_process: bool = True,
        state_dict: Mapping[str, Any] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        **kwargs: Any,
    ) -> None:
        """Writes weights as safetensors, ``config.json`` and, if there is one, ``generation_config.json``.

        Every file is complete before any of them gets its name, so that a save that is cut off leaves what
        was there before. Weight files of an earlier save are removed after the new ones are in place.

        Args:
            save_directory: made when it does not exist.
            is_main_process: False writes nothing, for all processes but one of a distributed job.
            state_dict: weights to write in place of the model's own.
            push_to_hub: upload the folder afterwards; ``kwargs`` are then those of ``push_to_hub``.
            max_shard_size: bytes, or text such as "5GB"; larger models become several files and an index.
            safe_serialization: must be True.
            **kwargs: ``repo_id`` (else the folder's name) and the other arguments of the upload.

        Raises:
            BadSetting: the folder is a file, or the size is none.
            UnsupportedArgument: pickled weights or another argument that is refused here.
        """
        folder = Path(save_directory)
        if not safe_serialization:
            raise UnsupportedArgument(
                "`safe_serialization=False` asks for a pickle, which can hold code: weights are written "
                "as safetensors, "
                "which every loader reads. Leave it out."
            )
        _refuse(kwargs, _REFUSED_ON_SAVE, _NO_EFFECT_ON_SAVE)
        token = kwargs.pop("token", kwargs.pop("use_auth_token", None))
        if not push_to_hub and kwargs:
            raise UnsupportedArgument(
                f"save_pretrained does not know {', '.join(f'`{key}`' for key in kwargs)}. {_GUIDE}"
            )
        if folder.is_file():
            raise BadSetting(f"{folder} is a file: give a folder to save into.")
        if not is_main_process:
            return
        arrays = self._to_write(state_dict)
        write_checkpoint(folder, arrays.items(), self._texts(arrays), max_shard_size)
        if push_to_hub:
            hub.push(folder, kwargs.pop("repo_id", None) or folder.resolve().name, token=token, **kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str = "5GB",
        commit_description: str | None = None,
    ) -> str:
        """Saves into a temporary folder and uploads that; see ``save_pretrained`` and ``hub.push``.

        Returns:
            The address of the commit.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, max_shard_size=max_shard_size)
            return hub.push(
                folder,
                repo_id,
                token=token,
                private=private,
                commit_message=commit_message,
                commit_description=commit_description,
                revision=revision,
                create_pr=create_pr,
            )

    def _to_write(self, state_dict: Mapping[str, Any] | None) -> dict[str, RawTensor]:
        """The tensors to save: tied copies and positions of a given state are left to the next load."""
        if state_dict is None:
            return dict(self._arrays())
        leaves = parameters(self.config, self.kind)
        skipped = set(copies(self.config, self.kind)) | {
            n for n, leaf in leaves.items() if leaf.kind == "positions"
        }
        return dict(
            self._arrays({name: value for name, value in state_dict.items() if name not in skipped})
        )

    def _texts(self, arrays: Mapping[str, RawTensor]) -> list[tuple[str, str]]:
        """generation_config.json and, last because a folder without it does not load, config.json."""
        config = copy.deepcopy(self.config)
        config.architectures = [type(self).__name__]
        config.torch_dtype = _stored_dtype(arrays.values()) or config.torch_dtype
        texts = [("config.json", config.to_json_string() + "\n")]
        generates = getattr(self, "can_generate", lambda: hasattr(self, "generation_config"))()
        generation = self.generation_config if generates else None  # type: ignore[attr-defined]
        if generation is not None:
            texts.insert(0, ("generation_config.json", generation.to_json_string().rstrip("\n") + "\n"))
        return texts


def _refuse(kwargs: dict[str, Any], refused: Mapping[str, str], no_effect: Sequence[str]) -> None:
    """Takes known arguments out of ``kwargs``: those that ask for nothing silently, the others never."""
    for name in no_effect:
        kwargs.pop(name, None)
    for name, advice in refused.items():
        if kwargs.pop(name, None):
            raise UnsupportedArgument(f"`{name}` is not taken here: {advice}. {_GUIDE}")


def _formats(use_safetensors: bool | None) -> tuple[Format, ...] | None:
    if use_safetensors is None:
        return None
    return ("safetensors",) if use_safetensors else ("bin",)


def _without_positions(weights: Weights, config: PegasusConfig, model: Model) -> Fit:
    """A position table asked for by name is computed, whatever table the files carry."""
    kept = {
        name: tensor
        for name, tensor in weights.tensors.items()
        if not name.endswith("embed_positions.weight")
    }
    return fit(kept, config, model)


def _chosen_dtype(asked: Any, config: PegasusConfig, weights: Weights) -> str:
    """ "float32" and its like, from a name, a framework's type, or what the checkpoint has."""
    if asked is None:
        return "float32"
    if isinstance(asked, str) and asked == "auto":
        named = config.torch_dtype or getattr(config, "dtype", None)
        return _plain_dtype(named) if named else _stored_dtype(weights.tensors.values()) or "float32"
    return _plain_dtype(asked)


def _plain_dtype(asked: Any) -> str:
    found = re.search(r"\b(b?float\d+)\b", str(asked))
    if found is None or found[1] not in FLOATS.values():
        raise BadSetting(f"dtype is {asked!r}: give 'auto' or one of {', '.join(FLOATS.values())}.")
    return found[1]


def _stored_dtype(tensors: Iterable[RawTensor]) -> str | None:
    return next((FLOATS[tensor.dtype] for tensor in tensors if tensor.dtype in FLOATS), None)


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
