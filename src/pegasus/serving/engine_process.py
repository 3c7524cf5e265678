"""An engine process from within: one engine, told by a pipe what to compute, and telling by another."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from pegasus.serving.engine import Engine
from pegasus.serving.engine_messages import Broke, Counted, FromEngine, GiveUp, Opened, Paced, Take, Told
from pegasus.serving.failures import kind_of, place_of, portable, portable_opening
from pegasus.serving.interleaving import Sharing
from pegasus.serving.orders import Event, Order, Words
from pegasus.summarizer import Summarizer

logger = logging.getLogger(__name__)

#: What a terminal or a service manager sends to all processes of a server: the front alone acts on it.
SIGNALS_OF_THE_FRONT = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_SELDOM = 0.2  # seconds between two counts: a step may take a millisecond


def live(
    open_summarizer: Callable[[], Summarizer],
    sharing: Sharing,
    prepare: Callable[[], None] | None,
    orders: Connection,
    events: Connection,
) -> None:
    """Be an engine until the front closes the pipe of orders, or is gone.

    Args:
        open_summarizer: opens the model.
        sharing: how it is shared.
        prepare: is called first: the log.
        orders: is read.
        events: is written.
    """
    _leave_signals_to_the_front()
    if prepare is not None:
        prepare()
    reporter = Reporter(events.send)
    engine = Engine(
        open_summarizer,
        sharing,
        reporter,
        lambda seconds, texts: events.send(Paced(seconds, texts)),
    )
    listening = (orders, engine, reporter, events.send)
    threading.Thread(target=_listen, args=listening, daemon=True).start()
    with contextlib.suppress(OSError):  # nobody listens any more
        error = _computed(engine, events.send)
        if error is not None:
            events.send(Broke(error))
    os._exit(0)  # an interpreter that tidies up could wait for threads of libraries


def _computed(engine: Engine, send: Callable[[FromEngine], None]) -> Exception | None:
    """Open and work, and return why that ended."""
    try:
        facts = engine.open()
    except Exception as error:
        return portable_opening(error)
    send(Opened(facts))
    try:
        engine.work()
    except Exception as error:
        return portable(error)
    return None


def _listen(
    orders: Connection, engine: Engine, reporter: Reporter, send: Callable[[FromEngine], None]
) -> None:
    """Pass on what the front says; when it has nothing more to say, nobody needs this process."""
    numbered: dict[int, Order] = {}
    code = 1
    try:
        while True:
            message = orders.recv()
            if isinstance(message, Take):
                order = _ordered(message, numbered, send)
                numbered[message.number] = order
                engine.take([order])
            elif isinstance(message, GiveUp):
                gone = [numbered.pop(number, None) for number in message.numbers]
                reporter.asked = True
                engine.give_up([order for order in gone if order is not None])
    except (EOFError, OSError):
        code = 0
    except Exception as error:
        logger.error("unexpected %s at %s", kind_of(error), place_of(error))
    finally:
        os._exit(code)  # in the middle of a step: it would be for nobody


def _ordered(message: Take, numbered: dict[int, Order], send: Callable[[FromEngine], None]) -> Order:
    def tell(event: Event) -> None:
        if not isinstance(event, Words):
            numbered.pop(message.number, None)
        if isinstance(event, Exception):
            event = portable(event)
        send(Told(message.number, event))

    order = Order(message.text, message.settings, message.deadline, tell, message.words)
    order.arrived = message.arrived
    return order


def _leave_signals_to_the_front() -> None:
    for number in SIGNALS_OF_THE_FRONT:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # they were held back until now
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS_OF_THE_FRONT)


class Reporter:
    """A meter that says from time to time what it counted.

    Args:
        send: says it.
        clock: seconds.
    """

    def __init__(
        self, send: Callable[[FromEngine], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send, self._clock = send, clock
        self._last = clock()
        self._queued: list[float] = []
        self._batches: list[int] = []
        self._steps = self._jobs = 0
        #: Say it after the next step: the front wants to know that there was one.
        self.asked = False

    def began(self, seconds: float) -> None:
        """A text's first batch begins, so long after it was taken."""
        self._queued.append(seconds)

    def batch(self, jobs: int) -> None:
        """A batch begins."""
        self._batches.append(jobs)

    def stepped(self) -> None:
        """A step of a search was computed."""
        self._steps += 1

    def computing(self, jobs: int) -> None:
        """So many jobs are in the batches under way."""
        resting = jobs == 0 and (self._jobs or self._steps or self._queued)
        self._jobs = jobs
        if resting or self.asked or self._clock() - self._last >= _SELDOM:
            self.asked = False
            self._send(Counted(tuple(self._queued), tuple(self._batches), self._steps, jobs))
            self._last, self._steps = self._clock(), 0
            self._queued, self._batches = [], []
