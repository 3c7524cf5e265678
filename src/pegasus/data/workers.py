"""Who computes: this process, or actors on a Ray cluster; tasks go in, and come out in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pegasus.errors import PegasusError

Task = TypeVar("Task")
Result = TypeVar("Result")
Given = TypeVar("Given", contravariant=True)
Made = TypeVar("Made", covariant=True)


@dataclass(frozen=True)
class Failed:
    """A task that ended in no result, though another try may.

    Attributes:
        why: what happened, as words.
    """

    why: str


class Workers(Protocol[Given, Made]):
    """Takes tasks as long as it is not full, and hands out what came of them."""

    @property
    def full(self) -> bool:
        """Whether `next` is to be asked before another task is given."""
        ...

    def submit(self, number: int, task: Given) -> None:
        """Take a task, known by a number."""
        ...

    def next(self) -> tuple[int, Made | Failed] | None:
        """Wait for something to happen, and return a task's number and end if it was that.

        Raises:
            PegasusError: a task was refused: the same would happen to all others.
        """
        ...

    def close(self) -> None:
        """Give up what is under way."""
        ...


class Here(Generic[Task, Result]):
    """Computes in this process, one task at a time.

    Args:
        make: returns what computes a task; called by the first `next`.
    """

    def __init__(self, make: Callable[[], Callable[[Task], Result]]) -> None:
        self._make = make
        self._work: Callable[[Task], Result] | None = None
        self._task: tuple[int, Task] | None = None

    @property
    def full(self) -> bool:
        """Whether it has a task, or has yet to make what computes."""
        return self._work is None or self._task is not None

    def submit(self, number: int, task: Task) -> None:
        """Keep a task for `next`."""
        self._task = (number, task)

    def next(self) -> tuple[int, Result | Failed] | None:
        """Compute the task, or first make what computes."""
        if self._work is None:
            self._work = self._make()
            return None
        assert self._task is not None
        number, task = self._task
        end = attempt(self._work, task)
        self._task = None
        return number, end

    def close(self) -> None:
        """Nothing is under way between two calls."""


def attempt(work: Callable[[Any], Any], task: Any) -> Any:
    """Compute a task; an error that nobody has foreseen is its end, and may be another one next time.

    Raises:
        PegasusError: it was refused.
    """
    try:
        return work(task)
    except PegasusError:
        raise
    except Exception as error:
        said = (str(error).strip() or "no message").splitlines()[0]
        return Failed(f"{type(error).__name__}: {said}")
