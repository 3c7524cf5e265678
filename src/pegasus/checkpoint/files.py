"""How safetensors files and lists of shards are read, and what is said where there are none.

Nothing here trusts a file: every offset, name and size is checked before the first byte of a tensor is
touched, and reading the weights of a folder costs no memory until somebody looks at them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pegasus.checkpoint.raw import ITEM_SIZES, MappedFile, RawTensor
from pegasus.errors import CheckpointCorrupt, CheckpointNotFound, NotOffered
from pegasus.spec.names import FLAX_DOTTED, KERAS, PYTORCH, Spelling

#: The one file of weights of a packed model, see ``backends.packed.folder``.
PACKED = "packed.safetensors"
#: The decoder of an exported model, see ``backends.onnx``.
EXPORTED = "decoder.onnx"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_VARIANT = re.compile(
    r"(?:model|pytorch_model)(?:\.(\w+)(?:\.safetensors|\.bin)|\.(?:safetensors|bin)\.index\.(\w+)\.json)"
)
_HEADER_LIMIT = 100_000_000  # bytes, as the safetensors library has it

#: Weight files of other frameworks, to say what is there when nothing can be read.
_FOREIGN_NAMES = {
    "model.bin": "CTranslate2 (model.bin)",
    "rust_model.ot": "rust-bert (rust_model.ot)",
}

#: The last two are the authors': they are converted and not opened as they are.
Format = Literal["safetensors", "bin", "msgpack", "h5", "tf-checkpoint", "flax-checkpoint"]
Tensors = Mapping[str, RawTensor]
#: Who wrote a safetensors file, by its metadata → how names are spelled in it.
_WRITERS = {"pt": PYTORCH, "np": PYTORCH, "flax": FLAX_DOTTED, "tf": KERAS}


@dataclass(frozen=True)
class Weights:
    """The weights of a folder, not yet read.

    Attributes:
        format: which kind of file they came from.
        files: the files, in order.
        tensors: by canonical name.
    """

    format: Format
    files: tuple[Path, ...]
    tensors: Mapping[str, RawTensor]


def with_variant(name: str, variant: str | None) -> str:
    """The name of a file of a variant: ``model.safetensors`` of "fp16" is ``model.fp16.safetensors``."""
    stem, _, ending = name.rpartition(".")
    return name if variant is None else f"{stem}.{variant}.{ending}"


def is_packed(folder: Path) -> bool:
    """Whether a folder holds a packed model."""
    return (folder / PACKED).is_file()


def is_exported(folder: Path) -> bool:
    """Whether a folder holds a model for ONNX Runtime."""
    return (folder / EXPORTED).is_file()


def read_index(path: Path) -> dict[str, str]:
    """The ``weight_map`` of an index of shards: tensor name → file name.

    Raises:
        CheckpointCorrupt: it is no JSON, has no such map, or a file name leads out of the folder.
    """
    content = _parse_json(path.read_bytes(), path, "fetch it again")
    shards = content.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise CheckpointCorrupt(
            f"{path} has no `weight_map`, found {sorted(content)}: fetch the index again."
        )
    for tensor, name in shards.items():
        if not isinstance(name, str) or not _is_plain(name):
            raise CheckpointCorrupt(
                f"{path} says that {tensor} lies in {name!r}, which is not a file beside it: do not use "
                "this checkpoint."
            )
    return shards


def read_safetensors(path: Path) -> tuple[dict[str, RawTensor], dict[str, str]]:
    """The tensors of one safetensors file, memory-mapped, and its metadata.

    Raises:
        CheckpointCorrupt: the header or an offset is wrong, or the file is cut short.
    """
    mapped = MappedFile(path)
    header, start = _header(mapped)
    metadata = header.pop("__metadata__", {})
    entries = {name: _entry(path, name, entry) for name, entry in header.items()}
    _require_seamless(path, entries, len(mapped.bytes) - start)
    tensors = {
        name: mapped.tensor(dtype, shape, start + first)
        for name, (dtype, shape, first, _) in entries.items()
    }
    return tensors, metadata if isinstance(metadata, dict) else {}


def read_spelled_safetensors(path: Path) -> tuple[Tensors, Spelling]:
    """The tensors of a file, and how its writer spells their names.

    Raises:
        NotOffered: nobody known wrote it.
    """
    tensors, metadata = read_safetensors(path)
    writer = metadata.get("format", "pt")
    if writer not in _WRITERS:
        raise NotOffered(
            f"{path} was written by {writer!r}, whose names are not known: take the PyTorch files of this "
            "checkpoint."
        )
    return tensors, _WRITERS[writer]


def read_sharded(
    index: Path, read: Callable[[Path], tuple[Tensors, Spelling]]
) -> tuple[tuple[Path, ...], Tensors, Spelling]:
    """The files that an index names, and their tensors.

    Raises:
        CheckpointNotFound: a file is missing; names every one.
        CheckpointCorrupt: a file lacks what the index says of it.
    """
    shards = read_index(index)
    files = [index.parent / name for name in sorted(set(shards.values()))]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise CheckpointNotFound(
            f"{len(missing)} of the {len(files)} weight files that {index} names are missing "
            f"({', '.join(missing)}): fetch the whole checkpoint again."
        )
    read_files = {path.name: read(path) for path in files}
    spelling = read_files[files[0].name][1]
    contents = {
        name: {_plain(spelling, tensor): (tensor, raw) for tensor, raw in tensors.items()}
        for name, (tensors, _) in read_files.items()
    }
    # transformers' h5 files hold other names than their index: the model's name stands before these.
    lost = [tensor for tensor, name in shards.items() if _plain(spelling, tensor) not in contents[name]]
    if lost:
        raise CheckpointCorrupt(
            f"{index} names {len(lost)} tensors that its files do not hold ({_some(lost)}): "
            "index and files belong to different saves, fetch the whole checkpoint again."
        )
    found = [contents[name][_plain(spelling, tensor)] for tensor, name in shards.items()]
    return tuple(files), dict(found), spelling


def _plain(spelling: Spelling, name: str) -> str:
    return name if spelling is PYTORCH else spelling.canonical(name)[0]


def _header(mapped: MappedFile) -> tuple[dict[str, Any], int]:
    """The JSON at the start of a safetensors file, and where the numbers begin."""
    path, size = mapped.path, len(mapped.bytes)
    length = int.from_bytes(mapped.bytes[:8].tobytes(), "little")
    if size < 8 or length > _HEADER_LIMIT or mapped.bytes[8:9].tobytes() not in (b"{", b""):
        raise CheckpointCorrupt(
            f"{path} is no safetensors file (its {size:,} bytes start otherwise): fetch it again."
        )
    if 8 + length > size:
        raise CheckpointCorrupt(
            f"{path} is cut short: its header alone should end at byte {8 + length:,}, the file has "
            f"{size:,}. "
            "Fetch or save it again."
        )
    header = _parse_json(
        mapped.bytes[8 : 8 + length].tobytes(), path, "its header is damaged, fetch it again"
    )
    return header, 8 + length


def _entry(path: Path, name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """One tensor's line in the header, checked: dtype, shape, first byte, byte after the last."""
    try:
        dtype, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        fits = all(type(number) is int and number >= 0 for number in (*shape, first, last))
        fits = fits and isinstance(dtype, str)
    except (TypeError, KeyError, ValueError):
        fits = False
    if not fits:
        raise CheckpointCorrupt(
            f"{path} describes the tensor {name!r} as {str(entry)[:120]}: its header is damaged."
        )
    if dtype not in ITEM_SIZES:
        raise CheckpointCorrupt(
            f"{path} keeps {name!r} as numbers of type {dtype!r}, which is not known here: convert it to "
            "F32, F16 or BF16."
        )
    if last - first != math.prod(shape) * ITEM_SIZES[dtype]:
        raise CheckpointCorrupt(
            f"{path} gives the tensor {name!r} {last - first:,} bytes, but {dtype} of shape {list(shape)} "
            "has "
            f"{math.prod(shape) * ITEM_SIZES[dtype]:,}: its header is damaged, fetch it again."
        )
    return dtype, shape, first, last


