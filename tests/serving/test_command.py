"""The command `pegasus serve`, with one engine and with several: how it ends, with nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from pegasus.backends.threads import processors
from pegasus.cli.app import build_parser
from pegasus.cli.verbs import serve
from pegasus.errors import BadSetting
from pegasus.serving.options import ServeOptions

KEY = "a-key-of-more-than-sixteen"
HEAD = {"Authorization": f"Bearer {KEY}"}
TEXT = "A new bridge opened in Paris. Thousands came to see it. The mayor spoke of a great day."
LONG_WAIT = 90  # of a test that would otherwise hang
SEVERAL = pytest.param(
    2, marks=pytest.mark.skipif(processors() < 2, reason="several engines need several processors")
)


class Command:
    """A server in a process group of its own."""

    def __init__(self, *options):
        command = [sys.executable, "-m", "pegasus", "serve", "--port", "0", *options]
        environment = {**os.environ, "PEGASUS_API_KEYS": KEY}
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr))
        self._reader.start()

    def messages(self):
        return [json.loads(line)["message"] for line in list(self.lines) if line.startswith("{")]

    def wait_until_ready(self):
        until(lambda: "ready" in self.messages() or self.process.poll() is not None, lambda: self.lines)
        assert self.process.poll() is None, "".join(self.lines)
        self.url = re.search(r"http://[\d.:]+", self.lines[0])[0]

    def signal_all(self, number):
        os.killpg(self.process.pid, number)

    def group(self):
        """All processes that live, the server's own included."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state != "Z":
                    found.append(int(stat.parent.name))
        return found

    def end(self):
        """Return the exit code, when nothing is left."""
        code = self.process.wait(LONG_WAIT)
        until(lambda: not self.group(), lambda: (self.group(), self.lines))
        self._reader.join(LONG_WAIT)
        return code


def until(true, seen=lambda: ""):
    end = time.monotonic() + LONG_WAIT
    while not true():
        assert time.monotonic() < end, f"waited too long: {seen()}"
        time.sleep(0.01)


@contextmanager
def commanded(*options):
    made = Command(*options)
    try:
        yield made
    finally:
        with suppress(ProcessLookupError):
            os.killpg(made.process.pid, signal.SIGKILL)
        made.process.wait()
        made._reader.join()
        made.process.stderr.close()


def ask(url, beams=1):
    body = {"document": TEXT, "num_beams": beams, "min_new_tokens": 60}
    return httpx.post(f"{url}/v1/summarize", json=body, headers=HEAD, timeout=60, trust_env=False)


@pytest.mark.parametrize("workers", [1, SEVERAL])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(workers, number):
    """Sent to the whole group, as terminals and service managers do, while requests are under way."""
    with commanded("--threads", "1", "--workers", str(workers)) as server:
        server.wait_until_ready()
        assert len(server.group()) == (1 if workers == 1 else workers + 2)  # and who tidies up after them
        with ThreadPoolExecutor(6) as pool:
            answers = [pool.submit(ask, server.url, beams) for beams in (1, 2, 4, 4, 8, 8)]
            until(lambda: texts(server.url) or all(answer.done() for answer in answers))
            server.signal_all(number)
            results = [answer.result() for answer in answers]
        assert {result.status_code for result in results} <= {200, 503}
        assert any(result.status_code == 200 for result in results)
        assert all(len(one.json()["summary"]) > 20 for one in results if one.status_code == 200)
        assert server.end() == 0
        assert all(json.loads(line)["level"] == "info" for line in server.lines)
        assert "bridge" not in "".join(server.lines)


def texts(url):
    told = httpx.get(f"{url}/metrics", headers=HEAD, trust_env=False).text
    return float(re.search(r"^pegasus_texts (\S+)", told, re.MULTILINE)[1])


def deaf(pid):
    """Whether a process holds back or ignores what the whole group is told, from its first moment on."""
    with suppress(OSError):  # it has gone
        status = Path(f"/proc/{pid}/status").read_text()
        masks = [int(re.search(rf"^{name}:\s*(\w+)", status, re.M)[1], 16) for name in ("SigBlk", "SigIgn")]
        return all((masks[0] | masks[1]) >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))
    return True


@pytest.mark.parametrize("workers", [1, SEVERAL])
def test_a_signal_while_it_starts_ends_it_in_order(workers):
    with commanded("--threads", "1", "--workers", str(workers)) as server:
        until(lambda: server.lines and len(server.group()) >= (1 if workers == 1 else 3))
        for pid in server.group():
            assert pid == server.process.pid or deaf(pid)
        server.signal_all(signal.SIGINT)
        assert server.end() == 0
        assert "Traceback" not in "".join(server.lines)
        assert "ready" not in server.messages()


@pytest.mark.parametrize("workers", [SEVERAL])
@pytest.mark.parametrize("when", ["starting", "resting", "computing"])
def test_a_server_that_is_killed_leaves_no_process_behind(workers, when):
    with commanded("--threads", "1", "--workers", str(workers)) as server:
        if when == "starting":
            until(lambda: server.lines and len(server.group()) >= 3)
        else:
            server.wait_until_ready()
        if when == "computing":
            body = {"documents": [TEXT] * 16, "num_beams": 8, "min_new_tokens": 100}
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(
                    httpx.post, f"{server.url}/v1/summarize", json=body, headers=HEAD, trust_env=False
                )
                until(lambda: texts(server.url) or waiting.done())
                server.process.kill()
                waiting.exception()
        server.process.kill()
        assert server.end() == -signal.SIGKILL


@pytest.mark.parametrize("workers", [1, SEVERAL])
def test_a_model_that_cannot_be_opened_ends_it(tmp_path, workers):
    with commanded("--model", str(tmp_path), "--workers", str(workers)) as server:
        assert server.end() == 1
        told = "".join(server.lines)
        assert "Traceback" not in told
        assert [line for line in server.lines if not line.startswith("{")] == [server.lines[-1]]
        assert server.lines[-1].startswith(f"pegasus: {tmp_path}")


@pytest.mark.parametrize("workers", [0, -1, 100_000])
def test_no_number_of_engines_that_makes_no_sense(workers):
    arguments = build_parser().parse_args(["serve", "--port", "0", "--workers", str(workers)])
    with pytest.raises(BadSetting, match=rf"--workers must be a whole number from 1 to .* found {workers}"):
        arguments.run(arguments)
    if workers < 1:
        with pytest.raises(BadSetting, match="workers must be at least 1"):
            ServeOptions(workers=workers)


SHARES = [(1, None, None), (1, 3, 3), (2, 3, 3), (2, None, 4), (5, None, 1), (32, None, 1)]


@pytest.mark.parametrize(("workers", "asked", "each"), SHARES)
def test_engines_share_the_threads_of_the_machine(monkeypatch, workers, asked, each):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setattr("pegasus.backends.threads.processors", lambda: 8)
    assert serve._threads_each(asked, workers) == each
