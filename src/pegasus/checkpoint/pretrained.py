"""``from_pretrained`` and ``save_pretrained``: the same for the models of every framework.

A backend's model inherits ``PretrainedMixin`` and supplies five hooks that touch its own arrays; names,
files, configuration and the report of what did not fit are dealt with here.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, Unpack, overload

from pegasus import hub
from pegasus.checkpoint.arguments import (
    GUIDE,
    NO_EFFECT_ON_LOAD,
    REFUSED_ON_LOAD,
    check_arguments,
    refuse,
)
from pegasus.checkpoint.dtypes import chosen_dtype
from pegasus.checkpoint.load_options import LoadOptions
from pegasus.checkpoint.loading_info import loading_info
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.report import Fit, Report, fit
from pegasus.checkpoint.saving import SavingMixin
from pegasus.checkpoint.sources import Source
from pegasus.errors import (
    CheckpointMismatch,
    CheckpointNotFound,
    NotOffered,
    UnsupportedArgument,
)
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import parameters

logger = logging.getLogger(__name__)

#: More random numbers than this, and than there are in the files, are no checkpoint with something missing.
MOST_MADE_UP = 10**8
_PLACING = ("device_map", "max_memory", "offload_folder", "offload_buffers")


class PretrainedMixin(SavingMixin):
    """Loading, saving and sharing of a model by name or folder.

    A backend supplies ``_blank``, ``_accept``, ``_fill_absent``, ``_finish`` and ``_arrays``; and, where
    its models generate, ``_load_generation_config(folder)`` and the attribute ``generation_config``. It may
    supply ``_more_leaves``, ``_raw`` and ``_spread``.
    """

    config_class: ClassVar[type[PegasusConfig]] = PegasusConfig
    base_model_prefix: ClassVar[str] = "model"

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

    @classmethod
    def _raw(cls, state_dict: Mapping[str, Any]) -> dict[str, RawTensor]:
        """The raw tensors of a state dict of the backend's own arrays."""
        raise NotOffered(f"{cls.__name__}.from_pretrained takes no `state_dict`: give a folder.")

    def _spread(self, **how: Any) -> Self:
        """Moves the model to where ``device_map`` and the arguments beside it say."""
        raise NotOffered(f"{type(self).__name__}.from_pretrained takes no `device_map`: leave it out.")

    # -- loading ---------------------------------------------------------------------------------------

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        output_loading_info: Literal[True],
        config: PegasusConfig | str | os.PathLike[str] | None = None,
        ignore_mismatched_sizes: bool = False,
        dtype: Any = None,
        torch_dtype: Any = None,
        use_safetensors: bool | None = None,
        state_dict: Mapping[str, Any] | None = None,
        attn_implementation: str | None = None,
        **kwargs: Unpack[LoadOptions],
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: PegasusConfig | str | os.PathLike[str] | None = None,
        output_loading_info: Literal[False] = False,
        ignore_mismatched_sizes: bool = False,
        dtype: Any = None,
        torch_dtype: Any = None,
        use_safetensors: bool | None = None,
        state_dict: Mapping[str, Any] | None = None,
        attn_implementation: str | None = None,
        **kwargs: Unpack[LoadOptions],
    ) -> Self: ...

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
            **kwargs: the fields of ``hub.HubOptions``; ``variant``, which stands in the files' names, as in
                ``model.fp16.safetensors``; ``from_tf`` and ``from_flax``, which read only files of those
                libraries; ``device_map``, ``max_memory``, ``offload_folder``
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
        source = Source.take(use_safetensors, kwargs)
        folder = source.locate(pretrained_model_name_or_path, options, config, state_dict)
        own_positions = "position_table" in kwargs
        config = cls._configuration(folder, config, kwargs)
        config.name_or_path = pretrained_model_name_or_path
        stored: Mapping[str, RawTensor]
        if state_dict is not None:
            stored = cls._raw(state_dict)
        else:
            assert folder is not None, "without a state_dict there is a folder"
            stored = source.open(folder)
        config.torch_dtype = chosen_dtype(dtype if dtype is not None else torch_dtype, config, stored)
        model = cls._blank(config, config.dtype_name)
        if own_positions:
            stored = _without_positions(stored)
        more = model._more_leaves(parameters(config, cls.kind))
        fitted = fit(stored, config, cls.kind, more, must_fit=not output_loading_info)
        fitted = replace(fitted, report=cls._told(fitted.report))
        cls._judge(fitted, folder, ignore_mismatched_sizes)
        model._fill_absent(fitted.absent)
        model._accept(fitted.arrays())
        model = model._finish()
        if folder is not None and hasattr(model, "_load_generation_config"):
            model._load_generation_config(folder)
        if placing.get("device_map") is not None and placing["device_map"] is not False:
            model = model._spread(**placing)
        if not output_loading_info:
            return model
        ignored = getattr(cls, "_keys_to_ignore_on_load_unexpected", None)
        return model, loading_info(fitted, stored, config, cls.kind, more, ignored)

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
    def _told(cls, report: Report) -> Report:
        """Without what a class says that nobody need hear of."""
        names = ("_keys_to_ignore_on_load_missing", "_keys_to_ignore_on_load_unexpected")
        return report.without(*(getattr(cls, name, None) for name in names))

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


def _without_positions(tensors: Mapping[str, RawTensor]) -> dict[str, RawTensor]:
    """A position table asked for by name is computed, whatever table the files carry."""
    return {name: raw for name, raw in tensors.items() if not name.endswith("embed_positions.weight")}


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
