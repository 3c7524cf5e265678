"""Who may ask, how much may be sent and how slowly, and what the log does not say."""

from __future__ import annotations

import io
import logging
import re
import socket
import time
from urllib.parse import urlsplit

import pytest

from pegasus.errors import BadSetting
from pegasus.serving.logs import JsonFormatter, TextFormatter
from pegasus.serving.options import Keys, ServeOptions, read_keys

KEY = "a-key-of-more-than-sixteen"
TEXT = "One two three four."


@pytest.fixture(scope="module")
def locked(module_serving):
    with module_serving(ServeOptions(port=0, keys=Keys.of([KEY, KEY[::-1]]))) as one:
        yield one


def paths(served):
    found = served.client.get("/openapi.json", headers={"Authorization": f"Bearer {KEY}"}).json()["paths"]
    return [(path, method) for path, methods in found.items() for method in methods]


def test_every_route_but_health_needs_a_key(locked):
    routes = [*paths(locked), ("/openapi.json", "get"), ("/nowhere", "get"), ("/docs", "get")]
    assert len(routes) > 12
    for path, method in routes:
        response = locked.client.request(method, path)
        if path in ("/healthz", "/readyz"):
            assert response.status_code == 200
        else:
            assert (path, response.status_code) == (path, 401)
            assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header", ["", "Bearer", f"Basic {KEY}", f"Bearer {KEY}x", f"bearer{KEY}", "Bearer é"]
)
def test_a_wrong_key_is_refused(locked, header):
    response = locked.client.get("/info", headers={"Authorization": header.encode("latin-1")})
    assert response.status_code == 401


@pytest.mark.parametrize("key", [KEY, KEY[::-1]])
def test_each_key_is_taken(locked, key):
    head = {"Authorization": f"Bearer {key}"}
    assert locked.client.post("/v1/summarize", json={"document": TEXT}, headers=head).status_code == 200


def test_nobody_listens_beyond_this_machine_without_a_key():
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(BadSetting, match="no key"):
            ServeOptions(host=host)
        ServeOptions(host=host, public=True)
        ServeOptions(host=host, keys=Keys.of([KEY]))
    for host in ("127.0.0.1", "::1", "localhost"):
        ServeOptions(host=host)


def test_keys_are_read_from_a_file_and_the_environment(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# who\n\n{KEY}\n")
    keys = read_keys(str(file), {"PEGASUS_API_KEYS": "another-long-enough-key, a-third-long-enough-key"})
    for key in (KEY, "another-long-enough-key", "a-third-long-enough-key"):
        assert keys.admit(f"Bearer {key}")
    assert not keys.admit("Bearer # who")
    assert KEY not in repr(keys)
    for content in ("", "short\n", "not-ascii-but-lóng-enough\n"):
        file.write_text(content)
        with pytest.raises(BadSetting):
            read_keys(str(file), {})
    with pytest.raises(BadSetting, match="cannot be read"):
        read_keys(str(tmp_path / "absent"), {})


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "", "127.0.0.1.x"]
)
def test_another_name_is_refused(running, host):
    assert running.client.get("/info", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8000", "[::1]"])
def test_names_of_this_machine_are_its_own(running, host):
    assert running.client.get("/info", headers={"Host": host}).status_code == 200


def test_pages_of_other_origins_may_not_ask(running):
    head = {"Origin": "https://evil.example"}
    response = running.client.post("/v1/summarize", json={"document": TEXT}, headers=head)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers
    own = {"Origin": running.server.url}
    assert running.client.post("/v1/summarize", json={"document": TEXT}, headers=own).status_code == 200


def place(served):
    parts = urlsplit(served.server.url)
    return parts.hostname, parts.port


def test_a_large_body_is_refused_before_it_is_read(running):
    with socket.create_connection(place(running), timeout=20) as line:
        line.sendall(
            b"POST /v1/summarize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 150000000\r\n\r\n"
        )
        assert line.recv(100).startswith(b"HTTP/1.1 413")


def test_a_large_body_of_unsaid_length_is_refused_too(running):
    def pieces():
        for _ in range(40):
            yield b"x" * 100_000

    response = running.client.post("/v1/summarize", content=pieces())
    assert response.status_code == 413


def test_a_large_head_is_refused(running):
    response = running.client.get("/healthz", headers={"X-Long": "x" * 200_000})
    assert response.status_code in (400, 431)  # as it arrives in pieces or at once


@pytest.fixture(scope="module")
def hasty(module_serving):
    with module_serving(ServeOptions(port=0, request_seconds=0.3)) as one:
        yield one


def test_a_slow_body_is_not_waited_for(hasty):
    with socket.create_connection(place(hasty), timeout=20) as line:
        line.sendall(b"POST /v1/summarize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert line.recv(100).startswith(b"HTTP/1.1 408")


def test_whose_head_came_late_is_told_too_that_the_body_is_missing(hasty):
    with socket.create_connection(place(hasty), timeout=20) as line:
        line.sendall(b"POST /v1/summarize HTTP/1.1\r\nHost: localhost\r\n")
        time.sleep(2.1)  # just before the connection would be closed without a word
        line.sendall(b"Content-Length: 100\r\n\r\n{")
        assert line.recv(100).startswith(b"HTTP/1.1 408")


def test_half_open_connections_are_closed_and_others_served_meanwhile(hasty):
    lines = [socket.create_connection(place(hasty), timeout=20) for _ in range(50)]
    for line in lines[:40]:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
    assert hasty.client.get("/healthz").status_code == 200
    for line in lines:
        assert line.recv(100) == b""
        line.close()


def test_the_log_holds_numbers_and_no_documents(running, capsys):
    stream = io.StringIO()
    handlers = [logging.StreamHandler(stream), logging.StreamHandler(stream)]
    handlers[0].setFormatter(JsonFormatter())
    handlers[1].setFormatter(TextFormatter())
    logger = logging.getLogger("pegasus")
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    write = running.writer.write

    def fail(batch, settings):
        raise RuntimeError("secretword in an error")

    try:
        head = {"X-Request-Id": "the-request", "Authorization": "Bearer secretword"}
        running.client.post("/v1/summarize", json={"document": "A secretword said. " * 9}, headers=head)
        running.client.post("/v1/summarize", json={"document": ["secretword"]})
        running.client.get("/v1/models/secretword?secretword=secretword")
        running.writer.write = fail
        response = running.client.post("/v1/summarize", json={"document": TEXT})
        time.sleep(0.05)
    finally:
        running.writer.write = write
        for handler in handlers:
            logger.removeHandler(handler)
    assert response.status_code == 500
    said = stream.getvalue()
    assert '"request_id": "the-request", "method": "POST", "route": "/v1/summarize", "status": 200' in said
    assert re.search(r"unexpected RuntimeError at \S*test_guarding:\d+", said)
    assert "secretword" not in said
    assert "secretword" not in response.text
