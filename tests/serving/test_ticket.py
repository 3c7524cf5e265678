"""A text that a second engine begins again: nobody is told anything twice, or two different things."""

from __future__ import annotations

import pytest

from pegasus.errors import BadData, EngineLost
from pegasus.serving.engine_messages import Counted
from pegasus.serving.engine_process import Reporter
from pegasus.serving.orders import Order, Words
from pegasus.serving.ticket import Ticket
from pegasus.summarizer import Settings, Summary


def summary(text):
    return Summary(text, 0.0, 1, 1, False, 1, "eos")


@pytest.fixture
def told():
    return []


@pytest.fixture
def ticket(told):
    return Ticket(Order("One two.", Settings(num_beams=2), 7.0, told.append, words=True))


def test_an_engine_is_told_what_the_order_says(ticket):
    ticket.order.arrived = 3.0
    taken = ticket.taken(5)
    assert (taken.number, taken.text, taken.settings) == (5, "One two.", Settings(num_beams=2))
    assert (taken.deadline, taken.arrived, taken.words) == (7.0, 3.0, True)


def test_two_engines_may_try(ticket):
    assert not ticket.spent
    ticket.taken(0)
    assert not ticket.spent
    ticket.taken(1)
    assert ticket.spent


def test_words_that_were_told_are_not_told_again(ticket, told):
    ticket.taken(0)
    assert not ticket.pass_on(Words("One two"))
    assert not ticket.pass_on(Words(" three"))
    ticket.taken(1)
    for words in ("One", " two three four", " five"):
        assert not ticket.pass_on(Words(words))
    assert ticket.pass_on(summary("One two three four five six"))
    assert [event.text for event in told] == [
        *("One two", " three", " four", " five"),
        "One two three four five six",
    ]


@pytest.mark.parametrize("events", [[Words("One"), Words(" four")], [Words("One"), summary("One")]])
def test_other_words_than_were_told_are_an_error(ticket, told, events):
    ticket.taken(0)
    ticket.pass_on(Words("One two three"))
    ticket.taken(1)
    *first, last = events
    assert not any(ticket.pass_on(event) for event in first)
    assert ticket.pass_on(last)
    assert [type(event) for event in told] == [Words, EngineLost]


def test_an_error_is_passed_on_whatever_was_told(ticket, told):
    ticket.taken(0)
    ticket.pass_on(Words("One"))
    ticket.taken(1)
    assert ticket.pass_on(BadData("no"))
    assert isinstance(told[-1], BadData)


def test_counts_are_said_now_and_then_and_at_rest():
    said, now = [], [0.0]
    reporter = Reporter(said.append, lambda: now[0])
    reporter.began(0.5)
    reporter.batch(3)
    for _ in range(4):
        reporter.stepped()
        reporter.computing(3)
    assert said == []
    now[0] = 0.3
    reporter.stepped()
    reporter.computing(2)
    reporter.stepped()
    reporter.computing(0)
    reporter.computing(0)
    assert said == [Counted((0.5,), (3,), 5, 2), Counted((), (), 1, 0)]
    reporter.asked = True
    reporter.computing(0)
    reporter.computing(0)
    assert said[2:] == [Counted((), (), 0, 0)]
