"""The engine room: the one thread that owns the model, its bounded queue, and how it comes to an end."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from pegasus.errors import Overloaded
from pegasus.serving.interleaving import Interleaver, Sharing
from pegasus.serving.memory import Trimmer
from pegasus.serving.orders import Event, Order, Words
from pegasus.serving.watching import Watcher
from pegasus.summarizer import Summarizer

logger = logging.getLogger(__name__)

State = Literal["opening", "ready", "leaving", "failed", "ended"]
_WARM_UP = "A first text is summarized before any other, so that whoever asks first need not wait longer."
_LONGEST_WAIT = 60
#: Of the time that a text has, so much may be spoken for by those before it: others use the machine too,
#: and with half of the pace it shall still be in time.
_SPOKEN_FOR = 0.4
_FADING = 0.97  # of what is remembered, with each text that ends


class EngineRoom:
    """Takes orders from any thread, and computes them on its own.

    Args:
        open_summarizer: opens the model, on the thread that will use it.
        sharing: how the model is shared.
        most_texts: how many texts are on their way at most.
        watcher: counts what is done.

    Attributes:
        state: "opening" until a first summary has been written, "ready" while texts are taken, "leaving"
            when only what was taken is finished, "ended"; "failed" where the model cannot be opened.
        failure: why it failed.
        summarizer: the model, when it is there.
    """

    def __init__(
        self,
        open_summarizer: Callable[[], Summarizer],
        sharing: Sharing | None = None,
        most_texts: int = 256,
        watcher: Watcher | None = None,
    ) -> None:
        self.watcher = watcher or Watcher()
        self.state: State = "opening"
        self.failure: Exception | None = None
        self.summarizer: Summarizer | None = None
        self._open, self._sharing, self._most = open_summarizer, sharing or Sharing(), most_texts
        self._changed = threading.Condition()
        self._arrivals: list[Order] = []
        self._unwanted: list[Order] = []
        self._taken: set[Order] = set()
        self._worked = self._done = self._since = 0.0
        self._stopping = False
        self._trimmer = Trimmer()
        self._thread = threading.Thread(target=self._live, name="pegasus-engine", daemon=True)
        self._on_change: Callable[[], None] = lambda: None

    def start(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Open the model and begin to compute.

        Args:
            on_change: is called on the thread of the room whenever `state` has changed.
        """
        self._on_change = on_change
        self._thread.start()

    @property
    def texts(self) -> int:
        """How many texts were taken and have not ended."""
        with self._changed:
            return len(self._taken)

    def opened(self) -> Summarizer:
        """Return the model.

        Raises:
            Overloaded: it is not there yet.
        """
        if self.summarizer is None:
            raise Overloaded("The model is not there yet: try again.", 2, leaving=True)
        return self.summarizer

    def submit(self, orders: Sequence[Order]) -> None:
        """Take orders, all or none.

        Raises:
            Overloaded: there is no room for so many, they could not be finished in time, or nothing is
                taken at this time.
        """
        with self._changed:
            if self.state != "ready":
                self.watcher.refused(self.state, len(orders))
                leaving = self.state in ("leaving", "ended")
                message = "This server is about to end." if leaving else "The model is not there yet."
                raise Overloaded(f"{message} Nothing is taken now: try again.", 2, leaving=True)
            if len(self._taken) + len(orders) > self._most:
                self.watcher.refused("full", len(orders))
                raise Overloaded(
                    f"{len(self._taken)} texts are on their way, {len(orders)} more were sent and at most "
                    f"{self._most} are taken: come back later.",
                    self._seconds_to_wait(),
                )
            now = time.monotonic()
            self._refuse_what_would_be_late(orders, now)
            for order in orders:
                order.arrived, order.tell = now, self._accounted(order, order.tell)
            self._taken.update(orders)
            self._arrivals += orders
            self._changed.notify_all()

    def give_up(self, orders: Sequence[Order]) -> None:
        """Nobody waits for these any more: no step is computed for them but the one under way."""
        with self._changed:
            mine = [order for order in orders if order in self._taken]
            self._unwanted += mine
            self._taken.difference_update(mine)
            self._changed.notify_all()

    def drain(self) -> None:
        """Take nothing more, finish what was taken."""
        self._become("leaving", unless=("ended", "failed"))

    def stop(self) -> None:
        """End now; whoever still waits is told that this server ends."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _accounted(self, order: Order, tell: Callable[[Event], None]) -> Callable[[Event], None]:
        def told(event: Event) -> None:
            if not isinstance(event, Words):
                with self._changed:
                    self._taken.discard(order)
            tell(event)

        return told

    def _refuse_what_would_be_late(self, orders: Sequence[Order], now: float) -> None:
        """Say so at once, and not when somebody has waited for nothing."""
        texts = len(self._taken) + len(orders)
        left = min(order.deadline for order in orders) - now
        if self._done:
            late = texts * self._pace() > _SPOKEN_FOR * left
        else:  # no pace is known yet: no more than are computed at once
            late = texts > self._sharing.batch_size * self._sharing.most_batches
        if not late or not self._taken:
            return
        self.watcher.refused("late", len(orders))
        raise Overloaded(
            f"{len(self._taken)} texts are on their way, and by the pace of late {len(orders)} more "
            f"could not be finished within {left:.0f} s: come back later.",
            self._seconds_to_wait(),
        )

    def _pace(self) -> float:
        """About how many seconds of computing a text takes."""
        return self._worked / self._done if self._done else 1.0

    def _seconds_to_wait(self) -> int:
        """About how long until half of what waits is done."""
        return min(_LONGEST_WAIT, max(1, math.ceil(len(self._taken) * self._pace() / 2)))

    def _become(self, state: State, unless: Sequence[State] = ()) -> None:
        with self._changed:
            if self.state in unless:
                return
            self.state = state
            self._changed.notify_all()
        self._on_change()

    def _live(self) -> None:
        try:
            self.summarizer = self._open()
            self.summarizer(_WARM_UP, check=False)
        except Exception as error:
            self.failure = error
            self._become("failed")
            return
        interleaver = Interleaver(self.summarizer, self._sharing, self.watcher)
        self._become("ready", unless=("leaving",))
        try:
            self._work(interleaver)
        except Exception as error:  # a server without its engine answers nobody: let it be started again
            self.failure = error
        self._become("ended" if self.failure is None else "failed")
        with self._changed:
            left, self._arrivals = [*self._taken], []
        for order in left:
            order.tell(Overloaded("This server has ended before the summary was there.", leaving=True))

    def _work(self, interleaver: Interleaver) -> None:
        while True:
            with self._changed:
                self._wait_for_work(interleaver)
                if self._stopping:
                    return
                arrivals, self._arrivals = self._arrivals, []
                unwanted, self._unwanted = self._unwanted, []
            for order in arrivals:
                interleaver.take(order)
            for order in unwanted:
                if interleaver.give_up(order):
                    self.watcher.left()
            self._measured_step(interleaver)

    def _wait_for_work(self, interleaver: Interleaver) -> None:
        while not (self._arrivals or self._unwanted or self._stopping):
            rest = interleaver.rest
            if interleaver.busy and not rest:
                return
            self._changed.wait(rest if interleaver.busy else None)
            if interleaver.busy:
                return

    def _measured_step(self, interleaver: Interleaver) -> None:
        """Compute a step, and keep in mind how many seconds of computing a text has taken of late."""
        begin, ended = time.monotonic(), interleaver.ended
        interleaver.step()
        ended = interleaver.ended - ended
        self._since += time.monotonic() - begin
        if ended:  # what is under way counts when it is done, with its whole batch
            self.remember(self._since, ended)
            self._since = 0.0
            self._trimmer.after_work()

    def remember(self, seconds: float, texts: int) -> None:
        """Take into the pace that so many texts ended after so many seconds of computing."""
        fading = _FADING**texts
        with self._changed:
            self._worked = fading * self._worked + seconds
            self._done = fading * self._done + texts
