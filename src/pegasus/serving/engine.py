"""An engine: owns the model, and computes what it is given on the one thread that calls it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from pegasus.serving.interleaving import Interleaver, Meter, Sharing
from pegasus.serving.memory import Trimmer
from pegasus.serving.model_facts import ModelFacts
from pegasus.serving.orders import Order
from pegasus.summarizer import Summarizer

_WARM_UP = "A first text is summarized before any other, so that whoever asks first need not wait longer."


class Engine:
    """`open` and `work` belong to one thread; everything else may be called from any.

    Args:
        open_summarizer: opens the model.
        sharing: how the model is shared.
        meter: counts what is done.
        remember: is told (seconds of computing, texts that ended after them).
    """

    def __init__(
        self,
        open_summarizer: Callable[[], Summarizer],
        sharing: Sharing,
        meter: Meter,
        remember: Callable[[float, int], None],
    ) -> None:
        self._open, self._sharing, self._meter, self._remember = open_summarizer, sharing, meter, remember
        self._changed = threading.Condition()
        self._arrivals: list[Order] = []
        self._unwanted: list[Order] = []
        self._stopping = False
        self._since = 0.0
        self._trimmer = Trimmer()
        self._interleaver: Interleaver | None = None

    def open(self) -> ModelFacts:
        """Open the model, and write a first summary with it."""
        summarizer = self._open()
        summarizer(_WARM_UP, check=False)
        self._interleaver = Interleaver(summarizer, self._sharing, self._meter)
        return ModelFacts.of(summarizer)

    def take(self, orders: Sequence[Order]) -> None:
        """Compute these too."""
        with self._changed:
            self._arrivals += orders
            self._changed.notify_all()

    def give_up(self, orders: Sequence[Order]) -> None:
        """Compute no step more for these."""
        with self._changed:
            self._unwanted += orders
            self._changed.notify_all()

    def stop(self) -> None:
        """Let `work` return after the step under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def work(self) -> None:
        """Compute until `stop` is called."""
        interleaver = self._interleaver
        assert interleaver is not None, "a model is opened before it works"
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
                interleaver.give_up(order)
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
        """Compute a step, and say how many seconds of computing the texts took that ended in it."""
        begin, ended = time.monotonic(), interleaver.ended
        interleaver.step()
        ended = interleaver.ended - ended
        self._since += time.monotonic() - begin
        if ended:  # what is under way counts when it is done, with its whole batch
            self._remember(self._since, ended)
            self._since = 0.0
            self._trimmer.after_work()
