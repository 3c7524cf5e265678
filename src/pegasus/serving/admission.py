"""Admission: which texts a room takes, which of them have not ended, and in what state it is."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from pegasus.errors import Overloaded
from pegasus.serving.interleaving import Sharing
from pegasus.serving.model_facts import ModelFacts
from pegasus.serving.orders import Event, Order, Words
from pegasus.serving.room import State
from pegasus.serving.watching import Watcher

_LONGEST_WAIT = 60
#: Of the time that a text has, so much may be spoken for by those before it: others use the machine too,
#: and with half of the pace it shall still be in time.
_SPOKEN_FOR = 0.4
_FADING = 0.97  # of what is remembered, with each text that ends


class AdmittingRoom(ABC):
    """A room without what computes: bounds, refusals, states and accounts, the same for every kind of it.

    Args:
        sharing: how a model is shared.
        most_texts: how many texts are on their way at most.
        watcher: counts what is done.

    Attributes: see `Room`.
    """

    def __init__(
        self, sharing: Sharing | None = None, most_texts: int = 256, watcher: Watcher | None = None
    ) -> None:
        self.watcher = watcher or Watcher()
        self.state: State = "opening"
        self.failure: Exception | None = None
        self.facts: ModelFacts | None = None
        self._sharing, self._most = sharing or Sharing(), most_texts
        self._lock = threading.Lock()
        self._taken: set[Order] = set()
        self._worked = self._done = 0.0
        #: How many engines compute side by side.
        self._engines = 1
        self._on_change: Callable[[], None] = lambda: None

    @abstractmethod
    def _give(self, orders: Sequence[Order]) -> None:
        """Have these computed, which were taken."""

    @abstractmethod
    def _drop(self, orders: Sequence[Order]) -> None:
        """Compute nothing more for these."""

    @property
    def texts(self) -> int:
        """How many texts were taken and have not ended."""
        with self._lock:
            return len(self._taken)

    def opened(self) -> ModelFacts:
        """Return what is known of the model.

        Raises:
            Overloaded: it is not there yet.
        """
        if self.facts is None:
            raise Overloaded("The model is not there yet: try again.", 2, leaving=True)
        return self.facts

    def submit(self, orders: Sequence[Order]) -> None:
        """Take orders, all or none.

        Raises:
            Overloaded: there is no room for so many, they could not be finished in time, or nothing is
                taken at this time.
        """
        with self._lock:
            now = time.monotonic()
            self._refuse_at_this_time(orders)
            self._refuse_too_many(orders)
            self._refuse_what_would_be_late(orders, now)
            for order in orders:
                order.arrived, order.tell = now, self._accounted(order, order.tell)
            self._taken.update(orders)
            self.watcher.standing(len(self._taken))
        self._give(orders)

    def give_up(self, orders: Sequence[Order]) -> None:
        """Nobody waits for these any more: no step is computed for them but the one under way."""
        with self._lock:
            mine = [order for order in orders if order in self._taken]
            self._taken.difference_update(mine)
            self.watcher.standing(len(self._taken))
        for _ in mine:
            self.watcher.left()
        if mine:
            self._drop(mine)

    def drain(self) -> None:
        """Take nothing more, finish what was taken."""
        self._become("leaving", unless=("ended", "failed"))

    def remember(self, seconds: float, texts: int) -> None:
        """Take into the pace that so many texts ended after so many seconds of an engine's computing."""
        fading = _FADING**texts
        with self._lock:
            self._worked = fading * self._worked + seconds
            self._done = fading * self._done + texts

    def _accounted(self, order: Order, tell: Callable[[Event], None]) -> Callable[[Event], None]:
        def told(event: Event) -> None:
            if not isinstance(event, Words):
                with self._lock:
                    if order not in self._taken:  # given up, or told already
                        return
                    self._taken.discard(order)
                    self.watcher.standing(len(self._taken))
                self.watcher.ended(event)
            tell(event)

        return told

    def _refuse_at_this_time(self, orders: Sequence[Order]) -> None:
        if self.state == "ready":
            return
        self.watcher.refused(self.state, len(orders))
        leaving = self.state in ("leaving", "ended")
        message = "This server is about to end." if leaving else "The model is not there yet."
        raise Overloaded(f"{message} Nothing is taken now: try again.", 2, leaving=True)

    def _refuse_too_many(self, orders: Sequence[Order]) -> None:
        if len(self._taken) + len(orders) <= self._most:
            return
        self.watcher.refused("full", len(orders))
        raise Overloaded(
            f"{len(self._taken)} texts are on their way, {len(orders)} more were sent and at most "
            f"{self._most} are taken: come back later.",
            self._seconds_to_wait(),
        )

    def _refuse_what_would_be_late(self, orders: Sequence[Order], now: float) -> None:
        """Say so at once, and not when somebody has waited for nothing."""
        texts = len(self._taken) + len(orders)
        left = min((order.deadline for order in orders), default=now) - now
        if self._done:
            late = texts * self._pace() > _SPOKEN_FOR * left
        else:  # no pace is known yet: no more than are computed at once
            late = texts > self._sharing.batch_size * self._sharing.most_batches * self._engines
        if not late or not self._taken:
            return
        self.watcher.refused("late", len(orders))
        raise Overloaded(
            f"{len(self._taken)} texts are on their way, and by the pace of late {len(orders)} more "
            f"could not be finished within {left:.0f} s: come back later.",
            self._seconds_to_wait(),
        )

    def _pace(self) -> float:
        """About how many seconds pass for each text, of all engines together."""
        return self._worked / self._done / self._engines if self._done else 1.0

    def _seconds_to_wait(self) -> int:
        """About how long until half of what waits is done."""
        return min(_LONGEST_WAIT, max(1, math.ceil(len(self._taken) * self._pace() / 2)))

    def _become(self, state: State, unless: Sequence[State] = ()) -> None:
        with self._lock:
            if self.state in unless:
                return
            self.state = state
        self._on_change()

    def _dismiss(self) -> None:
        """Tell whoever still waits that this server has ended."""
        with self._lock:
            left = [*self._taken]
        for order in left:
            order.tell(Overloaded("This server has ended before the summary was there.", leaving=True))
