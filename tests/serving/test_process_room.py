"""Engines in processes of their own: the same answers, and nothing lost when one of them dies."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from pegasus.errors import CheckpointNotFound, EngineLost, Overloaded
from pegasus.serving import process_room
from pegasus.serving.engine_messages import Broke, Opened, Take
from pegasus.serving.failures import Unexpected
from pegasus.serving.options import ServeOptions
from pegasus.serving.orders import Order
from pegasus.serving.process_room import ProcessRoom
from pegasus.summarizer import Settings, Summarizer

OPENING = partial(Summarizer.from_pretrained, "pegasus-mini", threads=1)
TEXTS = [
    "A new bridge opened in Paris. Thousands came to see it. The mayor spoke of a great day.",
    "Rain fell in London on Monday. The river rose by two metres. Schools stayed closed for a day.",
    "The museum bought a painting for 2 million euros. Visitors may see it from May on.",
    "A fire broke out in a factory near Berlin. Nobody was hurt. The police look for the cause.",
]
LONG_WAIT = 60  # of a test that would otherwise hang


@pytest.fixture(scope="module")
def pair(module_serving):
    """A server of two processes; a test that ends one leaves another in its place."""
    with module_serving(ServeOptions(port=0, workers=2), opening=OPENING) as one:
        yield one


@pytest.fixture(scope="module")
def single(module_serving, bundled):
    """The same without processes."""
    with module_serving(ServeOptions(port=0), opened=bundled) as one:
        yield one


def until(true):
    end = time.monotonic() + LONG_WAIT
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def summarize(served, **body):
    return served.client.post("/v1/summarize", json=body)


class Held:
    """Engines that are held, so that what is sent to them stays there."""

    def __init__(self, served):
        self.room = served.server.room
        until(lambda: self.room._alive == 2 and not any(place.load for place in self.room._places))
        self.pids = self.room.pids
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def loads(self):
        return [len(place.tickets) for place in self.room._places]

    def kill_one_with_texts(self):
        """End an engine that has texts, and wait until others have them."""
        place = next(place for place in self.room._places if place.tickets)
        pid = place.link.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: place.link is None or place.link.pid != pid)

    def go_on(self):
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.fixture
def held(pair):
    made = Held(pair)
    yield made
    made.go_on()
    until(lambda: made.room._alive == 2)
    assert made.room.state == "ready"
    assert made.room.texts == 0


SETTINGS = [
    {},
    {"num_beams": 1},
    {"num_beams": 1, "do_sample": True, "seed": 7, "top_k": 20},
    {"max_input_tokens": 16, "faithful": "off"},
    {"sentences": 1, "explain": True},
    {"long": "error", "max_input_tokens": 8},
    {"max_new_tokens": 600},
    {"num_beams": 3, "num_beam_groups": 2},
]


def told(answer):
    """All of an answer but what each call has of its own."""
    body = answer.json()
    for result in body.get("results", [body]):
        for own in ("id", "seconds", "score"):
            result.pop(own, None)
        for chunk in result.get("chunks", ()):
            chunk.pop("score")
        for one in result.get("explanation") or ():
            for support in one["support"]:
                support["share"] = round(support["share"], 2)
    body.pop("id", None)
    return answer.status_code, body


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_answers_are_those_of_one_engine(pair, single, settings):
    ask = {"documents": TEXTS, **settings}
    assert told(summarize(pair, **ask)) == told(summarize(single, **ask))
    ask = {"document": TEXTS[0], **settings}
    assert told(summarize(pair, **ask)) == told(summarize(single, **ask))


def test_it_says_what_one_engine_says_of_its_model(pair, single):
    assert pair.client.get("/info").json() == single.client.get("/info").json()
    assert pair.client.get("/v1/models").json() == single.client.get("/v1/models").json()


def test_words_come_as_they_are_written(pair, single):
    ask = {"document": TEXTS[0], "num_beams": 1, "stream": True}
    names = [line for line in summarize(pair, **ask).text.splitlines() if line.startswith("event")]
    assert names.count("event: words") > 3
    events = [
        [line for line in summarize(one, **ask).text.splitlines() if '"text"' in line]
        for one in (pair, single)
    ]
    assert events[0] == events[1]


def test_halves_of_characters_reach_an_engine(pair):
    body = b'{"document": "One \\ud800 two three. Four five."}'
    head = {"Content-Type": "application/json"}
    assert pair.client.post("/v1/summarize", content=body, headers=head).status_code in (200, 422)


def test_engines_share_what_there_is_and_metrics_say_so(pair, held):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(summarize, pair, documents=[*TEXTS, TEXTS[0]])
        until(lambda: held.room.texts == 5)
        until(lambda: sum(held.loads()) == 5)
        assert sorted(held.loads()) == [2, 3]
        metrics = pair.client.get("/metrics").text
        assert "pegasus_texts 5.0" in metrics
        assert "pegasus_engines 2.0" in metrics
        held.go_on()
        assert waiting.result().status_code == 200
    until(lambda: "pegasus_texts_computed 0.0" in pair.client.get("/metrics").text)
    metrics = dict(
        line.rsplit(" ", 1)
        for line in pair.client.get("/metrics").text.splitlines()
        if not line.startswith("#")
    )
    assert float(metrics["pegasus_steps_total"]) > 5
    assert float(metrics["pegasus_queue_seconds_count"]) >= 5
    assert float(metrics["pegasus_batch_jobs_sum"]) >= 5


def test_a_deadline_does_not_wait_for_an_engine(pair, held):
    response = summarize(pair, document=TEXTS[0], timeout=0.2)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert held.loads() == [0, 0]


def test_an_engine_that_says_nothing_gets_no_more_than_others(pair, held):
    for _ in range(4):
        assert summarize(pair, document=TEXTS[0], timeout=0.1).status_code == 504
    assert [place.load for place in held.room._places] == [2, 2]
    held.go_on()
    until(lambda: [place.load for place in held.room._places] == [0, 0])


def test_nobody_waits_for_what_a_client_left(pair, held):
    with pytest.raises(Exception, match="timed out"):
        pair.client.post("/v1/summarize", json={"document": TEXTS[0]}, timeout=0.3)
    until(lambda: held.room.texts == 0 and held.loads() == [0, 0])


def test_what_a_dead_engine_had_is_computed_by_another(pair, single, held):
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(summarize, pair, document=text) for text in TEXTS]
        until(lambda: sum(held.loads()) == 4)
        before = restarts(pair)
        held.kill_one_with_texts()
        assert pair.client.get("/readyz").status_code == 200
        held.go_on()
        answers = [told(one.result()) for one in waiting]
    assert answers == [told(summarize(single, document=text)) for text in TEXTS]
    until(lambda: restarts(pair) == before + 1)


def restarts(served):
    (line,) = [
        line
        for line in served.client.get("/metrics").text.splitlines()
        if line.startswith("pegasus_engine_restarts_total")
    ]
    return float(line.split()[1])


def test_what_two_dead_engines_had_is_an_error(pair, held):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(summarize, pair, document=TEXTS[0])
        until(lambda: sum(held.loads()) == 1)
        held.kill_one_with_texts()
        until(lambda: sum(held.loads()) == 1)
        held.kill_one_with_texts()
        response = waiting.result()
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "engine_lost"
    assert "another one that tried" in response.json()["error"]["message"]
    assert summarize(pair, document=TEXTS[1]).status_code in (200, 503)  # a server goes on


def test_while_no_engine_lives_nothing_is_taken(pair, held):
    for pid in held.pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: held.room.state == "opening")
    response = pair.client.get("/readyz")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    with pytest.raises(Overloaded, match="not there yet"):
        held.room.submit([Order(TEXTS[0], Settings(), time.monotonic() + 9, lambda event: None)])
    until(lambda: held.room.state == "ready")
    assert summarize(pair, document=TEXTS[0]).status_code == 200


def test_a_model_that_cannot_be_opened_is_told_as_one_engine_tells_it(tmp_path):
    opening = partial(Summarizer.from_pretrained, tmp_path)
    with pytest.raises(CheckpointNotFound) as here:
        opening()
    room = ProcessRoom(opening, engines=2)
    room.start()
    until(lambda: room.state == "failed")
    room.stop()
    assert (type(room.failure), str(room.failure)) == (CheckpointNotFound, str(here.value))
    assert room.state == "failed"


def test_engines_that_always_die_fail_the_room(monkeypatch):
    monkeypatch.setattr(process_room, "_FIRST_WAIT", 0.001)
    room = ProcessRoom(partial(os._exit, 3), engines=1)
    room.start()
    until(lambda: room.state == "failed")
    room.stop()
    assert isinstance(room.failure, EngineLost)
    assert "died 5 times, soon after it was started: it ended with exit code 3" in str(room.failure)
    assert room.pids == []


class Line:
    """The link of an engine that is not there."""

    def __init__(self):
        self.sent = []
        self.send = self.sent.append
        self.close = self.kill = lambda: None

    def texts(self):
        return [message.text for message in self.sent if isinstance(message, Take)]


def test_an_engine_that_broke_gets_nothing_more(caplog):
    room, ends = ProcessRoom(OPENING, engines=2), []
    lines = [Line(), Line()]
    for place, place.link in zip(room._places, lines):
        place.welcome()
    room.facts, room.state = object(), "ready"

    def submit(*texts):
        room.submit([Order(text, Settings(), time.monotonic() + 60, ends.append) for text in texts])

    submit("a", "b", "c")
    assert [line.texts() for line in lines] == [["a", "c"], ["b"]]
    first, second = room._places
    room._hear(first, Broke(Unexpected("KeyError", "somewhere:7")))
    submit("d")
    assert [line.texts() for line in lines] == [["a", "c"], ["b", "d"]]
    room._lose(first, "it ended")
    assert [line.texts() for line in lines] == [["a", "c"], ["b", "d", "a", "c"]]
    assert "died: KeyError at somewhere:7; 2 texts" in caplog.text
    assert (room.state, ends, room.texts) == ("ready", [], 4)
    room._lose(second, "it ended")
    assert [type(end) for end in ends] == [EngineLost, EngineLost]  # a and c; b and d wait for another one
    assert (room.state, room.texts, len(room._waiting)) == ("opening", 2, 2)
    first.link = Line()
    room._hear(first, Opened(room.facts))
    assert first.link.texts() == ["b", "d"]
    assert room.state == "ready"
    room.stop()
    assert [type(end) for end in ends[2:]] == [Overloaded, Overloaded]


def test_what_two_engines_do_in_time_is_not_refused():
    room = ProcessRoom(OPENING, engines=2)
    room.state, room._engines = "ready", 2
    room.remember(seconds=20.0, texts=10)  # two seconds each, of one engine

    def order():
        return Order(TEXTS[0], Settings(), time.monotonic() + 60, lambda event: None)

    room.submit([order() for _ in range(23)])
    with pytest.raises(Overloaded, match="by the pace of late"):
        room.submit([order(), order()])


@pytest.mark.slow
def test_engines_that_die_under_load_lose_nothing(pair, single):
    room = pair.server.room
    until(lambda: room._alive == 2)
    asked = [f"{text} It was day {day}." for day in range(40) for text in TEXTS]
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(summarize, pair, document=text, num_beams=4) for text in asked]
        for _ in range(6):
            # A text is given to a second engine, and not to a third: those of the last death end first.
            until(lambda: room._alive == 2 and room.texts and not seconds(room))
            victim = max(room._places, key=lambda place: len(place.tickets))
            os.kill(victim.link.pid, signal.SIGKILL)
            until(lambda: room._alive < 2)
        answers = [one.result() for one in waiting]
    assert [answer.status_code for answer in answers] == [200] * len(asked)
    wanted = [summarize(single, document=text, num_beams=4).json()["summary"] for text in asked[::8]]
    assert [answer.json()["summary"] for answer in answers[::8]] == wanted
    until(lambda: room._alive == 2)


def seconds(room):
    """Texts that a second engine has."""
    with room._changed:
        return [
            ticket for place in room._places for ticket in place.tickets.values() if ticket._engines > 1
        ]
