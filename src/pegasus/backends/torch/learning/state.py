"""What a run must remember, in files that any number of processes can read.

Each process writes one safetensors file. Weights and statistics that are spread by rows are written as the
rows that the process holds, with a note of where they begin; the rest is written by process 0. A reader
takes the rows it needs from whichever files have them, so a run goes on with more or fewer processes, and
with as many it goes on bit by bit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from pegasus.backends.torch.learning.optim import WHOLE
from pegasus.backends.torch.raw import from_torch, to_torch
from pegasus.checkpoint.files import read_safetensors
from pegasus.checkpoint.writing import Staging
from pegasus.errors import CheckpointCorrupt, CheckpointMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pegasus.backends.contract import Ranks
    from pegasus.checkpoint.raw import RawTensor


@dataclass(frozen=True)
class Spot:
    """Which rows of a tensor this process holds."""

    start: int
    stop: int
    total: int


def spot(tensor: Tensor) -> Spot | None:
    """The rows of a spread tensor that are here; None for one that is here whole."""
    if not isinstance(tensor, DTensor):
        return None
    total = tensor.shape[0]
    share = -(-total // tensor.device_mesh.size())  # as torch.chunk deals them out
    start = min(tensor.device_mesh.get_local_rank() * share, total)
    return Spot(start, start + tensor.to_local().shape[0], total)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def write(folder: Path, ranks: Ranks, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write this process's file.

    Args:
        folder: exists, or is made.
        ranks: the processes.
        tensors: by name; of those that are whole, only process 0 writes any but its random state.
        notes: JSON values, the same in all processes.
    """
    rows: dict[str, list[int]] = {}
    mine: dict[str, RawTensor] = {}
    for name, tensor in tensors.items():
        place = spot(tensor)
        if place is not None:
            rows[name] = [place.start, place.total]
        elif ranks.rank and not name.startswith("random/"):
            continue
        mine[name] = from_torch(local(tensor))
    metadata = {"rows": json.dumps(rows), "notes": json.dumps(dict(notes)), "format": "pegasus-run"}
    with Staging(folder) as staging:
        staging.add_tensors(f"rank-{ranks.rank:05d}-of-{ranks.count:05d}.safetensors", mine, metadata)


class Saved:
    """The files that ``write`` left in a folder, read as one."""

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

    def read(self, name: str, place: Spot | None = None) -> Tensor:
        """A tensor, or some of its rows, in memory of its own.

        Raises:
            CheckpointMismatch: it is not there, or has other rows.
        """
        if name not in self._pieces:
            raise CheckpointMismatch(f"{self.folder} does not hold {name}: it belongs to another job")
        pieces = sorted(self._pieces[name], key=lambda piece: piece[0])
        if place is None and len(pieces) == 1:
            return to_torch(pieces[0][1]).clone()
        total = self._totals[name]
        wanted = place or Spot(0, total, total)
        if wanted.total != total:
            raise CheckpointMismatch(
                f"{name} in {self.folder} has {total} rows; the model has {wanted.total}"
            )
        parts = []
        for start, raw in pieces:
            tensor = to_torch(raw)
            first, last = max(wanted.start, start), min(wanted.stop, start + tensor.shape[0])
            if first < last:
                parts.append(tensor[first - start : last - start])
        return torch.cat(parts) if parts else to_torch(pieces[0][1])[:0].clone()


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """What the optimizer remembers, as ``optim/WEIGHT/KEY``."""
    return {
        f"optim/{names[id(weight)]}/{key}": value
        for weight, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: Mapping[int, str], saved: Saved) -> None:
    """Put back what ``optimizer_tensors`` gave, spread as the weights now are."""
    keys: dict[str, list[str]] = {}
    for full in saved.names("optim/"):
        name, _, key = full.rpartition("/")
        keys.setdefault(name, []).append(key)
    for group in optimizer.param_groups:
        for weight in group["params"]:
            name = names[id(weight)]
            optimizer.state[weight] = {
                key: _placed(saved, f"optim/{name}/{key}", key, weight) for key in keys.get(name, [])
            }


def _placed(saved: Saved, full: str, key: str, weight: Tensor) -> Tensor:
    if key == "step":
        return saved.read(full)
    if key in WHOLE or not isinstance(weight, DTensor):
        return saved.read(full).to(weight.device)
    part = saved.read(full, spot(weight)).to(weight.device)
    shape = torch.Size((weight.shape[0], *part.shape[1:]))
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        part, weight.device_mesh, weight.placements, run_check=False, shape=shape, stride=stride
    )
