"""Texts of many callers on one model: equal settings share a batch, batches take turns step by step.

A batch is begun when it is full or its first job has waited a moment for company, and while fewer than a
few are under way. Each gets one step of the search in turn, so that what is short ends early whatever else
is being written. Texts that have had the fewest batches come first, and none ever takes all the places.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pegasus.errors import DeadlineExceeded, PegasusError
from pegasus.serving.orders import Event, Order, Words
from pegasus.summarizer import Summarizer
from pegasus.summarizer.context import Context
from pegasus.summarizer.document import summarize_text
from pegasus.summarizer.scheduler import Talk, refuse_not_numbers
from pegasus.summarizer.text_codec import TextCodec
from pegasus.summarizer.writer import Job, Tell, Writing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sharing:
    """How the model is shared.

    Attributes:
        batch_size: most jobs in a batch.
        batch_tokens: most source tokens in a batch, padding included.
        most_batches: how many batches take turns.
        join_seconds: how long a job waits for others of its kind.
    """

    batch_size: int = 16
    batch_tokens: int = 8192
    most_batches: int = 4
    join_seconds: float = 0.01


class Meter(Protocol):
    """Counts what an engine does."""

    def began(self, seconds: float) -> None:
        """A text's first batch begins, so long after it was taken."""
        ...

    def batch(self, jobs: int) -> None:
        """A batch begins."""
        ...

    def stepped(self) -> None:
        """A step of a search was computed."""
        ...

    def computing(self, jobs: int) -> None:
        """So many jobs are in the batches under way."""
        ...


@dataclass(frozen=True)
class _Waiting:
    """A job that has not been begun."""

    order: Order
    place: int
    job: Job
    since: float
    words: bool

    @property
    def kind(self) -> Any:
        """Equal for jobs that can be computed together."""
        settings = self.order.settings.for_generate()
        budget = self.job.budget
        limits = None if budget is None else (budget.least, budget.most)
        # What is drawn from a seed would depend on who else is in the batch.
        alone = self.words or settings.get("do_sample", False)
        return (repr(sorted(settings.items())), limits, self.job.no_repeat_ngram_size, alone and id(self))


@dataclass
class _Running:
    """A batch under way, and who still waits for it."""

    jobs: Sequence[_Waiting]
    writing: Writing
    began: float
    wanted: set[int]


