"""A student beside its teacher: which of its layers were copied, and how far the others have moved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.report import fit
from pegasus.spec.config import PegasusConfig

_LAYER = re.compile(r"(?:model\.)?(encoder|decoder)\.layers\.(\d+)\.(.+)")
Tensors = Mapping[str, RawTensor]


@dataclass(frozen=True)
class Likeness:
    """What a part of a student is like in its teacher.

    Attributes:
        part: of the student: "encoder layer 3", "embeddings", "encoder norm" and the like, layers from 0.
        source: the likest part of the teacher; "" where it has none of the same shape.
        equal: tensors that are the same bit by bit.
        tensors: how many the part has.
        distance: of all its numbers, ‖student - teacher‖ / ‖teacher‖; 0 where all are equal.
    """

    part: str
    source: str
    equal: int
    tensors: int
    distance: float


def compare(student: Path, teacher: Path) -> Iterator[Likeness]:
    """Find for each part of a student the part of its teacher that it is likest, embeddings first.

    Numbers of different types (float16, float32) are equal when one is the other rounded to its type.

    Raises:
        CheckpointNotFound: one of the folders holds no checkpoint.
    """
    mine, theirs = _parts(student), _parts(teacher)
    for part, tensors in mine.items():
        kind = part.rstrip("0123456789")
        offers = [
            (*_distance(tensors, other), name)
            for name, other in theirs.items()
            if name.rstrip("0123456789") == kind and _same_shapes(tensors, other)
        ]
        distance, equal, source = min(offers, default=(float("nan"), 0, ""), key=lambda offer: offer[0])
        yield Likeness(part, source, equal, len(tensors), distance)


def _parts(folder: Path) -> dict[str, dict[str, RawTensor]]:
    config = PegasusConfig.from_pretrained(folder)
    found: dict[str, dict[str, RawTensor]] = {"embeddings": {}}
    for name, tensor in fit(open_checkpoint(folder).tensors, config, "conditional").sources.items():
        layer = _LAYER.fullmatch(name)
        if layer is not None:
            found.setdefault(f"{layer[1]} layer {layer[2]}", {})[layer[3]] = tensor
        elif name.endswith(("shared.weight", "lm_head.weight")):
            found["embeddings"][name] = tensor
        elif "layer_norm" in name:
            found.setdefault(f"{name.split('.')[-3]} norm", {})[name] = tensor
    return found


def _same_shapes(one: Tensors, other: Tensors) -> bool:
    shapes = ({name: tensor.shape for name, tensor in some.items()} for some in (one, other))
    return next(shapes) == next(shapes)


def _distance(one: Tensors, other: Tensors) -> tuple[float, int]:
    """How far the parts are from each other, and how many of their tensors are the same."""
    apart = size = 0.0
    equal = 0
    for name, tensor in one.items():
        mine, theirs = tensor.array(), other[name].array()
        narrow = min(mine.dtype, theirs.dtype, key=lambda dtype: dtype.itemsize)
        equal += bool((mine.astype(narrow) == theirs.astype(narrow)).all())
        here, there = (array.astype(np.float32) for array in (mine, theirs))
        apart += float(((here - there) ** 2).sum(dtype=np.float64))
        size += float((there**2).sum(dtype=np.float64))
    return (0.0 if equal == len(one) else float(np.sqrt(apart / max(size, 1e-30)))), equal
