"""From a folder to a packed model: one that was saved packed, or a checkpoint, packed while it is read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pegasus.backends.packed.folder import load_packed
from pegasus.backends.packed.layouts import PanelPacker
from pegasus.backends.packed.packing import pack_tensors
from pegasus.backends.packed.weights import Kind, PackedWeights, kind_of
from pegasus.backends.threads import threads_for
from pegasus.checkpoint.files import Weights, is_packed
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.errors import BadSetting, CheckpointNotFound
from pegasus.spec.config import PegasusConfig

logger = logging.getLogger(__name__)


def open_weights(folder: Path, dtype: Any = "auto", threads: int | None = None) -> PackedWeights:
    """The packed weights of a folder.

    Args:
        folder: a packed model, or a checkpoint.
        dtype: "float32", "bfloat16", "float16" or "int8". "auto" is what a packed folder holds; of a
            checkpoint it loses nothing: float16 where that is what its files hold, float32 elsewhere.
        threads: how many threads pack; None: ``usual_threads()``.

    Raises:
        BadSetting: there is no such dtype, a packed folder holds another one, or more threads than
            processors are asked for.
        CheckpointNotFound: something is missing.
        CheckpointCorrupt: a file is damaged, or packed in another version of the format.
        CheckpointMismatch: the weights are not those of the configuration.
    """
    threads = threads_for(threads)
    if is_packed(folder):
        weights = load_packed(folder, threads=threads)
        if dtype != "auto" and kind_of(dtype) != weights.kind:
            raise BadSetting(
                f"{folder} is packed as {weights.kind}, and {dtype} was asked for: leave dtype at 'auto', "
                f"or pack the checkpoint it came from with --dtype {kind_of(dtype)}."
            )
        return weights
    if not (folder / "config.json").is_file():
        raise CheckpointNotFound(f"{folder} has no config.json: give the folder of a saved model.")
    config = PegasusConfig.from_json_file(folder / "config.json")
    stored = open_checkpoint(folder)
    kind = _lossless(stored) if dtype == "auto" else kind_of(dtype)
    return pack_tensors(stored.tensors, config, kind, PanelPacker(threads), str(folder))


def _lossless(stored: Weights) -> Kind:
    """The shortest kind that computes exactly what float32 does.

    Not bfloat16: its kernels round what is multiplied too.
    """
    kinds = {tensor.dtype for tensor in stored.tensors.values()}
    return "float16" if kinds == {"F16"} else "float32"
