"""Actors on a Ray cluster, each of which holds what it computes with: a model, a tokenizer.

Ray's own map over data tries a row that kills its actor for ever, and waits without a word for room that is
not there; so tasks are dealt out here. An actor that dies, or whose machine leaves, is replaced where there
is room, and its task is told to have failed: whoever gave it decides.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from pegasus.data.workers import Failed, Result, Task, attempt
from pegasus.errors import BackendMissing, NotOffered, PegasusError

#: Seconds that the first actor may wait for room.
_PATIENCE = 120.0
_DIED = "its process or its machine died"


@dataclass(frozen=True)
class Actors:
    """What is asked of a cluster.

    Attributes:
        count: how many actors; None: as many as there is room for now.
        cpus: cores that are set aside for each.
        device: what each computes on; "cuda", and "auto" where the cluster has GPUs, take a GPU each.
    """

    count: int | None = None
    cpus: int = 1
    device: str = "cpu"


class RayPool(Generic[Task, Result]):
    """Workers (`pegasus.data.workers`) that are actors of a cluster.

    Args:
        make: returns what computes a task; called in each actor.
        actors: how many, and what each takes.
        address: of the cluster; None: $RAY_ADDRESS, or else one is started on this machine.
        report: is told where it computes.

    Raises:
        BackendMissing: Ray is not installed.
        NotOffered: there is no cluster at the address, or no room in it.
    """

    def __init__(
        self,
        make: Callable[[], Callable[[Task], Result]],
        actors: Actors,
        address: str | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._ray = import_ray()
        self._mine = _connect(self._ray, address)
        self._make = make
        gpus = float(self._ray.cluster_resources().get("GPU", 0))
        self._needs = {"num_cpus": actors.cpus, "num_gpus": int(_takes_gpu(actors.device, gpus))}
        self._count = actors.count or self._room()
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._flying: dict[Any, tuple[int, Any]] = {}
        self._alone_since = time.monotonic()
        self._stillborn = 0
        for _ in range(self._count):
            self._start()
        if report is not None:
            nodes = sum(node["Alive"] for node in self._ray.nodes())
            report(
                f"{self._count:,} {'actor' if self._count == 1 else 'actors'} on a Ray cluster of "
                f"{nodes:,} {'node' if nodes == 1 else 'nodes'}"
            )

    def _room(self) -> int:
        free = self._ray.available_resources()
        kinds = {"CPU": self._needs["num_cpus"], "GPU": self._needs["num_gpus"]}
        return max(1, int(min(free.get(kind, 0) // need for kind, need in kinds.items() if need)))

    def _start(self) -> None:
        # Nothing restarts behind our back: the number of an actor's tries is ours to count.
        actor = self._ray.remote(**self._needs, max_restarts=0, max_task_retries=0)(_Actor).remote(
            self._make
        )
        self._starting[actor.open.remote()] = actor

    @property
    def full(self) -> bool:
        """Whether no actor waits for a task."""
        return not self._idle

    def submit(self, number: int, task: Task) -> None:
        """Give a task to an actor that waits for one."""
        actor = self._idle.pop()
        self._flying[actor.work.remote(task)] = (number, actor)

    def next(self) -> tuple[int, Result | Failed] | None:
        """Wait until a task has ended, or an actor has opened what it computes with."""
        while True:
            waiting = [*self._flying, *self._starting]
            done, _ = self._ray.wait(waiting, num_returns=1, timeout=5.0)
            if not done:
                self._check_room()
            elif done[0] in self._starting:
                self._opened(done[0])
                return None
            else:
                return self._ended(done[0])

    def _opened(self, reference: Any) -> None:
        actor = self._starting.pop(reference)
        try:
            refused = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._stillborn += 1
            if self._stillborn > 3 + self._count:
                said = str(error).strip().splitlines()[0]
                raise NotOffered(f"Actors die while they open the model ({said}).") from error
            self._start()
            return
        if refused is not None:
            raise refused
        self._idle.append(actor)
        self._stillborn = 0

    def _ended(self, reference: Any) -> tuple[int, Result | Failed]:
        number, actor = self._flying.pop(reference)
        try:
            end = self._ray.get(reference)
        except self._ray.exceptions.RayError:
            self._ray.kill(actor)
            self._start()
            self._alone_since = time.monotonic()
            return number, Failed(_DIED)
        if isinstance(end, PegasusError):
            raise end
        self._idle.append(actor)
        return number, end

    def _check_room(self) -> None:
        """Refuse to wait for ever: a cluster without room says nothing."""
        if self._flying or self._idle:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > _PATIENCE:
            needs = ", ".join(f"{need} {kind.removeprefix('num_')}" for kind, need in self._needs.items())
            found = self._ray.available_resources()
            free = ", ".join(f"{found.get(kind, 0):g} {kind.lower()}s" for kind in ("CPU", "GPU"))
            raise NotOffered(
                f"The Ray cluster has had no room for an actor ({needs}) for {_PATIENCE:.0f} s; free are "
                f"{free}: add machines, end what else runs there, or set --threads lower."
            )

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        for actor in (
            *self._idle,
            *self._starting.values(),
            *(actor for _, actor in self._flying.values()),
        ):
            self._ray.kill(actor)
        if self._mine:
            self._ray.shutdown()


class _Actor:
    """Holds what computes."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._make = make

    def open(self) -> PegasusError | None:
        """Make it; what is wrong where that cannot be."""
        try:
            self._work = self._make()
        except PegasusError as error:
            return _plain(error)
        return None

    def work(self, task: Any) -> Any:
        """Compute a task."""
        try:
            return attempt(self._work, task)
        except PegasusError as error:
            return _plain(error)


def _plain(error: PegasusError) -> PegasusError:
    """An error of the same kind that can be sent."""
    return type(error)(str(error))


def _takes_gpu(device: str, gpus: float) -> bool:
    return device.startswith("cuda") or (device == "auto" and gpus > 0)


def import_ray() -> Any:
    """Return the package.

    Raises:
        BackendMissing: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when it is imported
    try:
        import ray
    except ImportError as error:
        raise BackendMissing(
            "--engine ray needs the package ray, which is not installed: "
            "pip install 'pegasus-summarizer[ray]'."
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> bool:
    """Join a cluster, or start one; whether this process did."""
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS")
    options = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address:
            _check_there(address)
            ray.init(address=address, **options)
        else:
            ray.init(include_dashboard=False, **options)
    except Exception as error:  # of many kinds, none of which says what to do
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = f"There is no Ray cluster at {address}" if address else "No Ray cluster can be started here"
        raise NotOffered(
            f"{where} ({said}): start one with `ray start --head`, or correct the address."
        ) from error
    return True


def _check_there(address: str) -> None:
    """Knock at an address: Ray itself would try for minutes.

    Raises:
        OSError: nobody answers.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
