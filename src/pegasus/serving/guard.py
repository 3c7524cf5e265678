"""What stands before every route: request ids, keys, names of the host, bodies within limits, and the log.

It reads the body before anything else does, so that a route is only entered by somebody who may ask, with
a whole body of bounded size.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pegasus.serving.options import ServeOptions
from pegasus.serving.page_routes import PAGE_FILES
from pegasus.serving.problems import Problem, problem_of, seconds_shown
from pegasus.serving.watching import Watcher

logger = logging.getLogger(__name__)

#: Whoever watches over a process asks these, and has no key.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass
class Account:
    """What the log says of a request; routes add what they know."""

    id: str
    method: str
    path: str
    began: float
    status: int = 0
    route: str = "other"
    facts: dict[str, int] = field(default_factory=dict)


class Guard:
    """Wraps an application.

    Args:
        app: what is behind it.
        options: limits and keys.
        watcher: counts requests.
        route_of: the pattern of a path, or None; labels of metrics must be few.
    """

    def __init__(
        self,
        app: ASGIApp,
        options: ServeOptions,
        watcher: Watcher,
        route_of: Callable[[Scope], str | None],
    ) -> None:
        self.app, self.options, self.watcher, self.route_of = app, options, watcher, route_of
        #: Requests that have not been answered.
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        account = _account(scope, self.route_of(scope))
        scope.setdefault("state", {})["account"] = account
        self.open += 1
        try:
            await self._answer(scope, receive, _noted(send, account), account)
        finally:
            self.open -= 1
            self._close(account)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, account: Account) -> None:
        try:
            self._measure(scope)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._admit(scope["method"], scope["path"], headers)
            body = await self._read(headers, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        if body is None:  # gone before it had said everything
            account.status = 499
            return
        try:
            await self.app(scope, _replayed(body, receive), send)
        except Exception as error:
            if account.status:
                raise
            await problem_of(error).response()(scope, receive, send)

    def _measure(self, scope: Scope) -> None:
        # The protocol bounds an unfinished head; one that comes in one piece is finished at once.
        size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size + len(scope.get("raw_path", b"")) + len(scope["query_string"]) > self.options.most_head:
            raise Problem(
                431, f"The head is larger than {self.options.most_head:,} bytes.", "head_too_large"
            )

    def _admit(self, method: str, path: str, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if not self.options.calls_us(host):
            raise Problem(403, "This server is not called by that name (header Host).", "wrong_host")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Problem(403, "Pages of other origins may not ask this server.", "cross_origin")
        is_page = path in PAGE_FILES and method in ("GET", "HEAD")
        if path in OPEN_PATHS or is_page or not self.options.keys.digests:
            return
        if not self.options.keys.admit(headers.get("authorization", "")):
            raise Problem(401, "A key is needed: send the header Authorization: Bearer KEY.", "bad_key")

    async def _read(self, headers: dict[str, str], receive: Receive) -> bytes | None:
        """Return the whole body; None where the client left."""
        most = self.options.most_body
        too_large = Problem(413, f"The body is larger than the {most:,} bytes that are taken.", "too_large")
        stated = headers.get("content-length", "0")
        if not stated.isdigit() or len(stated) > 18 or int(stated) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.options.request_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Problem(
                408,
                f"The body did not arrive within {self.options.request_seconds:g} s.",
                "slow_request",
            ) from None

    def _close(self, account: Account) -> None:
        seconds = time.monotonic() - account.began
        self.watcher.answered(account.route, account.status, seconds)
        facts = {
            "request_id": account.id,
            "method": account.method,
            "route": account.route,
            "status": account.status,
            "seconds": seconds_shown(seconds),
            **account.facts,
        }
        logger.info("request", extra={"facts": facts})


def _account(scope: Scope, route: str | None) -> Account:
    given = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), ""
    )
    identity = given if _ID.fullmatch(given) else uuid.uuid4().hex
    return Account(identity, scope["method"], scope["path"], time.monotonic(), route=route or "other")


def _noted(send: Send, account: Account) -> Send:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            account.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", account.id.encode()),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
            ]
        await send(message)

    return noted


def _replayed(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replayed() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
