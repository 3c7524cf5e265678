"""``pytorch_model.bin``: the whole state dict as pickles, for readers that know no safetensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pegasus.checkpoint.files import with_variant
from pegasus.checkpoint.writing import Staging, index_of, shard_names

_SINGLE, _INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


@dataclass(frozen=True)
class BinFiles:
    """How a state dict is written.

    Attributes:
        max_shard_size: bytes of a file, or text such as "5GB".
        variant: put into the names of the files before their ending.
        save: function (state dict, path); ``torch.save`` when it is None.
    """

    max_shard_size: int | str
    variant: str | None
    save: Callable[..., Any] | None

    def write(self, folder: Path, state: Mapping[str, Tensor], texts: Sequence[tuple[str, str]]) -> None:
        """Write the files; all appear or none does.

        Args:
            folder: made when it does not exist.
            state: by name; names of one storage share it in the file too.
            texts: file names and contents, in the order in which they appear, after the weights.
        """
        shards, total = shard_names(_sizes(state), self.max_shard_size, with_variant(_SINGLE, self.variant))
        save = torch.save if self.save is None else self.save
        with Staging(folder, self.variant, pickled=True) as staging:
            for file_name, names in shards:
                part = {name: state[name] for name in names}
                staging.add_written(file_name, functools.partial(_save, save, part))
            for file_name, text in texts:
                staging.add_text(file_name, text)
            if len(shards) > 1:
                staging.add_text(with_variant(_INDEX, self.variant), index_of(shards, total))


def _save(save: Callable[..., Any], part: Mapping[str, Tensor], path: Path) -> None:
    save(part, str(path))


@dataclass(frozen=True)
class _Size:
    nbytes: int


def _sizes(state: Mapping[str, Tensor]) -> dict[str, _Size]:
    """Bytes by name, those of one storage together: the second and later take none."""
    groups: dict[Any, list[str]] = {}
    for name, tensor in state.items():
        where = (tensor.device, tensor.data_ptr()) if tensor.numel() else name
        groups.setdefault(where, []).append(name)
    return {
        name: _Size(0 if number else state[name].nbytes)
        for names in groups.values()
        for number, name in enumerate(names)
    }
