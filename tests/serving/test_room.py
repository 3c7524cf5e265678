"""Queues, deadlines, clients that leave, and how a server ends."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from pegasus.errors import Overloaded
from pegasus.serving.engine_room import EngineRoom
from pegasus.serving.interleaving import Sharing
from pegasus.serving.options import ServeOptions
from pegasus.serving.orders import Order
from pegasus.summarizer import Settings

TEXT = "One two three four five six. Seven eight nine ten."


def post(served, **body):
    return served.client.post("/v1/summarize", json={"document": TEXT, **body})


def test_many_clients_share_batches_and_each_gets_its_own(serving):
    with serving(sharing=Sharing(join_seconds=0.05)) as one, ThreadPoolExecutor(16) as pool:
        texts = [f"Word{n} two three four. Five six." for n in range(48)]
        answers = list(pool.map(lambda text: post(one, document=text).json()["summary"], texts))
        assert answers == [f"Word{n} two three" for n in range(48)]
        assert max(len(steps.batch) for steps in one.writer.begun) > 1


def test_a_full_queue_refuses_and_says_when_to_come_back(serving, stepped):
    with serving(ServeOptions(port=0, most_texts=2)) as one, ThreadPoolExecutor(2) as pool:
        one.writer.shut_gate()
        waiting = [pool.submit(post, one) for _ in range(2)]
        one.wait_for_texts(2)
        refused = post(one)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        one.writer.gate.set()
        assert [answer.result().status_code for answer in waiting] == [200, 200]
        assert post(one).status_code == 200


def test_a_request_is_taken_whole_or_not_at_all(serving):
    with serving(ServeOptions(port=0, most_texts=2)) as one:
        refused = one.client.post("/v1/summarize", json={"documents": [TEXT] * 3})
        assert refused.status_code == 429
        assert one.server.room.texts == 0
        assert one.writer.begun == []


@pytest.mark.parametrize("how", ["request", "server"])
def test_a_deadline_ends_a_request(serving, how):
    options = ServeOptions(port=0, deadline=0.2 if how == "server" else 30)
    with serving(options) as one:
        one.writer.shut_gate()

        def open_too_late():
            one.wait_until_computing()
            time.sleep(0.4)
            one.writer.gate.set()

        opener = threading.Thread(target=open_too_late)
        opener.start()
        response = post(one, **({"timeout": 0.2} if how == "request" else {}))
        assert response.status_code == 504
        assert response.json()["error"]["code"] == "deadline_exceeded"
        assert one.server.room.texts == 0
        assert len(one.writer.steps) < 6  # a summary of as many tokens is not written to its end
        opener.join()


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_client_that_left_asked_for_is_not_computed(serving, stream):
    with serving() as one:
        one.writer.shut_gate()
        body = json.dumps({"document": TEXT, "stream": stream}).encode()
        head = f"POST /v1/summarize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection(urlsplit(one.server.url).netloc.split(":")) as line:
            line.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            one.wait_until_computing()
        one.wait_for_texts(0)
        one.writer.gate.set()
        assert post(one, document="Two words.").status_code == 200
        given_up, other = one.writer.begun
        assert given_up.done <= 1
        assert other.done == len(other.made[0].tokens)
        ended = one.client.get("/metrics").text
        assert 'pegasus_ended_total{end="left"} 1.0' in ended


@pytest.fixture
def room(stepped, stand_in, monkeypatch):
    """A room that no thread works in: pace and what is taken are as a test says."""
    made = EngineRoom(lambda: stand_in(stepped()), Sharing(batch_size=2, most_batches=2))
    monkeypatch.setattr(made, "state", "ready")
    return made


def order(seconds):
    return Order(TEXT, Settings(), time.monotonic() + seconds, lambda event: None)


def test_what_could_not_be_finished_in_time_is_refused_at_once(room):
    room.remember(seconds=20.0, texts=10)
    room.submit([order(60) for _ in range(11)])  # of two seconds each
    with pytest.raises(Overloaded, match=r"11 texts are on their way, .* the pace of late 2 more") as told:
        room.submit([order(60), order(60)])
    assert told.value.retry_after == 11
    room.submit([order(64)])  # whoever waits longer may come
    with pytest.raises(Overloaded, match="could not be finished within 10 s"):
        room.submit([order(10)])
    assert room.texts == 12


def test_who_comes_alone_is_never_too_late(room):
    room.remember(seconds=1000.0, texts=1)
    room.submit([order(1), order(1)])
    with pytest.raises(Overloaded):
        room.submit([order(60)])


def test_before_a_pace_is_known_no_more_are_taken_than_are_computed_at_once(room):
    room.submit([order(60) for _ in range(4)])
    with pytest.raises(Overloaded, match="by the pace of late"):
        room.submit([order(60)])


def test_the_pace_is_that_of_late(room):
    room.remember(seconds=100.0, texts=100)
    for _ in range(10):
        room.remember(seconds=1.0, texts=16)  # a batch of them
    room.submit([order(60) for _ in range(100)])
    room.remember(seconds=10_000.0, texts=16)
    with pytest.raises(Overloaded):
        room.submit([order(60)])


def test_draining_finishes_what_was_taken_and_refuses_the_rest(serving):
    with serving() as one, ThreadPoolExecutor(3) as pool:
        one.writer.shut_gate()
        waiting = [pool.submit(post, one) for _ in range(3)]
        one.wait_for_texts(3)
        one.server.handle_exit(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while one.client.get("/readyz").status_code == 200:
            assert time.monotonic() < deadline
        assert one.client.get("/healthz").status_code == 200
        refused = post(one)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        one.writer.gate.set()
        assert [answer.result().status_code for answer in waiting] == [200] * 3


def test_what_does_not_end_in_time_is_told_so(serving):
    with serving(ServeOptions(port=0, drain_seconds=0.2)) as one, ThreadPoolExecutor(1) as pool:
        one.writer.shut_gate()
        waiting = pool.submit(post, one)
        one.wait_for_texts(1)
        one.server.handle_exit(signal.SIGTERM)
        threading.Timer(0.6, one.writer.gate.set).start()
        assert waiting.result().status_code == 503


def test_nothing_is_taken_before_the_model_is_there():
    opened = threading.Event()
    room = EngineRoom(lambda: opened.wait(20) and None)
    room.start()
    with pytest.raises(Overloaded, match="not there yet"):
        room.submit([])
    opened.set()
    room.stop()
    assert room.state == "failed"
