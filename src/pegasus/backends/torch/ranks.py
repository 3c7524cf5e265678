"""The processes that learn together, found through what ``torchrun`` puts into the environment."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta

import torch
from torch import distributed

from pegasus.backends.contract import Placement
from pegasus.errors import BadSetting


class Alone:
    """One process."""

    rank = 0
    count = 1

    def wait(self) -> None:
        """Nobody to wait for."""

    def any(self, flag: bool) -> bool:
        """The flag itself."""
        return flag

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The numbers themselves."""
        return [float(number) for number in numbers]

    def leave(self) -> None:
        """Nothing to leave."""


class Group:
    """Several processes: gloo between hosts' memories, NCCL between GPUs."""

    def __init__(self, device: torch.device) -> None:
        if not distributed.is_initialized():
            kinds = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            distributed.init_process_group(kinds, timeout=timedelta(minutes=30))
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
        """Close the connections."""
        if distributed.is_initialized():
            self.wait()
            # The threads of gloo let go of their last tensors a moment after a sum is done, and need
            # Python's lock for it. Whoever ends them holds that lock, and would wait for them for ever.
            time.sleep(0.5)
            distributed.destroy_process_group()


def find_device(placement: Placement) -> torch.device:
    """The device of this process: with several GPUs the one that the launcher numbers.

    Raises:
        BadSetting: a device that is not there.
    """
    name = placement.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise BadSetting(f"device {name!r} was asked for; torch sees no GPU: use device = 'cpu'")
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


def join(placement: Placement) -> Alone | Group:
    """The processes that ``torchrun`` started, or this one alone."""
    device = find_device(placement)
    return Group(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()
