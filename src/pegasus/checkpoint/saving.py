"""``save_pretrained``: the same for the models of every framework."""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pegasus import hub
from pegasus.checkpoint.arguments import GUIDE, NO_EFFECT_ON_SAVE, refuse
from pegasus.checkpoint.dtypes import stored_dtype
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import write_checkpoint
from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import Model, Parameter, copies, parameters


class SavingMixin:
    """Saving and sharing of a model.

    A backend supplies ``_arrays`` and, where its models generate, the attribute ``generation_config``. It
    may supply ``_more_leaves`` and ``_write_pickled``.
    """

    kind: ClassVar[Model] = "own"
    config: PegasusConfig

    def _arrays(self, state_dict: Mapping[str, Any] | None = None) -> Iterator[tuple[str, RawTensor]]:
        """What a save writes, by canonical name: the model's own state, or that of ``state_dict``."""
        raise NotImplementedError

    def _more_leaves(self, known: Mapping[str, Parameter]) -> list[Parameter]:
        """What this class has beside the parameters that its kind has."""
        return []

    def _leaves(self) -> dict[str, Parameter]:
        """Every parameter of the model, tied copies left out."""
        known = parameters(self.config, self.kind)
        return {**known, **{leaf.name: leaf for leaf in self._more_leaves(known)}}

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Any] | None = None,
        save_function: Callable[..., Any] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        token: str | bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes weights as safetensors, ``config.json`` and, if there is one, ``generation_config.json``.

        Every file is complete before any of them gets its name, so that a save that is cut off leaves what
        was there before. Weight files of an earlier save are removed after the new ones are in place.

        Args:
            save_directory: made when it does not exist.
            is_main_process: False writes nothing, for all processes but one of a distributed job.
            state_dict: weights to write in place of the model's own.
            save_function: writes each ``pytorch_model.bin`` in place of ``torch.save``; without effect on
                safetensors.
            push_to_hub: upload the folder afterwards; ``kwargs`` are then those of ``push_to_hub``.
            max_shard_size: bytes, or text such as "5GB"; larger models become several files and an index.
            safe_serialization: False writes ``pytorch_model.bin``, a pickle, for readers that know nothing
                else; a backend that writes none warns, and writes safetensors.
            variant: put into the names of the weight files, as in ``model.fp16.safetensors``.
            token: of the upload.
            **kwargs: ``repo_id`` (else the folder's name) and the other arguments of the upload.

        Raises:
            BadSetting: the folder is a file, or the size is none.
            UnsupportedArgument: an argument that is refused here.
        """
        folder = Path(save_directory)
        refuse(kwargs, {}, NO_EFFECT_ON_SAVE)
        token = kwargs.pop("use_auth_token", None) if token is None else token
        if not push_to_hub and kwargs:
            raise UnsupportedArgument(
                f"save_pretrained does not know {', '.join(f'`{key}`' for key in kwargs)}. {GUIDE}"
            )
        if folder.is_file():
            raise BadSetting(f"{folder} is a file: give a folder to save into.")
        if not is_main_process:
            return
        if safe_serialization:
            self._write(folder, state_dict, max_shard_size, variant)
        else:
            self._write_pickled(folder, state_dict, max_shard_size, variant, save_function)
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

    def _write(
        self,
        folder: Path,
        state_dict: Mapping[str, Any] | None,
        max_shard_size: int | str,
        variant: str | None,
    ) -> None:
        arrays = self._to_write(state_dict)
        write_checkpoint(folder, arrays.items(), self._texts(arrays), max_shard_size, variant)

    def _write_pickled(
        self,
        folder: Path,
        state_dict: Mapping[str, Any] | None,
        max_shard_size: int | str,
        variant: str | None,
        save_function: Callable[..., Any] | None,
    ) -> None:
        """Writes ``pytorch_model.bin``, where the backend's framework has pickles."""
        warnings.warn(
            "`safe_serialization=False` asks for a pickle, which this backend does not write: weights are "
            "written as safetensors all the same, which every loader reads. Leave it out.",
            FutureWarning,
            stacklevel=3,
        )
        self._write(folder, state_dict, max_shard_size, variant)

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
        config.architectures = [type(self).__name__.removeprefix("TF").removeprefix("Flax")]
        config.torch_dtype = stored_dtype(arrays.values()) or config.dtype_name
        texts = [("config.json", config.to_json_string() + "\n")]
        generates = getattr(self, "can_generate", lambda: hasattr(self, "generation_config"))()
        generation = self.generation_config if generates else None  # type: ignore[attr-defined]
        if generation is not None:
            texts.insert(0, ("generation_config.json", generation.to_json_string().rstrip("\n") + "\n"))
        return texts
