"""What a server needs of whatever computes: a room that takes orders, and says how it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from pegasus.serving.model_facts import ModelFacts
from pegasus.serving.orders import Order
from pegasus.serving.watching import Watcher

State = Literal["opening", "ready", "leaving", "failed", "ended"]


class Room(Protocol):
    """Takes orders from any thread and computes them elsewhere; nothing here keeps its caller waiting.

    Attributes:
        watcher: counts what is done.
        state: "opening" while there is no model, "ready" while texts are taken, "leaving" when only what
            was taken is finished, "ended"; "failed" where the model cannot be opened or an engine broke.
        failure: why it failed.
        facts: what is known of the model, when it is there.
    """

    watcher: Watcher
    state: State
    failure: Exception | None
    facts: ModelFacts | None

    @property
    def texts(self) -> int:
        """How many texts were taken and have not ended."""
        ...

    def start(self, on_change: Callable[[], None]) -> None:
        """Open the model and begin to compute.

        Args:
            on_change: is called on a thread of the room whenever `state` has changed.
        """
        ...

    def opened(self) -> ModelFacts:
        """Return what is known of the model.

        Raises:
            Overloaded: it is not there yet.
        """
        ...

    def submit(self, orders: Sequence[Order]) -> None:
        """Take orders, all or none.

        Raises:
            Overloaded: there is no room for so many, they could not be finished in time, or nothing is
                taken at this time.
        """
        ...

    def give_up(self, orders: Sequence[Order]) -> None:
        """Nobody waits for these any more: no step is computed for them but the one under way."""
        ...

    def drain(self) -> None:
        """Take nothing more, finish what was taken."""
        ...

    def stop(self) -> None:
        """End now, and wait for that; whoever still waits is told that this server ends."""
        ...