class Interleaver:
    """Owns the model; lives on one thread.

    Args:
        summarizer: the model, and the name that results give it.
        sharing: how it is shared.
        meter: counts what is done; None: nobody does.
        clock: seconds.
    """

    def __init__(
        self,
        summarizer: Summarizer,
        sharing: Sharing,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summarizer, self.sharing, self.clock = summarizer, sharing, clock
        self.meter = meter or _Uncounted()
        self._talks: dict[Order, Talk] = {}
        self._fresh: list[Order] = []
        self._waiting: list[_Waiting] = []
        self._running: list[_Running] = []
        #: Orders that ended, in all.
        self.ended = 0

    @property
    def busy(self) -> bool:
        """Whether any order has not ended."""
        return bool(self._talks)

    @property
    def rest(self) -> float:
        """For how many seconds there is nothing to do but to wait for company."""
        if self._running or self._fresh or not self._waiting:
            return 0.0
        oldest = min(one.since for one in self._waiting)
        return max(0.0, oldest + self.sharing.join_seconds - self.clock())

    def take(self, order: Order) -> None:
        """Take an order, which is read in the next step."""
        writer, reader = self.summarizer.writer, self.summarizer.reader
        context = Context(reader, writer, order.settings, self.summarizer.name)
        self._talks[order] = Talk(summarize_text(order.text, context))
        self._fresh.append(order)

    def give_up(self, order: Order) -> bool:
        """Forget an order: what is under way for it is dropped, and nothing is told of it any more.

        Returns:
            Whether it was on its way.
        """
        talk = self._talks.pop(order, None)
        if talk is None:
            return False
        talk.conversation.close()
        self._fresh = [other for other in self._fresh if other is not order]
        self._waiting = [one for one in self._waiting if one.order is not order]
        for run in self._running:
            gone = {index for index in run.wanted if run.jobs[index].order is order}
            run.wanted -= gone
            if gone and run.wanted:
                run.writing.drop(sorted(gone))
        self._running = [run for run in self._running if run.wanted]
        return True

    def step(self) -> None:
        """Read one text that is new, begin the batches that can begin, and let each compute one step."""
        self._end_what_is_late()
        if self._fresh:
            self._go_on(self._fresh.pop(0))
        while self._begin_one():
            pass
        for run in self._turns():
            if run in self._running:
                self._step(run)
        self.meter.computing(sum(len(run.wanted) for run in self._running))

    def _turns(self) -> list[_Running]:
        """Return the batches that get a step now: all, in turn.

        Where texts have used half of their time, the first begun of their batches goes on alone: batches
        that are all late together help nobody.
        """
        now = self.clock()
        for run in self._running:
            waiting = (run.jobs[index].order for index in run.wanted)
            if any(now > (order.arrived + order.deadline) / 2 for order in waiting):
                return [run]
        return list(self._running)

    def _end_what_is_late(self) -> None:
        now = self.clock()
        for order in [order for order in self._talks if order.deadline <= now]:
            self.give_up(order)
            self._tell(order, DeadlineExceeded("Time was up before the summary was there."))

    def _go_on(self, order: Order) -> None:
        """Let a text go on with the drafts it asked for; it ends, or asks for more."""
        talk = self._talks[order]
        try:
            refuse_not_numbers(talk.drafts.values(), self.summarizer.writer)
            first = not talk.begun
            talk.go_on()
        except StopIteration as end:
            self._end(order, end.value)
        except Exception as error:
            self._end(order, error)
        else:
            words = order.words and first and len(talk.jobs) == 1
            now = self.clock()
            self._waiting += [
                _Waiting(order, place, job, now, words) for place, job in enumerate(talk.jobs)
            ]

    def _begin_one(self) -> bool:
        """Begin a batch, if there is a place and something to begin."""
        if len(self._running) >= self.sharing.most_batches:
            return False
        batch = self._choose()
        if not batch:
            return False
        begun = {id(one) for one in batch}
        batch = [one for one in batch if one.order in self._talks]  # not what just turned out too large
        self._waiting = [one for one in self._waiting if id(one) not in begun]
        for order in {id(one.order): one.order for one in batch}.values():
            order.batches += 1
            if order.batches == 1:
                self.meter.began(self.clock() - order.arrived)
        try:
            if batch:
                self._running.append(self._begun(batch))
        except Exception as error:
            self._fail(batch, error)
        return True

    def _begun(self, batch: Sequence[_Waiting]) -> _Running:
        settings = batch[0].order.settings.for_generate()
        tell = self._teller(batch[0].order) if batch[0].words else None
        writing = self.summarizer.writer.begin([one.job for one in batch], settings, tell)
        self.meter.batch(len(batch))
        return _Running(batch, writing, self.clock(), set(range(len(batch))))

    def _choose(self) -> list[_Waiting]:
        """Return the jobs of the next batch; none where all shall wait."""
        now, share = self.clock(), max(1, self.sharing.most_batches // 2)
        places: dict[Order, int] = {}
        for run in self._running:
            for order in {run.jobs[index].order for index in run.wanted}:
                places[order] = places.get(order, 0) + 1
        free = [one for one in self._waiting if places.get(one.order, 0) < share]
        kinds: dict[Any, list[_Waiting]] = {}
        for one in sorted(free, key=lambda one: (one.order.batches, one.since)):
            kinds.setdefault(one.kind, []).append(one)
        for group in kinds.values():
            oldest = min(one.since for one in group)
            if len(group) >= self.sharing.batch_size or now - oldest >= self.sharing.join_seconds:
                return self._fitting(group)
        return []

    def _fitting(self, group: Sequence[_Waiting]) -> list[_Waiting]:
        """Return the first of a group, and those most like it in length that fit beside it."""
        first, *others = group
        length = len(first.job.tokens)
        others.sort(key=lambda one: (one.order.batches, abs(len(one.job.tokens) - length)))
        batch, longest = [first], length
        for one in others[: self.sharing.batch_size - 1]:
            longest = max(longest, len(one.job.tokens))
            if (len(batch) + 1) * longest > self.sharing.batch_tokens:
                break
            batch.append(one)
        settings = first.order.settings.for_generate()
        longest = max(len(one.job.tokens) for one in batch)
        try:
            most = self.summarizer.writer.fit(longest, first.job.budget, settings)
        except PegasusError:
            most = self._fit_alone(first, settings)
        return batch[: max(1, most)]

    def _fit_alone(self, one: _Waiting, settings: Any) -> int:
        try:
            self.summarizer.writer.fit(len(one.job.tokens), one.job.budget, settings)
        except PegasusError as error:
            self._end(one.order, error)
        return 1

    def _step(self, run: _Running) -> None:
        try:
            if run.writing.step():
                self.meter.stepped()
                return
            drafts = run.writing.drafts()
        except Exception as error:
            self._running.remove(run)
            self._fail([run.jobs[index] for index in sorted(run.wanted)], error)
            return
        self._running.remove(run)
        share = (self.clock() - run.began) / len(run.jobs)
        answered = []
        for index in sorted(run.wanted):
            one = run.jobs[index]
            self._talks[one.order].drafts[one.place] = replace(drafts[index], seconds=share)
            answered.append(one.order)
        for order in dict.fromkeys(answered):
            if order in self._talks and self._talks[order].answered:
                self._go_on(order)

    def _fail(self, jobs: Sequence[_Waiting], error: Exception) -> None:
        for order in dict.fromkeys(one.order for one in jobs):
            if order in self._talks:
                self._end(order, error)

    def _end(self, order: Order, event: Event) -> None:
        self.give_up(order)
        self._tell(order, event)

    def _tell(self, order: Order, event: Event) -> None:
        self.ended += 1
        order.tell(event)

    def _teller(self, order: Order) -> Tell:
        words = _Certain(self.summarizer.reader)

        def tell(token: int) -> None:
            if order in self._talks and (text := words.add(token)):
                order.tell(Words(text))

        return tell


class _Uncounted:
    """A meter that forgets."""

    def began(self, seconds: float) -> None: ...
    def batch(self, jobs: int) -> None: ...
    def stepped(self) -> None: ...
    def computing(self, jobs: int) -> None: ...


class _Certain:
    """The words of a summary that no later token changes: all but the last."""

    def __init__(self, reader: TextCodec) -> None:
        self._reader, self._tokens, self._told = reader, list[int](), 0

    def add(self, token: int) -> str:
        """Take a token, and return what has become certain by it."""
        self._tokens.append(token)
        text = self._reader.decode(self._tokens)
        certain = max(text.rfind(" "), text.rfind("\n"))
        new = text[self._told : certain] if certain > self._told else ""
        self._told += len(new)
        return new
