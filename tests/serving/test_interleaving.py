"""Texts of many callers on one model: who shares a batch, whose turn it is, who is given up."""

from __future__ import annotations

import pytest

from pegasus.errors import BadSetting, DeadlineExceeded
from pegasus.serving.interleaving import Interleaver, Sharing
from pegasus.serving.orders import Order, Words
from pegasus.summarizer import Summary

TEXT = "One two three four five six. Seven eight nine ten."


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


class Bench:
    """An interleaver on a stand-in, with a clock of its own."""

    def __init__(self, make_writer, make_summarizer, **sharing):
        self.writer = make_writer()
        self.summarizer = make_summarizer(self.writer)
        self.clock = Clock()
        self.told = {}
        self.interleaver = Interleaver(
            self.summarizer, Sharing(**{"join_seconds": 0, **sharing}), clock=self.clock
        )

    def order(self, name, text=TEXT, deadline=1e9, words=False, **settings):
        self.told[name] = []
        settings = self.summarizer.settings.changed(**settings)
        order = Order(text, settings, deadline, self.told[name].append, words)
        self.interleaver.take(order)
        return order

    def finish(self):
        for _ in range(1000):
            self.interleaver.step()
        assert not self.interleaver.busy

    @property
    def sizes(self):
        return [len(steps.batch) for steps in self.writer.begun]


@pytest.fixture
def bench(stepped, stand_in):
    return lambda **sharing: Bench(stepped, stand_in, **sharing)


def test_equal_settings_share_a_batch_and_others_do_not(bench):
    one = bench(join_seconds=1)
    for name, settings in {"a": {}, "b": {}, "c": {"num_beams": 2}, "d": {"length": 4}, "e": {}}.items():
        one.order(name, **settings)
    for _ in range(5):
        one.interleaver.step()
    assert one.sizes == []  # all wait for company
    assert one.interleaver.rest == 1
    one.clock.time = 1
    one.finish()
    assert sorted(one.sizes) == [1, 1, 3]
    assert all(isinstance(told[-1], Summary) for told in one.told.values())


def test_what_has_used_half_of_its_time_goes_on_alone(bench):
    one = bench(batch_size=1)
    one.order("a", deadline=10), one.order("b", deadline=10)
    for _ in range(3):
        one.interleaver.step()
    assert [steps.done for steps in one.writer.begun] == [3, 2]
    one.clock.time = 5.1
    one.interleaver.step()
    one.interleaver.step()
    assert [steps.done for steps in one.writer.begun] == [5, 2]
    one.finish()
    assert all(isinstance(told[-1], Summary) for told in one.told.values())


def test_a_full_batch_does_not_wait(bench):
    one = bench(join_seconds=1, batch_size=2)
    one.order("a"), one.order("b")
    for _ in range(2):
        one.interleaver.step()
    assert one.sizes == [2]


def test_a_batch_holds_so_many_tokens(bench):
    one = bench(join_seconds=1, batch_tokens=25)
    for name in "abc":
        one.order(name)
    for _ in range(3):
        one.interleaver.step()
    one.clock.time = 1
    one.finish()
    assert one.sizes == [2, 1]


def test_texts_of_like_length_share_a_batch(bench):
    one = bench(batch_size=2, most_batches=1)
    one.order("first", "word " * 12 + ".")
    one.interleaver.step()
    for name, words in (("a", 4), ("b", 20), ("c", 5)):
        one.order(name, "word " * words + ".")
    for _ in range(3):
        one.interleaver.step()
    assert len(one.writer.begun) == 1
    one.finish()
    sizes = [[len(job.tokens) for job in steps.batch] for steps in one.writer.begun]
    assert sizes == [[14], [6, 7], [22]]


def test_what_is_drawn_shares_no_batch(bench):
    one = bench(join_seconds=1)
    for name in "ab":
        one.order(name, generate={"do_sample": True, "seed": 1})
    for _ in range(2):
        one.interleaver.step()
    one.clock.time = 1
    one.finish()
    assert one.sizes == [1, 1]


def test_a_short_text_ends_before_a_long_one_that_came_first(bench):
    one = bench(batch_size=1)
    ended = []
    long = "word " * 30 + "."
    for name, text in (("long", long), ("short", "Two words.")):
        one.order(name, text)
        one.interleaver.step()
    while one.interleaver.busy:
        one.interleaver.step()
        ended += [name for name, told in one.told.items() if told and name not in ended]
    assert ended == ["short", "long"]


