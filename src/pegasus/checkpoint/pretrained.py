"""``from_pretrained`` and ``save_pretrained``: the same for the models of every framework.

A backend's model inherits ``PretrainedMixin`` and supplies five hooks that touch its own arrays; names,
files, configuration and the report of what did not fit are dealt with here.
"""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pegasus import hub
from pegasus.checkpoint.arguments import (
    GUIDE,
    NO_EFFECT_ON_LOAD,
    NO_EFFECT_ON_SAVE,
    REFUSED_ON_LOAD,
    REFUSED_ON_SAVE,
    check_arguments,
    refuse,
)
from pegasus.checkpoint.dtypes import chosen_dtype, stored_dtype
from pegasus.checkpoint.files import Format
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.report import Fit, fit
from pegasus.checkpoint.writing import write_checkpoint
from pegasus.errors import (
    BadSetting,
    CheckpointMismatch,
    CheckpointNotFound,
    NotOffered,
    UnsupportedArgument,
)
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import Model, Parameter, copies, parameters

logger = logging.getLogger(__name__)

#: More random numbers than this, and than there are in the files, are no checkpoint with something missing.
MOST_MADE_UP = 10**8
_PLACING = ("device_map", "max_memory", "offload_folder", "offload_buffers")
_BIN_FILES = (*hub.CONFIG_FILES, *hub.GENERATION_FILES, "pytorch_model.bin*", "pytorch_model-*-of-*.bin")


