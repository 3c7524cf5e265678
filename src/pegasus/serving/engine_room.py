"""The engine room: the one thread that owns the model, and how it comes to an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pegasus.serving.admission import AdmittingRoom
from pegasus.serving.engine import Engine
from pegasus.serving.interleaving import Sharing
from pegasus.serving.orders import Order
from pegasus.serving.watching import Watcher
from pegasus.summarizer import Summarizer


class EngineRoom(AdmittingRoom):
    """A `Room` that computes on a thread of this process.

    Args:
        open_summarizer: opens the model, on the thread that will use it.
        sharing: how the model is shared.
        most_texts: how many texts are on their way at most.
        watcher: counts what is done.
    """

    def __init__(
        self,
        open_summarizer: Callable[[], Summarizer],
        sharing: Sharing | None = None,
        most_texts: int = 256,
        watcher: Watcher | None = None,
    ) -> None:
        super().__init__(sharing, most_texts, watcher)
        self._engine = Engine(open_summarizer, self._sharing, self.watcher, self.remember)
        self._thread = threading.Thread(target=self._live, name="pegasus-engine", daemon=True)

    def start(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Open the model and begin to compute.

        Args:
            on_change: is called on the thread of the room whenever `state` has changed.
        """
        self._on_change = on_change
        self._thread.start()

    def stop(self) -> None:
        """End now; whoever still waits is told that this server ends."""
        self._engine.stop()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _give(self, orders: Sequence[Order]) -> None:
        self._engine.take(orders)

    def _drop(self, orders: Sequence[Order]) -> None:
        self._engine.give_up(orders)

    def _live(self) -> None:
        try:
            self.facts = self._engine.open()
        except Exception as error:
            self.failure = error
            self._become("failed")
            return
        self.watcher.engines(1)
        self._become("ready", unless=("leaving",))
        try:
            self._engine.work()
        except Exception as error:  # a server without its engine answers nobody: let it be started again
            self.failure = error
        self._become("ended" if self.failure is None else "failed")
        self._dismiss()
