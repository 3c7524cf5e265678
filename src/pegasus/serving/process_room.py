"""A room of engine processes: orders are spread over them, and what one loses another computes."""

from __future__ import annotations

import atexit
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pegasus.errors import DeadlineExceeded, EngineLost
from pegasus.serving.admission import AdmittingRoom
from pegasus.serving.engine_link import EngineLink, hold_signals_back
from pegasus.serving.engine_messages import Broke, Counted, FromEngine, GiveUp, Opened, Paced, Told
from pegasus.serving.engine_process import live
from pegasus.serving.interleaving import Sharing
from pegasus.serving.memory import Trimmer
from pegasus.serving.model_facts import ModelFacts
from pegasus.serving.orders import Order, Words
from pegasus.serving.room import State
from pegasus.serving.ticket import Ticket
from pegasus.serving.watching import Watcher
from pegasus.summarizer import Summarizer

logger = logging.getLogger(__name__)

_PATIENCE = 3.0  # seconds for a process to end by itself
#: An engine that died within so many seconds of being ready died of being started.
_SETTLED = 10.0
_MOST_QUICK_DEATHS = 5
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0  # seconds before a new start, doubled with each quick death


class _Place:
    """A place for an engine process, filled again when it dies."""

    def __init__(self) -> None:
        self.link: EngineLink | None = None
        self.tickets: dict[int, Ticket] = {}
        #: How many were withdrawn since it said anything: it may not have noticed, and may never do so.
        self.withdrawn = 0
        self.ready = self.tried = False
        self._since = 0.0
        self.quick_deaths = 0
        self.broke: Exception | None = None
        self.jobs = 0

    def welcome(self) -> None:
        """Note that the engine takes texts."""
        self.ready = self.tried = True
        self._since = time.monotonic()

    def leave(self) -> list[Ticket]:
        """Note that the engine has died, and return what it had not ended."""
        lived = self._since and time.monotonic() - self._since >= _SETTLED
        self.quick_deaths = 0 if lived else self.quick_deaths + 1
        tickets = [*self.tickets.values()]
        self.link, self.tickets, self.ready, self.tried = None, {}, False, True
        self._since, self.jobs, self.withdrawn = 0.0, 0, 0
        return tickets

    @property
    def load(self) -> int:
        """How many texts are on their way here."""
        return len(self.tickets) + self.withdrawn

    @property
    def wait(self) -> float:
        """How many seconds to wait before an engine is started here again."""
        return min(_LONGEST_WAIT, _FIRST_WAIT * 2**self.quick_deaths) if self.quick_deaths else 0.0


