"""Which files of a checkpoint a load reads: of what format, and of what variant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pegasus import hub
from pegasus.checkpoint.files import Format, with_variant
from pegasus.checkpoint.formats import FORMATS, Row, open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import BadSetting

_ASKED_FOR: Mapping[str, Format] = {"from_tf": "h5", "from_flax": "msgpack"}


@dataclass(frozen=True)
class Source:
    """What a load reads.

    Attributes:
        format: the one format that will do; None: the first that is there.
        variant: what stands in the files' names before the ending, as in ``model.fp16.safetensors``.
    """

    format: Format | None = None
    variant: str | None = None

    @classmethod
    def take(cls, use_safetensors: bool | None, kwargs: dict[str, Any]) -> Source:
        """Takes ``from_tf``, ``from_flax`` and ``variant`` out of the keywords of ``from_pretrained``.

        Raises:
            BadSetting: two formats are asked for.
        """
        found = [name for name in _ASKED_FOR if kwargs.pop(name, None)]
        formats: list[Format] = [_ASKED_FOR[name] for name in found]
        if use_safetensors is not None and not (found and use_safetensors is False):
            found.append(f"use_safetensors={use_safetensors}")
            formats.append("safetensors" if use_safetensors else "bin")
        if len(found) > 1:
            raise BadSetting(f"{' and '.join(found)} ask for different files: give one of them.")
        return cls(formats[0] if formats else None, kwargs.pop("variant", None) or None)

    def locate(
        self, name: str | os.PathLike[str] | None, options: hub.HubOptions, config: Any, state_dict: Any
    ) -> Path | None:
        """The folder of a checkpoint; None when configuration and weights were both given instead.

        Raises:
            BadSetting: nothing was named.
            CheckpointNotFound: nothing has that name.
        """
        if name is not None:
            return hub.locate(name, options, patterns=self._patterns())
        if config is None or state_dict is None:
            raise BadSetting("no checkpoint was named: give a name, or both `config` and `state_dict`.")
        return None

    def open(self, folder: Path) -> Mapping[str, RawTensor]:
        """The tensors of a folder by their canonical names."""
        formats = None if self.format is None else (self.format,)
        return open_checkpoint(folder, formats, self.variant).tensors

    def _patterns(self) -> tuple[str, ...] | None:
        """The files to fetch from a hub; None: those of the first format that is there."""
        if self.format is None and self.variant is None:
            return None
        rows = [row for row in FORMATS if self.format in (None, row.name)]
        return (
            *hub.CONFIG_FILES,
            *hub.GENERATION_FILES,
            *(name for row in rows for name in self._files(row)),
        )

    def _files(self, row: Row) -> tuple[str, str, str]:
        single = with_variant(row.single, self.variant)
        stem, _, ending = single.rpartition(".")
        return single, with_variant(row.index, self.variant), f"{stem}-*-of-*.{ending}"
