"""The table of checkpoint formats (files, readers, writers, how names are spelled), opening and adding.

Whoever opens weights gets them by canonical name and turned as PyTorch has them, whatever wrote them. A new
format is one file with a reader and a writer, and one row here. The authors' own checkpoints are no such
folders: ``conversion`` makes these of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pegasus.checkpoint.files import (
    Format,
    Tensors,
    Weights,
    nothing_found,
    read_sharded,
    read_spelled_safetensors,
    with_variant,
)
from pegasus.checkpoint.raw import RawTensor, TurnedTensor
from pegasus.checkpoint.writing import Staging, shard_names
from pegasus.errors import CheckpointCorrupt, CheckpointNotFound
from pegasus.spec.names import FLAX, KERAS, PYTORCH, Spelling

Read = Callable[[Path], tuple[Tensors, Spelling]]
Add = Callable[[Staging, str, Tensors], None]


@dataclass(frozen=True)
class Row:
    """One format.

    Attributes:
        name: what it is called.
        single: the file of a checkpoint in one piece.
        index: the list of the files of one in several.
        read: a file → its tensors by the names that it gives them, and how those are spelled.
        spelling: how names are spelled when it is written.
        add: adds a file of tensors, by such names, to a folder.
        add_shard: the same for one of several files, where that is another thing.
        listed: a name → what the list of files calls it.
    """

    name: Format
    single: str
    index: str
    read: Read
    spelling: Spelling
    add: Add
    add_shard: Add | None = None
    listed: Callable[[str], str] = str


def _add_safetensors(staging: Staging, name: str, tensors: Tensors) -> None:
    staging.add_tensors(name, tensors, {"format": "pt"})


# Who opens safetensors, which is nearly everybody, does not wait for what reads and writes the others.


def _read_bin(path: Path) -> tuple[Tensors, Spelling]:
    from pegasus.checkpoint.foreign import read_bin

    return read_bin(path), PYTORCH


def _add_bin(staging: Staging, name: str, tensors: Tensors) -> None:
    from pegasus.checkpoint.bin_writing import write_bin

    staging.add_written(name, lambda path: write_bin(path, tensors))


def _read_msgpack(path: Path) -> tuple[Tensors, Spelling]:
    from pegasus.checkpoint.flax_file import read_msgpack

    return read_msgpack(path), FLAX


def _add_msgpack(staging: Staging, name: str, tensors: Tensors) -> None:
    from pegasus.checkpoint.flax_file import msgpack_parts

    staging.add_parts(name, msgpack_parts(tensors))


def _read_h5(path: Path) -> tuple[Tensors, Spelling]:
    from pegasus.checkpoint.keras_file import read_h5

    return read_h5(path), KERAS


def _add_h5(staging: Staging, name: str, tensors: Tensors) -> None:
    from pegasus.checkpoint.keras_file import write_h5

    staging.add_written(name, lambda path: write_h5(path, tensors))


def _add_h5_shard(staging: Staging, name: str, tensors: Tensors) -> None:
    from pegasus.checkpoint.keras_file import write_h5_shard

    staging.add_written(name, lambda path: write_h5_shard(path, tensors))


def _listed_in_h5(name: str) -> str:
    from pegasus.checkpoint.keras_file import shard_name

    return shard_name(name)


#: In the order in which they are looked for: safe and mapped formats first.
FORMATS: tuple[Row, ...] = (
    Row(
        "safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
        read_spelled_safetensors,
        PYTORCH,
        _add_safetensors,
    ),
    Row("bin", "pytorch_model.bin", "pytorch_model.bin.index.json", _read_bin, PYTORCH, _add_bin),
    Row(
        "msgpack", "flax_model.msgpack", "flax_model.msgpack.index.json", _read_msgpack, FLAX, _add_msgpack
    ),
    Row(
        "h5",
        "tf_model.h5",
        "tf_model.h5.index.json",
        _read_h5,
        KERAS,
        _add_h5,
        _add_h5_shard,
        _listed_in_h5,
    ),
)


def open_checkpoint(
    folder: Path, formats: Sequence[Format] | None = None, variant: str | None = None
) -> Weights:
    """The weights of a folder, one file or sharded, in the first of ``formats`` that it holds.

    Nothing is read but names and sizes, where the format keeps numbers as they are in memory.

    Args:
        folder: a checkpoint.
        formats: names of rows of the table; None: all, in its order.
        variant: what stands in the files' names before the ending.

    Raises:
        CheckpointNotFound: no weights, or a shard is missing; names every one.
        CheckpointCorrupt: a file is not what its name says.
        BackendMissing: a package that reads this format is not installed.
    """
    rows = [row for row in FORMATS if formats is None or row.name in formats]
    for row in rows:
        single, index = (folder / with_variant(name, variant) for name in (row.single, row.index))
        if single.is_file():
            tensors, spelling = row.read(single)
            return Weights(row.name, (single,), canonical(folder, tensors, spelling))
        if index.is_file():
            files, tensors, spelling = read_sharded(index, row.read)
            return Weights(row.name, files, canonical(folder, tensors, spelling))
    raise CheckpointNotFound(nothing_found(folder, [with_variant(row.single, variant) for row in rows]))


def canonical(folder: Path, tensors: Tensors, spelling: Spelling) -> Mapping[str, RawTensor]:
    """The same tensors by their canonical names, matrices turned where the framework turns them."""
    if spelling is PYTORCH:
        return tensors
    found: dict[str, RawTensor] = {}
    for name, tensor in tensors.items():
        mine, turned = spelling.canonical(name)
        if mine in found:
            raise CheckpointCorrupt(
                f"{folder} holds {mine} twice, the second time as {name}: fetch it again."
            )
        found[mine] = TurnedTensor(tensor) if turned and len(tensor.shape) == 2 else tensor
    return found


def row_of(name: Format) -> Row:
    """The row of a format."""
    return next(row for row in FORMATS if row.name == name)


def add_weights(staging: Staging, row: Row, tensors: Mapping[str, RawTensor], limit: int | str) -> None:
    """Adds weights, by the names of their format, in one file or in several with a list of them."""
    shards, total = shard_names(tensors, limit, row.single)
    if len(shards) == 1:
        row.add(staging, row.single, tensors)
        return
    places = {}
    for name, inside in shards:
        (row.add_shard or row.add)(staging, name, {one: tensors[one] for one in inside})
        places.update({row.listed(one): name for one in inside})
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    staging.add_text(row.index, json.dumps(index, indent=2) + "\n")
