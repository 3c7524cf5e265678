"""The format of a run's state: what an engine saves, so that any number of processes can go on from it.

Each process writes one safetensors file, ``rank-RANK-of-COUNT.safetensors``. Its tensors are named::

    model/WEIGHT            a weight by its canonical name (with LoRA: see ``lora.py``), float32
    optim/WEIGHT/KEY        what the optimizer remembers of it
    random/RANK/DEVICE      a process's random numbers, where a framework keeps such a state

A weight or statistic that is spread by rows is written as the rows that the process holds; the metadata
``rows`` says where they begin and how many there are in all. What is whole is written by process 0 alone. A
reader takes the rows it needs from whichever files have them. The metadata ``notes`` are the same in every
file: ``updates`` (done), ``applied`` (those whose gradient was finite, or null where the optimizer does not
count), ``optimizer`` (its name) and ``scale`` (of the loss).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.checkpoint.files import read_safetensors
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.errors import CheckpointCorrupt, CheckpointMismatch

FORMAT = "pegasus-run"


@dataclass(frozen=True)
class Spot:
    """Which rows of a tensor a process holds: ``start`` to ``stop`` of ``total``."""

    start: int
    stop: int
    total: int


def write_state(
    folder: Path,
    rank: int,
    count: int,
    tensors: Mapping[str, RawTensor],
    notes: Mapping[str, Any],
    spots: Mapping[str, Spot] | None = None,
) -> None:
    """Write one process's file.

    Args:
        folder: exists, or is made.
        rank: the number of this process.
        count: how many there are.
        tensors: by name; only process 0 gives those that are whole, but for its random numbers.
        notes: JSON values, the same in all processes.
        spots: of those tensors that are some rows of a larger one.
    """
    rows = {name: [spot.start, spot.total] for name, spot in (spots or {}).items()}
    metadata = {"rows": json.dumps(rows), "notes": json.dumps(dict(notes)), "format": FORMAT}
    with Staging(folder) as staging:
        staging.add_tensors(f"rank-{rank:05d}-of-{count:05d}.safetensors", tensors, metadata)


class SavedState:
    """The files that ``write_state`` left in a folder, read as one.

    Args:
        folder: theirs.

    Raises:
        CheckpointCorrupt: there are none.
    """

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("rank-*.safetensors"))
        if not files:
            raise CheckpointCorrupt(f"{folder} holds no rank-*.safetensors: it is no saved run")
        self.folder = folder
        self.ranks = len(files)
        self.notes: dict[str, Any] = {}
        self._pieces: dict[str, list[tuple[int, RawTensor]]] = {}
        self._totals: dict[str, int] = {}
        for file in files:
            tensors, metadata = read_safetensors(file)
            rows = json.loads(metadata["rows"])
            self.notes = json.loads(metadata["notes"])
            for name, raw in tensors.items():
                start, total = rows.get(name, (0, raw.shape[0] if raw.shape else 0))
                self._pieces.setdefault(name, []).append((start, raw))
                self._totals[name] = total

    def names(self, prefix: str) -> Iterator[str]:
        """The names that start so, without that start."""
        yield from (name.removeprefix(prefix) for name in self._pieces if name.startswith(prefix))

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._pieces

    def require_optimizer(self, name: str) -> None:
        """Refuse a state of another optimizer.

        Raises:
            CheckpointMismatch: names both.
        """
        if (found := self.notes["optimizer"]) != name:
            raise CheckpointMismatch(
                f"{self.folder} was saved by the optimizer {found!r}, this job has {name!r}: "
                "go on with the same one, or start a new run from the exported model"
            )

    def read(self, name: str, spot: Spot | None = None) -> RawTensor:
        """A tensor, or some of its rows, in memory of its own.

        Raises:
            CheckpointMismatch: it is not there, or has other rows.
        """
        if name not in self._pieces:
            raise CheckpointMismatch(f"{self.folder} does not hold {name}: it belongs to another job")
        pieces = sorted(self._pieces[name], key=lambda piece: piece[0])
        if spot is None and len(pieces) == 1:
            whole = pieces[0][1]
            return RawTensor(whole.dtype, whole.shape, whole.data.copy())
        total = self._totals[name]
        wanted = spot or Spot(0, total, total)
        if wanted.total != total:
            raise CheckpointMismatch(
                f"{name} in {self.folder} has {total} rows; the model has {wanted.total}"
            )
        return _rows(pieces, wanted)


def _rows(pieces: list[tuple[int, RawTensor]], wanted: Spot) -> RawTensor:
    """The wanted rows of a tensor out of pieces, each with the number of its first row."""
    some = pieces[0][1]
    size = max((raw.data.nbytes // raw.shape[0] for _, raw in pieces if raw.shape[0]), default=0)
    parts, count = [np.zeros(0, np.uint8)], 0
    for start, raw in pieces:
        first, last = max(wanted.start, start), min(wanted.stop, start + raw.shape[0])
        if first < last:
            parts.append(raw.data[(first - start) * size : (last - start) * size])
            count += last - first
    return RawTensor(some.dtype, (count, *some.shape[1:]), np.concatenate(parts))
