"""A packed model on disk: ``packed.safetensors`` with a version and a hash of every array, and json beside.

Opening maps the file into memory: what lies in it is what the kernels read, and nothing is copied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pegasus.backends.native.records import Linear
from pegasus.backends.packed.layouts import ALIGNMENT, packer_of
from pegasus.backends.packed.packing import places
from pegasus.backends.packed.weights import KINDS, PackedWeights, kind_of
from pegasus.checkpoint.files import PACKED as FILE, is_packed, read_safetensors
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.errors import CheckpointCorrupt, CheckpointNotFound
from pegasus.hub import TOKENIZER_FILES
from pegasus.spec.config import PegasusConfig

if TYPE_CHECKING:
    from pegasus.generation.config import GenerationConfig

FORMAT, VERSION = "pegasus-packed", "1"
_AGAIN = "pack the checkpoint again with `pegasus pack`"


def save_packed(
    folder: Path, weights: PackedWeights, generation_config: GenerationConfig, source: Path | None = None
) -> None:
    """Writes a packed model; all files appear, or none.

    Args:
        folder: made when it does not exist.
        weights: the packed weights.
        generation_config: where ``generate`` starts from.
        source: a checkpoint whose tokenizer is copied too.
    """
    arrays = weights.arrays()
    shapes = {name: [linear.outputs, linear.inputs] for name, linear in weights.linears.items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "dtype": weights.kind,
        "layout": weights.layout,
        "shapes": json.dumps(shapes),
        "sha256": json.dumps(_hashes(arrays)),
    }
    with Staging(folder) as staging:
        tensors = {name: RawTensor.from_array(array) for name, array in arrays.items()}
        staging.add_tensors(FILE, tensors, metadata, alignment=ALIGNMENT)
        for name, content in _tokenizer(source, folder):
            staging.add_bytes(name, content)
        staging.add_text("generation_config.json", generation_config.to_json_string().rstrip("\n") + "\n")
        staging.add_text("config.json", weights.config.to_json_string() + "\n")


def load_packed(folder: Path, *, verify: bool = True, threads: int = 1) -> PackedWeights:
    """The packed weights of a folder, memory-mapped.

    Args:
        folder: written by ``save_packed``.
        verify: compare every array with its hash, which reads all of it once.
        threads: how many threads compare.

    Raises:
        CheckpointNotFound: there is no packed model.
        CheckpointCorrupt: it is of another version, damaged, or not that of its config.json.
    """
    path = folder / FILE
    if not is_packed(folder):
        raise CheckpointNotFound(f"{folder} holds no {FILE}: {_AGAIN}.")
    config = PegasusConfig.from_json_file(folder / "config.json")
    tensors, metadata = read_safetensors(path)
    shapes, hashes = _checked_metadata(path, metadata)
    arrays = {name: np.asarray(tensor.array()) for name, tensor in tensors.items()}
    if verify:
        _compare(path, arrays, hashes, threads)
    weights = _assembled(config, metadata, shapes, arrays)
    _require_whole(path, weights)
    return weights


def _checked_metadata(path: Path, metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    if metadata.get("format") != FORMAT:
        raise CheckpointCorrupt(
            f"{path} was not written by this package (its format is {metadata.get('format')!r}): {_AGAIN}."
        )
    if metadata.get("version") != VERSION:
        raise CheckpointCorrupt(
            f"{path} has version {metadata.get('version')!r} of the packed format, and this package reads "
            f"version {VERSION!r}: {_AGAIN}."
        )
    if metadata.get("dtype") not in KINDS or packer_of(metadata.get("layout", "")) is None:
        raise CheckpointCorrupt(
            f"{path} keeps {metadata.get('dtype')!r} in the layout {metadata.get('layout')!r}, and that is "
            f"not known here: {_AGAIN}."
        )
    try:
        return json.loads(metadata["shapes"]), json.loads(metadata["sha256"])
    except (KeyError, ValueError) as problem:
        raise CheckpointCorrupt(f"The header of {path} is damaged ({problem!r}): {_AGAIN}.") from None


def _assembled(
    config: PegasusConfig,
    metadata: Mapping[str, str],
    shapes: Mapping[str, tuple[int, int]],
    arrays: dict[str, np.ndarray],
) -> PackedWeights:
    kind = kind_of(metadata["dtype"])
    linears = {}
    for name, (outputs, inputs) in shapes.items():
        parts = [arrays.pop(f"{name}.{part}", None) for part in ("weights", "scale", "sums", "bias")]
        weights = np.zeros(0, np.uint8) if parts[0] is None else parts[0]
        linears[name] = Linear(kind, outputs, inputs, weights, *parts[1:])
    return PackedWeights(config, kind, metadata["layout"], linears, arrays)


def _require_whole(path: Path, weights: PackedWeights) -> None:
    """Every matrix and vector that the configuration asks for, in its size."""
    packer = packer_of(weights.layout)
    assert packer is not None
    wrong = [name for name in _needed(weights.config) if name not in weights.linears]
    wrong += [
        name
        for name in _norms(weights.config)
        if len(weights.vectors.get(name, ())) != weights.config.d_model
    ]
    for name, linear in weights.linears.items():
        sized = linear.weights.nbytes == packer.nbytes(weights.kind, linear.outputs, linear.inputs)
        scaled = linear.kind != "int8" or all(
            part is not None and len(part) == linear.outputs for part in (linear.scale_N, linear.sums_N)
        )
        if not sized or not scaled:
            wrong.append(name)
    head = weights.linears.get("head")
    if head is not None and (head.outputs, head.inputs) != (
        weights.config.vocab_size,
        weights.config.d_model,
    ):
        wrong.append("head")
    if wrong:
        raise CheckpointCorrupt(
            f"{path} is not the packed model of the config.json beside it: {', '.join(wrong[:6])} "
            f"{'is' if len(wrong) == 1 else 'are'} missing or of another size: {_AGAIN}."
        )


def _needed(config: PegasusConfig) -> list[str]:
    tables = ["head"] if config.tie_word_embeddings else ["head", "embedding"]
    return [*tables, *(name for name, _ in places(config))]


def _norms(config: PegasusConfig) -> list[str]:
    names = ["encoder.layer_norm", "decoder.layer_norm"]
    for side, count in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        kinds = ("self_attn", "final") if side == "encoder" else ("self_attn", "encoder_attn", "final")
        names += [f"{side}.layers.{layer}.{kind}_layer_norm" for layer in range(count) for kind in kinds]
    return [f"{name}.{part}" for name in names for part in ("weight", "bias")]


def _hash(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def _hashes(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {name: _hash(array) for name, array in arrays.items()}


def _compare(path: Path, arrays: Mapping[str, np.ndarray], hashes: Mapping[str, str], threads: int) -> None:
    # hashlib lets go of the interpreter's lock: threads really hash side by side.
    largest_first = sorted(arrays, key=lambda name: -arrays[name].nbytes)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        found = dict(zip(largest_first, pool.map(lambda name: _hash(arrays[name]), largest_first)))
    altered = [name for name, value in found.items() if hashes.get(name) != value]
    altered += [name for name in hashes if name not in found]
    if altered:
        raise CheckpointCorrupt(
            f"{path} is damaged: {len(altered)} of its {len(hashes)} arrays are not what was written "
            f"({', '.join(altered[:3])}): copy it again, or {_AGAIN}."
        )


def _tokenizer(source: Path | None, folder: Path) -> list[tuple[str, bytes]]:
    if source is None or source.resolve() == folder.resolve():
        return []
    names = [name for name in TOKENIZER_FILES if name != "config.json" and (source / name).is_file()]
    return [(name, (source / name).read_bytes()) for name in names]
