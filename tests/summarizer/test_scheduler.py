"""Texts on their way together: who joins, who is given up."""

from __future__ import annotations

from pegasus.summarizer.context import Context
from pegasus.summarizer.document import summarize_text
from pegasus.summarizer.records import Summary
from pegasus.summarizer.scheduler import Scheduler

TEXT = "One two three four five. Six seven eight nine ten."


def scheduler_of(summarizer, **settings):
    context = Context(summarizer.reader, summarizer.writer, summarizer.settings.changed(**settings), "m")
    return Scheduler(summarizer.writer, context.settings), context


def test_a_text_that_is_given_up_is_not_computed(summarizer):
    scheduler, context = scheduler_of(summarizer, batch_size=1)
    tickets = [scheduler.submit(summarize_text(f"Text {n}. {TEXT}", context)) for n in range(4)]
    assert scheduler.step() == []  # the round is laid out
    assert scheduler.cancel(tickets[2])
    assert not scheduler.cancel(tickets[2])
    assert not scheduler.cancel(99)
    ended = {}
    while scheduler.busy:
        ended.update(scheduler.step())
    assert sorted(ended) == [tickets[0], tickets[1], tickets[3]]
    assert all(isinstance(end, Summary) for end in ended.values())
    assert len(summarizer.writer.batches) == 3


def test_a_text_may_be_given_up_before_its_round(summarizer):
    scheduler, context = scheduler_of(summarizer)
    first = scheduler.submit(summarize_text(TEXT, context))
    second = scheduler.submit(summarize_text(TEXT, context))
    assert scheduler.cancel(first)
    ended = {}
    while scheduler.busy:
        ended.update(scheduler.step())
    assert list(ended) == [second]
    assert [len(batch) for batch in summarizer.writer.batches] == [1]


def test_a_text_that_joins_later_is_done_too(summarizer):
    scheduler, context = scheduler_of(summarizer, batch_size=1)
    tickets = [scheduler.submit(summarize_text(TEXT, context)) for _ in range(2)]
    scheduler.step()
    ended = dict(scheduler.step())
    tickets.append(scheduler.submit(summarize_text(TEXT, context)))
    while scheduler.busy:
        ended.update(scheduler.step())
    assert sorted(ended) == tickets
