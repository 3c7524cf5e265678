"""A run's state as PyTorch has it: spread tensors as the rows that are here, read back the same way.

The files and their names are ``pegasus.backends.learning.run_state``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from pegasus.backends.learning.run_state import SavedState, Spot, write_state
from pegasus.backends.torch.learning.adafactor import WHOLE
from pegasus.backends.torch.learning.alike import local
from pegasus.backends.torch.raw import from_torch, to_torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pegasus.backends.contract.learning import Ranks


def spot(tensor: Tensor) -> Spot | None:
    """The rows of a spread tensor that are here; None for one that is here whole."""
    if not isinstance(tensor, DTensor):
        return None
    total = tensor.shape[0]
    share = -(-total // tensor.device_mesh.size())  # as torch.chunk deals them out
    start = min(tensor.device_mesh.get_local_rank() * share, total)
    return Spot(start, start + tensor.to_local().shape[0], total)


def write(folder: Path, ranks: Ranks, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write this process's file; of whole tensors only process 0 writes any but its random state."""
    spots = {name: place for name, tensor in tensors.items() if (place := spot(tensor)) is not None}
    mine = {
        name: from_torch(local(tensor))
        for name, tensor in tensors.items()
        if name in spots or not ranks.rank or name.startswith("random/")
    }
    write_state(folder, ranks.rank, ranks.count, mine, notes, spots)


def read(saved: SavedState, name: str, place: Spot | None = None) -> Tensor:
    """A saved tensor, or some of its rows, in memory of its own.

    Raises:
        CheckpointMismatch: it is not there, or has other rows.
    """
    return to_torch(saved.read(name, place))


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """What the optimizer remembers, as ``optim/WEIGHT/KEY``."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return {
        f"optim/{names[id(weight)]}/{key}": value
        for weight in weights  # in their order, whichever was changed first
        for key, value in optimizer.state.get(weight, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str], saved: SavedState
) -> None:
    """Put back what ``optimizer_tensors`` gave, spread as the weights now are."""
    keys: dict[str, list[str]] = {}
    for full in saved.names("optim/"):
        name, _, key = full.rpartition("/")
        keys.setdefault(name, []).append(key)
    for group in optimizer.param_groups:
        for weight in group["params"]:
            name = names[id(weight)]
            optimizer.state[weight] = {
                key: _placed(saved, f"optim/{name}/{key}", key, weight, bool(group.get("fused")))
                for key in keys.get(name, [])
            }


def _placed(saved: SavedState, full: str, key: str, weight: Tensor, fused: bool) -> Tensor:
    if key == "step":  # PyTorch counts on the host, except where one kernel does the whole update
        return read(saved, full).to(weight.device if fused else "cpu")
    if key in WHOLE or not isinstance(weight, DTensor):
        return read(saved, full).to(weight.device)
    part = read(saved, full, spot(weight)).to(weight.device)
    shape = torch.Size((weight.shape[0], *part.shape[1:]))
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        part, weight.device_mesh, weight.placements, run_check=False, shape=shape, stride=stride
    )