def test_a_text_of_many_pieces_leaves_places_to_others(bench):
    one = bench(batch_size=1, most_batches=4)
    one.order("book", "One two three four five six seven. " * 60, long="chunk")
    for _ in range(3):
        one.interleaver.step()
    assert len(one.writer.begun) == 2  # half of the places
    one.order("note", "Two words.")
    steps = 0
    while not one.told["note"]:
        one.interleaver.step()
        steps += 1
    assert steps < 8
    assert not one.told["book"]
    one.finish()
    assert isinstance(one.told["book"][-1], Summary)


def test_who_leaves_is_dropped_at_the_next_step_and_others_go_on(bench):
    one = bench(batch_size=2, join_seconds=1)
    first, _ = one.order("a", "word " * 12 + "."), one.order("b")
    for _ in range(3):
        one.interleaver.step()
    (steps,) = one.writer.begun
    assert one.interleaver.give_up(first)
    assert not one.interleaver.give_up(first)
    assert [steps.batch[index].tokens for index in steps.dropped] == [steps.batch[steps.dropped[0]].tokens]
    one.finish()
    assert one.told["a"] == []
    assert isinstance(one.told["b"][-1], Summary)


def test_a_batch_that_nobody_waits_for_is_not_computed_further(bench):
    one = bench()
    order = one.order("a")
    for _ in range(2):
        one.interleaver.step()
    before = len(one.writer.steps)
    one.interleaver.give_up(order)
    assert not one.interleaver.busy
    one.interleaver.step()
    assert len(one.writer.steps) == before > 0


def test_a_deadline_ends_a_text_between_two_steps(bench):
    one = bench()
    one.order("late", deadline=5), one.order("early", deadline=50)
    for _ in range(2):
        one.interleaver.step()
    one.clock.time = 5
    one.interleaver.step()
    assert [type(event) for event in one.told["late"]] == [DeadlineExceeded]
    one.finish()
    assert isinstance(one.told["early"][-1], Summary)


def test_words_are_told_but_the_last_until_it_is_certain(bench):
    one = bench()
    one.order("a", words=True)
    one.finish()
    *words, summary = one.told["a"]
    assert all(isinstance(word, Words) for word in words)
    assert "".join(word.text for word in words) == "One two three four"
    assert summary.text == "One two three four five"


def test_one_that_does_not_fit_ends_and_others_go_on(bench):
    one = bench()
    fits = one.writer.fit

    def fit(source, budget, settings):
        if source > 15:
            raise BadSetting("too large")
        return fits(source, budget, settings)

    one.writer.fit = fit
    one.order("large", "word " * 20 + "."), one.order("small", "Two words.")
    one.finish()
    assert [type(event) for event in one.told["large"]] == [BadSetting]
    assert isinstance(one.told["small"][-1], Summary)


def test_an_error_of_the_model_ends_those_of_its_batch_alone(bench):
    one = bench()
    write = one.writer.write

    def fail(batch, settings):
        if settings.get("num_beams") == 2:
            raise RuntimeError("a broken model")
        return write(batch, settings)

    one.writer.write = fail
    one.order("bad", num_beams=2), one.order("good")
    one.finish()
    assert [type(event) for event in one.told["bad"]] == [RuntimeError]
    assert isinstance(one.told["good"][-1], Summary)


def test_memory_limits_a_batch(bench):
    one = bench(join_seconds=1)
    one.writer.fitting = 2
    for name in "abc":
        one.order(name)
    for _ in range(3):
        one.interleaver.step()
    one.clock.time = 1
    one.finish()
    assert one.sizes == [2, 1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_beams": 1},
        {"faithful": "words"},
        {"num_beams": 4, "generate": {"num_beam_groups": 2, "diversity_penalty": 0.5}},
    ],
)
def test_real_texts_that_share_a_batch_come_out_as_alone(bundled, changes):
    texts = [
        "A new bridge opened in Paris on Monday. Thousands came to see it.",
        "Police in Leeds arrested a man of 34 after a shop was robbed on Friday night.",
        "Scientists found a new kind of frog in Peru. It is the size of a coin.",
    ]
    told = {text: [] for text in texts}
    interleaver = Interleaver(bundled, Sharing(), clock=Clock())
    settings = bundled.settings.changed(**changes)
    orders = [Order(text, settings, 1e9, told[text].append) for text in texts]
    for order in orders:
        interleaver.take(order)
    for _ in texts:
        interleaver.step()
    interleaver.clock.time = 1  # what waited for company begins
    for _ in range(4):
        interleaver.step()
    assert interleaver.give_up(orders[1])
    while interleaver.busy:
        interleaver.step()
    assert told.pop(texts[1]) == []
    for text, (summary,) in told.items():
        assert summary.text == bundled(text, **changes).text