class PretrainedMixin:
    """Loading, saving and sharing of a model by name or folder.

    A backend supplies ``_blank``, ``_accept``, ``_fill_absent``, ``_finish`` and ``_arrays``; and, where
    its models generate, ``_load_generation_config(folder)`` and the attribute ``generation_config``. It may
    supply ``_more_leaves``, ``_raw`` and ``_spread``.
    """

    config_class: ClassVar[type[PegasusConfig]] = PegasusConfig
    base_model_prefix: ClassVar[str] = "model"
    kind: ClassVar[Model] = "own"
    config: PegasusConfig

    # -- what a backend supplies -----------------------------------------------------------------------

    @classmethod
    def _blank(cls, config: PegasusConfig, dtype: str | None) -> Self:
        """The structure alone; nothing is initialized that ``_accept`` or ``_fill_absent`` will fill."""
        raise NotImplementedError

    def _accept(self, arrays: Iterable[tuple[str, RawTensor]]) -> None:
        """Fills parameters by canonical name, one at a time, copying: bytes are given back after each."""
        raise NotImplementedError

    def _fill_absent(self, names: Sequence[str]) -> None:
        """Initializes what no file held: positions computed, the logits' bias zero, the rest at random.

        It is called before ``_accept``, so that it may draw more than it is asked for.
        """
        raise NotImplementedError

    def _finish(self) -> Self:
        """Ties what is tied and goes into evaluation mode."""
        raise NotImplementedError

    def _arrays(self, state_dict: Mapping[str, Any] | None = None) -> Iterator[tuple[str, RawTensor]]:
        """What a save writes, by canonical name: the model's own state, or that of ``state_dict``."""
        raise NotImplementedError

    def _more_leaves(self, known: Mapping[str, Parameter]) -> list[Parameter]:
        """What this class has beside the parameters that its kind has."""
        return []

    @classmethod
    def _raw(cls, state_dict: Mapping[str, Any]) -> dict[str, RawTensor]:
        """The raw tensors of a state dict of the backend's own arrays."""
        raise NotOffered(f"{cls.__name__}.from_pretrained takes no `state_dict`: give a folder.")

    def _spread(self, **how: Any) -> Self:
        """Moves the model to where ``device_map`` and the arguments beside it say."""
        raise NotOffered(f"{type(self).__name__}.from_pretrained takes no `device_map`: leave it out.")

    def _leaves(self) -> dict[str, Parameter]:
        """Every parameter of the model, tied copies left out."""
        known = parameters(self.config, self.kind)
        return {**known, **{leaf.name: leaf for leaf in self._more_leaves(known)}}

    # -- loading ---------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: PegasusConfig | str | os.PathLike[str] | None = None,
        output_loading_info: bool = False,
        ignore_mismatched_sizes: bool = False,
        dtype: Any = None,
        torch_dtype: Any = None,
        use_safetensors: bool | None = None,
        state_dict: Mapping[str, Any] | None = None,
        attn_implementation: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The model of a folder, a bundled name or a hub repository, in evaluation mode.

        The checkpoint may be of any of the model classes: what this class has is taken, what it has
        not is left out, and tied weights may be stored under any or all of their names.

        Args:
            pretrained_model_name_or_path: a folder, a bundled name or ``owner/name`` on the hub. None: only
                ``config`` and ``state_dict`` are used.
            *model_args: refused; name what you mean.
            config: in place of the checkpoint's ``config.json``.
            output_loading_info: return ``(model, info)`` with ``missing_keys``, ``unexpected_keys``,
                ``mismatched_keys`` and ``error_msgs``. Then it is no error that nothing fits.
            ignore_mismatched_sizes: initialize parameters of another shape anew instead of refusing.
            dtype: "float32" (the default), "float16", "bfloat16", "float64", a framework's own type, or
                "auto" for the type that the checkpoint names or has.
            torch_dtype: the older name of ``dtype``.
            use_safetensors: True: nothing else will do; False: ``pytorch_model.bin`` only.
            state_dict: weights in place of those of the checkpoint's files.
            attn_implementation: "eager" or "sdpa", without effect: the fastest that is exact is chosen.
            **kwargs: the fields of ``hub.HubOptions``; ``device_map``, ``max_memory``, ``offload_folder``
                and ``offload_buffers``, which spread a model by ``accelerate``; and fields of the
                configuration.

        Returns:
            The model, or with ``output_loading_info`` the pair of it and the report.

        Raises:
            CheckpointNotFound: no such checkpoint, or a file of it is missing.
            CheckpointCorrupt: a file is damaged, cut short, altered or holds code.
            CheckpointMismatch: shapes differ from the configuration's, or nothing fits at all.
            UnsupportedArgument: an argument of transformers that has no meaning here.
        """
        check_arguments(model_args, attn_implementation)
        options = hub.HubOptions.take(kwargs)
        refuse(kwargs, REFUSED_ON_LOAD, NO_EFFECT_ON_LOAD)
        placing = {name: kwargs.pop(name) for name in _PLACING if name in kwargs}
        folder = _folder(pretrained_model_name_or_path, options, use_safetensors, config, state_dict)
        own_positions = "position_table" in kwargs
        config = cls._configuration(folder, config, kwargs)
        config.name_or_path = pretrained_model_name_or_path
        stored: Mapping[str, RawTensor] = (
            cls._raw(state_dict) if state_dict is not None else _weights(folder, use_safetensors)
        )
        config.torch_dtype = chosen_dtype(dtype if dtype is not None else torch_dtype, config, stored)
        model = cls._blank(config, config.dtype_name)
        if own_positions:
            stored = _without_positions(stored)
        more = model._more_leaves(parameters(config, cls.kind))
        fitted = fit(stored, config, cls.kind, more, must_fit=not output_loading_info)
        cls._judge(fitted, folder, ignore_mismatched_sizes)
        model._fill_absent(fitted.absent)
        model._accept(fitted.arrays())
        model = model._finish()
        if folder is not None and hasattr(model, "_load_generation_config"):
            model._load_generation_config(folder)
        if placing.get("device_map") is not None and placing["device_map"] is not False:
            model = model._spread(**placing)
        return (model, fitted.report.as_dict()) if output_loading_info else model

    @classmethod
    def _configuration(
        cls,
        folder: Path | None,
        given: PegasusConfig | str | os.PathLike[str] | None,
        kwargs: dict[str, Any],
    ) -> PegasusConfig:
        """The configuration to build with, changed by the keywords that are fields of it."""
        if given is None and folder is not None and not (folder / "config.json").is_file():
            raise CheckpointNotFound(
                f"{folder} has no config.json (found: {_listing(folder)}): give the folder of a saved "
                "model, or `config=`."
            )
        if isinstance(given, PegasusConfig):
            config, unused = copy.deepcopy(given), kwargs
            if kwargs:
                config, unused = type(given).from_dict(given.to_dict(), return_unused_kwargs=True, **kwargs)
        else:
            source: Any = folder if given is None else given
            config, unused = cls.config_class.from_pretrained(source, return_unused_kwargs=True, **kwargs)
        if unused:
            raise UnsupportedArgument(
                f"{cls.__name__}.from_pretrained does not know {', '.join(f'`{key}`' for key in unused)}: "
                "neither an "
                f"argument nor a field of the configuration. {GUIDE}"
            )
        return config  # type: ignore[no-any-return]

    @classmethod
    def _judge(cls, fitted: Fit, folder: Path | None, ignore_mismatched_sizes: bool) -> None:
        """Refuses or warns, with everything that did not fit in one message."""
        report = fitted.report
        place = "the state_dict" if folder is None else str(folder)
        if report.mismatched and not ignore_mismatched_sizes:
            raise CheckpointMismatch(
                f"The weights of {place} do not fit its configuration. {'. '.join(report.lines())}. Use "
                "the config.json "
                "that belongs to them, or ignore_mismatched_sizes=True to initialize those of another "
                "shape anew."
            )
        if fitted.made_up > max(MOST_MADE_UP, fitted.held):
            raise CheckpointMismatch(
                f"The configuration of {place} asks for {fitted.made_up + fitted.held:,} numbers and its "
                f"files hold {fitted.held:,} of them: {'. '.join(report.lines())}. Use the "
                "config.json that belongs to them."
            )
        if report.left_out:
            logger.info(
                "%s leaves out on purpose %d tensors of %s, such as %s",
                cls.__name__,
                len(report.left_out),
                place,
                ", ".join(report.left_out[:3]),
            )
        if report.lines():
            logger.warning(
                "%s was loaded from %s, but not all of it fits. %s. What is missing or of another shape "
                "was "
                "initialized at random: train the model before relying on it.",
                cls.__name__,
                place,
                ". ".join(report.lines()),
            )

    # -- saving ----------------------------------------------------------------------------------------

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Any] | None = None,
        save_function: Callable[..., Any] | None = None,
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
            save_function: without effect: it would write pickles.
            push_to_hub: upload the folder afterwards; ``kwargs`` are then those of ``push_to_hub``.
            max_shard_size: bytes, or text such as "5GB"; larger models become several files and an index.
            safe_serialization: False warns, and writes safetensors all the same.
            **kwargs: ``repo_id`` (else the folder's name) and the other arguments of the upload.

        Raises:
            BadSetting: the folder is a file, or the size is none.
            UnsupportedArgument: an argument that is refused here.
        """
        folder = Path(save_directory)
        if not safe_serialization:
            warnings.warn(
                "`safe_serialization=False` asks for a pickle, which can hold code: weights are written as "
                "safetensors all the same, which every loader reads. Leave it out.",
                FutureWarning,
                stacklevel=2,
            )
        refuse(kwargs, REFUSED_ON_SAVE, NO_EFFECT_ON_SAVE)
        token = kwargs.pop("token", kwargs.pop("use_auth_token", None))
        if not push_to_hub and kwargs:
            raise UnsupportedArgument(
                f"save_pretrained does not know {', '.join(f'`{key}`' for key in kwargs)}. {GUIDE}"
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
        skipped = set(copies(self.config, self.kind)) | {
            name for name, leaf in self._leaves().items() if leaf.kind == "positions"
        }
        return dict(
            self._arrays({name: value for name, value in state_dict.items() if name not in skipped})
        )

    def _texts(self, arrays: Mapping[str, RawTensor]) -> list[tuple[str, str]]:
        """generation_config.json and, last because a folder without it does not load, config.json."""
        config = copy.deepcopy(self.config)
        config.architectures = [type(self).__name__]
        config.torch_dtype = stored_dtype(arrays.values()) or config.dtype_name
        texts = [("config.json", config.to_json_string() + "\n")]
        generates = getattr(self, "can_generate", lambda: hasattr(self, "generation_config"))()
        generation = self.generation_config if generates else None  # type: ignore[attr-defined]
        if generation is not None:
            texts.insert(0, ("generation_config.json", generation.to_json_string().rstrip("\n") + "\n"))
        return texts


def _formats(use_safetensors: bool | None) -> tuple[Format, ...] | None:
    if use_safetensors is None:
        return None
    return ("safetensors",) if use_safetensors else ("bin",)


def _folder(
    name: str | os.PathLike[str] | None,
    options: hub.HubOptions,
    use_safetensors: bool | None,
    config: Any,
    state_dict: Any,
) -> Path | None:
    """The folder of a checkpoint; None when configuration and weights were both given instead."""
    if name is not None:
        return hub.locate(name, options, patterns=_BIN_FILES if use_safetensors is False else None)
    if config is None or state_dict is None:
        raise BadSetting("no checkpoint was named: give a name, or both `config` and `state_dict`.")
    return None


def _weights(folder: Path | None, use_safetensors: bool | None) -> Mapping[str, RawTensor]:
    assert folder is not None, "without a folder there is a state_dict"
    return open_checkpoint(folder, _formats(use_safetensors)).tensors


def _without_positions(tensors: Mapping[str, RawTensor]) -> dict[str, RawTensor]:
    """A position table asked for by name is computed, whatever table the files carry."""
    return {name: raw for name, raw in tensors.items() if not name.endswith("embed_positions.weight")}


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