def _require_seamless(
    path: Path, entries: Mapping[str, tuple[str, tuple[int, ...], int, int]], size: int
) -> None:
    """Tensors must follow each other without hole or overlap, and end where the file ends."""
    end = 0
    for name, (_, _, first, last) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if first != end:
            raise CheckpointCorrupt(
                f"{path} places the tensor {name!r} at byte {first:,} of its numbers where {end:,} was "
                "due: "
                "tensors overlap or leave a hole, fetch it again."
            )
        end = last
    if end > size:
        raise CheckpointCorrupt(
            f"{path} is cut short: its tensors take {end:,} bytes and {size:,} are there. Fetch or save "
            "it again."
        )
    if end < size:
        raise CheckpointCorrupt(
            f"{path} has {size - end:,} bytes after its last tensor: fetch or save it again."
        )


def _parse_json(content: bytes, path: Path, advice: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content.decode("utf-8"), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as problem:
        raise CheckpointCorrupt(f"{path} does not hold the JSON it should ({problem}): {advice}.") from None
    if not isinstance(parsed, dict):
        raise CheckpointCorrupt(
            f"{path} holds a {type(parsed).__name__} where a JSON object should be: {advice}."
        )
    return parsed


def _is_plain(name: str) -> bool:
    return name not in ("", "..") and Path(name).name == name and "\\" not in name and ":" not in name


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two entries of one name would make what is loaded a matter of the reader's taste."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def nothing_found(folder: Path, looked_for: Sequence[str]) -> str:
    """What to say of a folder without the files looked for.

    Args:
        folder: the folder.
        looked_for: names of files.
    """
    wanted = " or ".join(looked_for)
    there = sorted(path.name for path in folder.iterdir())
    matches = filter(None, map(_VARIANT.fullmatch, there))
    variants = sorted({match[1] or match[2] for match in matches})
    if variants:
        names = " and ".join(f"variant={variant!r}" for variant in variants)
        return f"{folder} holds no {wanted}, but the weights of {names}: say so when loading."
    shards = [name for name in there if name.endswith((".safetensors", ".bin")) and "-of-" in name]
    if shards:
        return (
            f"{folder} holds shards ({_some(shards)}) but not the index that lists them: the save or "
            "download "
            "was cut off, fetch or save it again."
        )
    if PACKED in there:
        return (
            f"{folder} is packed for inference ({PACKED}), and {wanted} was looked for: open it "
            "with Summarizer or PackedForConditionalGeneration, or give the checkpoint it was packed from."
        )
    theirs = [name for name in there if re.search(r"\.data-\d+-of-\d+$", name)]
    if theirs:
        return (
            f"{folder} holds no {wanted}, only a TensorFlow checkpoint ({_some(theirs)}): `pegasus "
            "convert` makes a model of it."
        )
    foreign = [words for name, words in _FOREIGN_NAMES.items() if name in there]
    if foreign:
        others = " and ".join(foreign)
        return f"{folder} holds no {wanted}, only weights of {others}: convert them to safetensors first."
    found = _some(there) or "nothing"
    return f"{folder} holds no {wanted} (found: {found}): give the folder of a saved model."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