class ProcessRoom(AdmittingRoom):
    """A `Room` that computes in processes of their own, each with its model.

    It becomes ready when each of them is, or has died once, and stays so while one lives.

    Args:
        open_summarizer: opens the model; is sent to each process.
        sharing: how a model is shared.
        most_texts: how many texts are on their way at most, in all.
        watcher: counts what is done.
        engines: how many processes.
        prepare: is called first in each process, and sent there.
    """

    def __init__(
        self,
        open_summarizer: Callable[[], Summarizer],
        sharing: Sharing | None = None,
        most_texts: int = 256,
        watcher: Watcher | None = None,
        *,
        engines: int = 2,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(sharing, most_texts, watcher)
        self._life = partial(live, open_summarizer, self._sharing, prepare)
        self._places = [_Place() for _ in range(engines)]
        #: Guards what follows and the places; whoever holds it tells nobody anything.
        self._changed = threading.Condition()
        self._waiting: list[Ticket] = []
        self._stopping = False
        self._numbers = itertools.count()
        self._standing = threading.Lock()
        self._trimmer = Trimmer()
        self._threads = [
            threading.Thread(target=self._guarded, args=(partial(self._keep, place),), daemon=True)
            for place in self._places
        ]
        self._threads.append(
            threading.Thread(target=self._guarded, args=(self._end_what_is_late,), daemon=True)
        )

    def start(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Start the processes, which open the model and begin to compute.

        Args:
            on_change: is called on a thread of the room whenever `state` has changed.
        """
        self._on_change = on_change
        atexit.register(self.stop)  # before processes are waited for, which end only when they are told
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End now; whoever still waits is told that this server ends."""
        self._end("ended")
        others = [one for one in self._threads if one.is_alive() and one is not threading.current_thread()]
        patience = time.monotonic() + _PATIENCE
        for thread in others:
            thread.join(max(0.0, patience - time.monotonic()))
        for link in self._links():
            link.kill()
        for thread in others:
            thread.join()
        atexit.unregister(self.stop)

    @property
    def pids(self) -> list[int]:
        """The processes there are."""
        return [link.pid for link in self._links() if link.pid is not None]

    # --- what is taken goes to engines -----------------------------------------------------------------

    def _give(self, orders: Sequence[Order]) -> None:
        with self._changed:
            self._hand_out([Ticket(order) for order in orders])

    def _drop(self, orders: Sequence[Order]) -> None:
        gone = set(orders)
        with self._changed:
            self._waiting = [ticket for ticket in self._waiting if ticket.order not in gone]
            for place in self._places:
                numbers = [number for number, ticket in place.tickets.items() if ticket.order in gone]
                self._withdraw(place, numbers)

    def _hand_out(self, tickets: Iterable[Ticket]) -> None:
        """Give each to the engine that has the fewest: each has processors of its own."""
        ready = [place for place in self._places if place.ready]
        for ticket in tickets:
            if not ready:
                self._waiting.append(ticket)
                continue
            place = min(ready, key=lambda place: place.load)
            number = next(self._numbers)
            place.tickets[number] = ticket
            assert place.link is not None
            place.link.send(ticket.taken(number))
        self._changed.notify_all()

    def _withdraw(self, place: _Place, numbers: Sequence[int]) -> None:
        for number in numbers:
            del place.tickets[number]
        place.withdrawn += len(numbers)
        if numbers and place.link is not None:
            place.link.send(GiveUp(tuple(numbers)))

    def _end_what_is_late(self) -> None:
        """Watch over deadlines, also of texts that no engine has, or one that is in the midst of a step."""
        while not self._stopping:
            with self._changed:
                orders = [ticket.order for place in self._places for ticket in place.tickets.values()]
                orders += [ticket.order for ticket in self._waiting]
                now = time.monotonic()
                late = [order for order in orders if order.deadline <= now]
                if not late and not self._stopping:
                    first = min((order.deadline for order in orders), default=None)
                    self._changed.wait(None if first is None else first - now)
            if late:
                self._drop(late)
            for order in late:
                order.tell(DeadlineExceeded("Time was up before the summary was there."))

    # --- engines come and go ---------------------------------------------------------------------------

    def _guarded(self, live: Callable[[], None]) -> None:
        try:
            live()
        except Exception as error:  # a mistake of ours: a server that half works is worse than none
            self._fail(error)

    def _keep(self, place: _Place) -> None:
        """Keep an engine in a place until the room ends."""
        hold_signals_back()
        while not self._stopping:
            if place.tried:
                self.watcher.restarted()
            self._lose(place, self._run(place))
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, place.wait)

    def _run(self, place: _Place) -> str:
        """Start an engine, listen to it until it ends, and return how it did."""
        place.broke = None
        try:
            link = EngineLink(self._life)
        except OSError as error:
            return f"it could not be started: {error.strerror}"
        with self._changed:
            place.link = link
            if self._stopping:
                link.close()
        for message in link.messages():
            self._hear(place, message)
        place.ready = False
        return link.end(_PATIENCE)

    def _hear(self, place: _Place, message: FromEngine) -> None:
        place.withdrawn = 0
        match message:
            case Told():
                self._pass_on(place, message)
            case Counted():
                self._count(place, message)
            case Paced():
                self.remember(message.seconds, message.texts)
                self._trimmer.after_work()
            case Opened():
                self._welcome(place, message.facts)
            case Broke():
                place.broke, place.ready = message.error, False

    def _pass_on(self, place: _Place, told: Told) -> None:
        with self._changed:
            ticket = place.tickets.get(told.number)
            if ticket is not None and not isinstance(told.event, Words):
                del place.tickets[told.number]  # who is answered may ask again: this engine is free
        if ticket is not None and ticket.pass_on(told.event) and isinstance(told.event, Words):
            self._drop([ticket.order])

    def _count(self, place: _Place, counted: Counted) -> None:
        for seconds in counted.queued:
            self.watcher.began(seconds)
        for jobs in counted.batches:
            self.watcher.batch(jobs)
        self.watcher.stepped(counted.steps)
        place.jobs = counted.jobs
        self.watcher.computing(sum(each.jobs for each in self._places))

    def _welcome(self, place: _Place, facts: ModelFacts) -> None:
        with self._changed:
            place.welcome()
            self.facts = self.facts or facts
            waiting, self._waiting = self._waiting, []
            self._hand_out(waiting)
        self._settle()

    def _lose(self, place: _Place, how: str) -> None:
        """Give what an engine has not ended to others, or say that there will be nothing."""
        with self._changed:
            if self._stopping:
                return
            tickets = place.leave()
            spent = [ticket for ticket in tickets if ticket.spent]
            self._hand_out(ticket for ticket in tickets if not ticket.spent)
        if place.broke is not None:
            how = str(place.broke) or type(place.broke).__name__
        logger.error("an engine process died: %s; %d texts were on their way there", how, len(tickets))
        self.watcher.computing(sum(each.jobs for each in self._places))
        for ticket in spent:
            ticket.lost()
        self._settle()
        self._fail_where_that_is_hopeless(place, how)

    def _fail_where_that_is_hopeless(self, place: _Place, how: str) -> None:
        if self.facts is None and place.broke is not None:  # no such model, or one that cannot be read
            self._fail(place.broke)
        elif place.quick_deaths >= _MOST_QUICK_DEATHS and not self._alive:
            told = f"An engine process died {place.quick_deaths} times, soon after it was started: {how}."
            self._fail(EngineLost(told))

    @property
    def _alive(self) -> int:
        return sum(place.ready for place in self._places)

    def _settle(self) -> None:
        """Be ready while an engine lives, once all were started."""
        with self._standing:
            with self._changed:
                alive, tried = self._alive, all(place.tried for place in self._places)
            self._engines = max(1, alive)
            self.watcher.engines(alive)
            if alive and tried:
                self._become("ready", unless=("ready", "leaving", "failed", "ended"))
            elif not alive:
                self._become("opening", unless=("opening", "leaving", "failed", "ended"))

    # --- the end ---------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self._end("failed")

    def _end(self, state: State) -> None:
        with self._changed:
            first, self._stopping = not self._stopping, True
            self._changed.notify_all()
        for link in self._links():
            link.close()
        if first:
            self._become(state)
            self._dismiss()

    def _links(self) -> list[EngineLink]:
        with self._changed:
            return [place.link for place in self._places if place.link is not None]
