"""From any checkpoint to any format: what is there, what becomes of each tensor, and the writing of it.

Nothing is read but names and shapes until a file is written, and then one tensor at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from pegasus.checkpoint.authors import Wishes, read_authors_flax, read_authors_tensorflow
from pegasus.checkpoint.authors_writing import (
    authors_name,
    authors_tensor,
    differences,
    refuse_what_authors_lack,
)
from pegasus.checkpoint.bundle.reading import find_bundle
from pegasus.checkpoint.bundle.writing import add_bundle
from pegasus.checkpoint.dtypes import cast
from pegasus.checkpoint.files import Format
from pegasus.checkpoint.flax_file import msgpack_parts
from pegasus.checkpoint.formats import FORMATS, add_weights, open_checkpoint, row_of
from pegasus.checkpoint.raw import FLOATS, RawTensor, turned
from pegasus.checkpoint.report import fit
from pegasus.checkpoint.source import Source, refuse_strangers, refuse_strangers_by_type
from pegasus.checkpoint.writing import Staging
from pegasus.errors import BadSetting, CheckpointMismatch, CheckpointNotFound, NotOffered
from pegasus.spec.config import PegasusConfig
from pegasus.spec.files import read_object
from pegasus.spec.parameters import Model, parameters
from pegasus.spec.positions import sinusoid_table

#: Every format that can be written.
TARGETS: tuple[Format, ...] = get_args(Format)
#: Those that the authors' code reads.
AUTHORS = ("tf-checkpoint", "flax-checkpoint")

#: Endings of files in folders with ``config.json``; the authors' Flax files usually have none.
_OURS = (".safetensors", ".bin", ".h5", ".json")
_FLAX_STATE = re.compile(r"checkpoint_\d+")
_BUNDLE = "model.ckpt"
_FLAX_FILE = "checkpoint_0"
_DTYPES = {word: name for name, word in FLOATS.items()}
#: Files of a folder that belong to the model whatever format its weights have.
TEXTS = (
    *("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer.json", "spiece.model", "config.json"),
)
_WEIGHTS = re.compile(
    r"\.(safetensors|bin|msgpack|h5|onnx|pt2|index|index\.json)$|\.data-\d+-of-\d+$|^checkpoint_\d+$"
)
_POSITIONS_DIFFER = 1e-5  # more than two computations of the same sine do, and float16 rounds coarser


def open_source(place: Path, wishes: Wishes | None = None) -> Source:
    """A checkpoint of any kind: a folder, the authors' TensorFlow files, or a file of their Flax code.

    Args:
        place: a folder, what stands before ``.index``, or a Flax file.
        wishes: what the authors' files do not say; None where nothing was said about it.

    Raises:
        CheckpointNotFound: nothing is there that can be read.
        CheckpointMismatch: tensors are unknown, missing or of another shape.
        BadSetting: wishes for a checkpoint that says everything itself.
        NotOffered: a model of another family.
        CheckpointCorrupt: a file is damaged.
    """
    ours = place.is_dir() and any(
        (place / name).is_file() for row in FORMATS for name in (row.single, row.index)
    )
    if not ours:
        prefix = find_bundle(place)
        if prefix is not None:
            return read_authors_tensorflow(prefix, wishes or Wishes())
        if place.suffix in _OURS:
            raise CheckpointNotFound(
                f"{place} is one file of a checkpoint, which is a folder with config.json: give "
                f"{place.parent}."
            )
        flax = place if place.is_file() else _only_flax_state(place)
        if flax is not None:
            return read_authors_flax(flax, wishes or Wishes())
    if wishes is not None:
        raise BadSetting(
            f"{place} says itself what it is: whose outputs it gives, heads and lengths are options for "
            "the authors' own checkpoints. Leave them out."
        )
    return _read_folder(place)


def _only_flax_state(place: Path) -> Path | None:
    found = (
        sorted(path for path in place.iterdir() if _FLAX_STATE.fullmatch(path.name))
        if place.is_dir()
        else []
    )
    if len(found) > 1:
        raise BadSetting(f"{place} holds {len(found)} Flax checkpoints: name one, such as {found[-1]}.")
    return found[0] if found else None


def _read_folder(folder: Path) -> Source:
    """A folder with ``config.json``."""
    if not folder.is_dir():
        raise CheckpointNotFound(
            f"There is no checkpoint {folder}: give a folder, or what stands before .index."
        )
    weights = open_checkpoint(folder)
    refuse_strangers_by_type(folder, read_object(folder / "config.json").get("model_type"))
    refuse_strangers(folder, weights.tensors)
    config = PegasusConfig.from_pretrained(folder)
    fitted = fit(weights.tensors, config, model_of(weights.tensors))
    report = fitted.report
    if report.lines():
        raise CheckpointMismatch(
            f"Not all of {folder} is what its configuration says. {'. '.join(report.lines())}. Use the "
            "config.json that belongs to it."
        )
    tensors = dict(fitted.sources)
    computed = [
        name
        for name in tensors
        if name.endswith("embed_positions.weight") and _is_computed(tensors[name], config)
    ]
    for name in computed:
        del tensors[name]
    originals = {id(tensor): name for name, tensor in weights.tensors.items()}
    names = {name: originals[id(tensor)] for name, tensor in tensors.items()}
    copies = tuple(sorted(set(weights.tensors) - set(names.values())))
    return Source(weights.format, folder, config, tensors, names, copies)


def _is_computed(tensor: RawTensor, config: PegasusConfig) -> bool:
    table = sinusoid_table(tensor.shape[0], tensor.shape[1], config.position_table)
    coarse = {"F16": 1e-3, "BF16": 8e-3}.get(tensor.dtype, _POSITIONS_DIFFER)
    return bool(np.abs(tensor.array() - table).max(initial=0) < coarse)


# -- what becomes of it ---------------------------------------------


@dataclass(frozen=True)
class Renamed:
    """A tensor under its new name.

    Attributes:
        canonical: its canonical name; None for what the source does not have.
        name: what the format calls it.
        tensor: turned, shaped and rounded as it will be written.
    """

    canonical: str | None
    name: str
    tensor: RawTensor


@dataclass(frozen=True)
class Conversion:
    """A source and what it shall become.

    Attributes:
        source: the checkpoint.
        to: the format.
        dtype: "float32", "float16", "bfloat16", "float64"; None: as it is.
        max_shard_size: bytes a file, as in ``save_pretrained``; the authors' formats are one file.
    """

    source: Source
    to: Format = "safetensors"
    dtype: str | None = None
    max_shard_size: int | str = "5GB"

    def tensors(self) -> list[Renamed]:
        """Every tensor of the new checkpoint.

        Raises:
            NotOffered: the format has no place for one.
        """
        wanted = None if self.dtype is None else _DTYPES[self.dtype]
        leaves = parameters(self.source.config, model_of(self.source.tensors))
        held = ((name, self.source.tensors[name]) for name in leaves if name in self.source.tensors)
        cast_to = {name: cast(name, tensor, wanted) for name, tensor in held}
        if self.to in AUTHORS:
            return self._as_authors(cast_to)
        row = row_of(self.to)
        found = []
        for name, tensor in cast_to.items():
            if self.to == "msgpack" and leaves[name].kind == "positions":
                raise NotOffered(
                    f"Flax computes positions, and {name} of {self.source.place} is no table that it "
                    "computes: choose another format."
                )
            turn = row.spelling.turned and leaves[name].kind == "kernel"
            found.append(
                Renamed(name, row.spelling.spell(leaves[name]), turned(tensor) if turn else tensor)
            )
        return found

    def _as_authors(self, tensors: Mapping[str, RawTensor]) -> list[Renamed]:
        config = self.source.config
        refuse_what_authors_lack(config, tensors)
        leaves = parameters(config, "conditional").values()
        if self.to == "tf-checkpoint":
            found = [Renamed(None, "global_step", RawTensor.from_array(np.array(0, np.int64)))]
        else:
            found = []
        for leaf in leaves:
            name = authors_name(self.to, leaf)
            if name is not None:
                found.append(
                    Renamed(leaf.name, name, authors_tensor(self.to, config, leaf, tensors[leaf.name]))
                )
        return found

    def lines(self) -> Iterator[str]:
        """What becomes of each tensor, one a line, then what is left out."""
        origins = self.source.names
        for one in self.tensors():
            origin = "(made)" if one.canonical is None else origins.get(one.canonical, "(zeros)")
            yield f"{origin} -> {one.name}  {one.tensor.dtype} {list(one.tensor.shape)}"
        for name in self.source.skipped:
            yield f"{name} -> (left out)"

    def warnings(self) -> list[str]:
        """What whoever reads the new checkpoint will compute otherwise."""
        return differences(self.source.config) if self.to in AUTHORS else []

    # -- writing -------------------------------------------------------------------------------------------

    def write(self, folder: Path, texts: Mapping[str, bytes] | None = None) -> None:
        """Writes all of it, or nothing.

        Args:
            folder: made when it does not exist; it must hold no weights.
            texts: more files to write, or to write in place of the source's.

        Raises:
            BadSetting: the folder holds weights, or a number does not fit into the type.
            CheckpointCorrupt: a file of the source is damaged.
        """
        refuse_weights(folder)
        tensors = {one.name: one.tensor for one in self.tensors()}
        files = {**self._texts(), **(texts or {})}
        with Staging(folder) as staging:
            if self.to == "tf-checkpoint":
                add_bundle(staging, _BUNDLE, tensors)
            elif self.to == "flax-checkpoint":
                staging.add_parts(_FLAX_FILE, msgpack_parts({f"params/{n}": t for n, t in tensors.items()}))
            else:
                add_weights(staging, row_of(self.to), tensors, self.max_shard_size)
            for name, content in files.items():
                staging.add_bytes(name, content)

    def _texts(self) -> dict[str, bytes]:
        """The source's text files, its configuration last, with the type of the new numbers."""
        source = self.source
        found = {name: text.encode() for name, text in source.texts.items()}
        if not found:
            found = {n: (source.place / n).read_bytes() for n in TEXTS if (source.place / n).is_file()}
        if self.to in AUTHORS:
            return {name: content for name, content in found.items() if name == "spiece.model"}
        if self.dtype is not None:
            values = json.loads(found["config.json"])
            values["dtype" if "dtype" in values else "torch_dtype"] = self.dtype
            found["config.json"] = (
                json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            ).encode()
        return found


def model_of(tensors: Mapping[str, RawTensor]) -> Model:
    """Whether it is a whole model or a decoder alone."""
    return "conditional" if any("encoder." in name for name in tensors) else "causal"


def refuse_weights(folder: Path) -> None:
    """A folder with weights of whatever format would hold two checkpoints afterwards.

    Raises:
        BadSetting: it holds some, or is a file.
    """
    if folder.is_file():
        raise BadSetting(f"{folder} is a file, and a folder is written: name another.")
    there = (
        sorted(path.name for path in folder.iterdir() if _WEIGHTS.search(path.name))
        if folder.is_dir()
        else []
    )
    if there:
        raise BadSetting(f"{folder} holds weights already ({', '.join(there[:4])}): give another folder.")
