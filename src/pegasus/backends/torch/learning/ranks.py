"""The processes that learn together, found through what ``torchrun`` puts into the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from pegasus.backends.contract.learning import Placement
from pegasus.backends.learning.alone import Alone
from pegasus.errors import BadSetting, NotOffered
from pegasus.spec.kinds import shown

_kept: list[Any] = []


def _keep(group: Any) -> None:
    """Hold a group until the process ends, so that no other object is the last to hold it.

    A group ends its threads and waits for them. One may just be letting go of a tensor, for which
    it needs Python's lock. A group's own handle gives that lock away while it waits. DDP's reducer does
    not, and its turn comes when a model outlives its group: both would wait for ever.
    """
    if group not in _kept:
        _kept.append(group)


class Group:
    """Several processes: gloo between hosts' memories, NCCL between GPUs."""

    def __init__(self, device: torch.device) -> None:
        if not distributed.is_initialized():
            kinds = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            distributed.init_process_group(kinds, timeout=timedelta(minutes=30))
        _keep(distributed.group.WORLD)
        self.rank = distributed.get_rank()
        self.count = distributed.get_world_size()

    def wait(self) -> None:
        """Until all are here."""
        # A sum on the host: a barrier of NCCL needs to be told the device and leaves the host running.
        self.total([0.0])

    def any(self, flag: bool) -> bool:
        """Whether it is true for at least one."""
        return self.total([float(flag)])[0] > 0

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes, in float64."""
        tensor = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(tensor)
        return [float(number) for number in tensor]

    def leave(self) -> None:
        """Part from the others; their connections close when this process ends."""
        if distributed.is_initialized():
            self.wait()
            distributed.destroy_process_group()


def find_device(placement: Placement) -> torch.device:
    """The device of this process: with several GPUs the one that the launcher numbers.

    Raises:
        BadSetting: a device that is not there.
    """
    name = placement.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BadSetting(f"there is no device {shown(name)}: use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise BadSetting(f"device {name!r} cannot be learned on: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise BadSetting(f"device {name!r} was asked for; torch sees no GPU: use device = 'cpu'")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise BadSetting(f"there is no device {name!r}: torch sees {torch.cuda.device_count()} GPUs")
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


def join(placement: Placement) -> Alone | Group:
    """The processes that ``torchrun`` started, or this one alone.

    Raises:
        NotOffered: matrices spread over devices.
    """
    if placement.spread == "tensor":
        raise NotOffered(
            "placement.spread 'tensor' is for the JAX backend: take 'fsdp', or backend = \"jax\""
        )
    device = find_device(placement)
    return Group(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()
