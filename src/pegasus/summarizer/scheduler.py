"""A scheduler: texts are submitted at any time, and each step computes one batch of everybody's jobs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from pegasus.errors import PegasusError
from pegasus.summarizer.batches import pack
from pegasus.summarizer.document import SummaryTask
from pegasus.summarizer.records import Summary
from pegasus.summarizer.settings import Settings
from pegasus.summarizer.writer import Draft, Job, Writer

logger = logging.getLogger(__name__)

#: Is told how many jobs of a round are done, and of how many.
Progress = Callable[[int, int], None]
#: How a text ended.
End = Summary | PegasusError


@dataclass
class Talk:
    """A text on its way.

    Attributes:
        conversation: asks for jobs and ends in a summary.
        jobs: what it asked for last.
        drafts: those of them that are done, by their places.
        begun: whether it has asked for anything yet.
    """

    conversation: SummaryTask
    jobs: Sequence[Job] = ()
    drafts: dict[int, Draft] = field(default_factory=dict)
    begun: bool = False

    @property
    def answered(self) -> bool:
        """Whether all that it asked for is done."""
        return len(self.drafts) == len(self.jobs)

    def go_on(self) -> None:
        """Hand over what it asked for; raises ``StopIteration`` with its summary, or its error."""
        while self.answered:
            drafts = [self.drafts[place] for place in range(len(self.jobs))]
            self.jobs = self.conversation.send(drafts) if self.begun else next(self.conversation)
            self.drafts, self.begun = {}, True
            if self.jobs:
                return


class Scheduler:
    """Computes texts together, in rounds: what a text asks for joins the batches of the next round.

    A batch holds jobs of like length and equal limits. Texts of one round that have all they asked for go
    on after each batch, so that a text ends as soon as its last job is done.

    Args:
        writer: the model.
        settings: how large batches are, and how the model writes.
        progress: is told (done, of how many) after each batch of a round.
    """

    def __init__(self, writer: Writer, settings: Settings, progress: Progress | None = None) -> None:
        self.writer, self.settings, self.progress = writer, settings, progress
        self._talks: dict[int, Talk] = {}
        self._fresh: list[int] = []
        self._batches: list[list[tuple[int, int]]] = []
        self._done = self._planned = self._number = self._tickets = 0

    @property
    def busy(self) -> bool:
        """Whether any text has not ended."""
        return bool(self._talks)

    def submit(self, conversation: SummaryTask) -> int:
        """Take a text, whose jobs join the next round; return the number by which `step` names it."""
        ticket, self._tickets = self._tickets, self._tickets + 1
        self._talks[ticket] = Talk(conversation)
        self._fresh.append(ticket)
        return ticket

    def cancel(self, ticket: int) -> bool:
        """Give up a text: its jobs that wait are not computed. Returns whether it was on its way.

        Args:
            ticket: the number that `submit` returned. `step` will not name it.
        """
        if ticket not in self._talks:
            return False
        self._talks.pop(ticket).conversation.close()
        self._fresh = [other for other in self._fresh if other != ticket]
        left = [[job for job in batch if job[0] != ticket] for batch in self._batches]
        self._planned -= sum(map(len, self._batches)) - sum(map(len, left))
        self._batches = [batch for batch in left if batch]
        return True

    def step(self) -> list[tuple[int, End]]:
        """Compute one batch, and return the texts that have ended by it, with their numbers."""
        if self._batches:
            return self._compute(self._batches.pop(0))
        fresh, self._fresh = self._fresh, []
        ended = self._advance([ticket for ticket in fresh if not self._talks[ticket].begun])
        self._plan([ticket for ticket in fresh if ticket in self._talks])
        return ended

    def _plan(self, tickets: Sequence[int]) -> None:
        """Lay out the batches of a round."""
        places = [(ticket, place) for ticket in tickets for place in range(len(self._talks[ticket].jobs))]
        jobs = [self._talks[ticket].jobs[place] for ticket, place in places]
        self._batches = [
            [places[index] for index in batch] for batch in _batches(jobs, self.settings, self.writer)
        ]
        self._done, self._planned, self._number = 0, len(jobs), len(self._batches)

    def _compute(self, batch: Sequence[tuple[int, int]]) -> list[tuple[int, End]]:
        jobs = [self._talks[ticket].jobs[place] for ticket, place in batch]
        begin = time.perf_counter()
        written = self.writer.write(jobs, self.settings.for_generate())
        share = (time.perf_counter() - begin) / len(batch)
        for (ticket, place), draft in zip(batch, written, strict=True):
            self._talks[ticket].drafts[place] = replace(draft, seconds=share)
        self._tell(jobs, share)
        touched = dict.fromkeys(ticket for ticket, _ in batch)
        answered = [ticket for ticket in touched if self._talks[ticket].answered]
        ended = self._advance(answered)
        self._fresh += [ticket for ticket in answered if ticket in self._talks]
        return ended

    def _advance(self, tickets: Sequence[int]) -> list[tuple[int, End]]:
        """Let texts go on, and return those that end."""
        ended: list[tuple[int, End]] = []
        for ticket in tickets:
            try:
                refuse_not_numbers(self._talks[ticket].drafts.values(), self.writer)
                self._talks[ticket].go_on()
                continue
            except StopIteration as end:
                ended.append((ticket, end.value))
            except PegasusError as error:
                ended.append((ticket, error))
            del self._talks[ticket]
        return ended

    def _tell(self, jobs: Sequence[Job], share: float) -> None:
        self._done += len(jobs)
        logger.info(
            "batch %d of %d: %d texts, %d tokens, %.2f s",
            self._number - len(self._batches),
            self._number,
            len(jobs),
            sum(len(job.tokens) for job in jobs),
            share * len(jobs),
        )
        if self.progress is not None:
            self.progress(self._done, self._planned)


def refuse_not_numbers(drafts: Iterable[Draft], writer: Writer) -> None:
    """Refuse what a model wrote whose scores are no numbers: its text means nothing then.

    Raises:
        PegasusError: a score is NaN or infinite; says why.
    """
    if not all(math.isfinite(draft.score) for draft in drafts):
        raise PegasusError(f"The model's scores for this text are not finite: {writer.why_no_numbers()}")


def in_order(scheduler: Scheduler, conversations: Sequence[SummaryTask]) -> Iterator[End]:
    """Yield how each text ended, in order, each as soon as it and those before it have ended."""
    tickets = [scheduler.submit(conversation) for conversation in conversations]
    ended: dict[int, End] = {}
    for ticket in tickets:
        while ticket not in ended:
            ended.update(scheduler.step())
        yield ended.pop(ticket)


def _batches(jobs: Sequence[Job], settings: Settings, writer: Writer) -> list[list[int]]:
    """Return batches of job numbers; only jobs with equal limits can be computed together."""

    def limits(index: int) -> tuple[Any, ...]:
        budget = jobs[index].budget
        return (budget is None or (budget.least, budget.most), jobs[index].no_repeat_ngram_size or 0)

    batches = []
    for _, group in groupby(sorted(range(len(jobs)), key=lambda i: str(limits(i))), key=limits):
        own = list(group)
        lengths = [len(jobs[index].tokens) for index in own]
        fitting = writer.fit(max(lengths), jobs[own[0]].budget, settings.for_generate())
        packed = pack(lengths, min(settings.batch_size, fitting), settings.batch_tokens)
        batches += [[own[place] for place in batch] for batch in packed]
    return sorted(batches, key=lambda batch: -len(jobs[batch[0]].tokens))
