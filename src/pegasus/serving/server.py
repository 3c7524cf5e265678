"""The server: a socket, deadlines for those who send slowly, and an end that loses nothing it took."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pegasus.errors import BadSetting
from pegasus.serving.app import create_app
from pegasus.serving.engine_room import EngineRoom
from pegasus.serving.guard import Guard
from pegasus.serving.interleaving import Sharing
from pegasus.serving.options import ServeOptions
from pegasus.serving.process_room import ProcessRoom
from pegasus.serving.room import Room
from pegasus.summarizer import Summarizer

logger = logging.getLogger(__name__)

_BACKLOG = 2048
#: How much longer a connection is held than the guard waits for a body, so that its answer is read.
_GRACE = 2.0
#: For answers to go out when everything is done, or has been given up.
_LAST_SECONDS = 3


def serve(
    open_summarizer: Callable[[], Summarizer],
    options: ServeOptions,
    sharing: Sharing | None = None,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Serve until a signal says that it is enough.

    Args:
        open_summarizer: opens the model, on the thread that computes; where processes do, it is sent there.
        options: where and for whom.
        sharing: how the model is shared.
        prepare: is called first in each process that computes, and sent there.

    Raises:
        BadSetting: the address cannot be listened on.
        PegasusError: the model cannot be opened.
    """
    make_server(open_summarizer, options, sharing, prepare).serve_to_the_end()


def make_server(
    open_summarizer: Callable[[], Summarizer],
    options: ServeOptions,
    sharing: Sharing | None = None,
    prepare: Callable[[], None] | None = None,
) -> Server:
    """Return a server that holds its port and has not begun; see `serve`."""
    listening = _listen(options)
    room: Room = EngineRoom(open_summarizer, sharing, options.most_texts)
    if options.workers > 1:
        room = ProcessRoom(
            open_summarizer, sharing, options.most_texts, engines=options.workers, prepare=prepare
        )
    app = create_app(room, options)
    config = uvicorn.Config(
        app,
        http=_protocol(options),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=options.most_head,
        timeout_keep_alive=int(options.idle_seconds) or 1,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    return Server(config, room, app, options, listening)


class Server(uvicorn.Server):
    """Ends in order: ready no more, everything finished that was taken, and an exit code of 0.

    A first signal begins that; a second one ends it at once.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        room: Room,
        app: Guard,
        options: ServeOptions,
        listening: socket.socket,
    ) -> None:
        super().__init__(config)
        self.room, self._app, self._options, self._listening = room, app, options, listening
        host, port = listening.getsockname()[:2]
        #: Where it listens.
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = False
        self._draining: asyncio.Future[None] | None = None

    def serve_to_the_end(self) -> None:
        """Serve until a signal comes.

        Raises:
            PegasusError: the model cannot be opened.
        """
        try:
            self.run(sockets=[self._listening])
        finally:
            self.room.stop()
            self._listening.close()
        if self.room.failure is not None:
            raise self.room.failure

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then open the model: health is answered at once, readiness when it is there."""
        await super().startup(sockets)
        logger.info("listening on %s", self.url)
        self._loop = loop = asyncio.get_running_loop()

        def changed() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._room_changed)

        self.room.start(changed)

    def _room_changed(self) -> None:
        logger.info("%s", self.room.state)
        if self.room.state in ("failed", "ended"):
            self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """Handle signals while serving; unlike uvicorn's own, it does not raise them again at the end."""
        before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not the main thread: whoever runs it there ends it
                before[number] = signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None = None) -> None:
        """Begin to end, or end at once."""
        if self._told or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self._told = True
        self._loop.call_soon_threadsafe(self._begin_to_end)

    def _begin_to_end(self) -> None:
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        self.room.drain()
        loop = asyncio.get_running_loop()
        until = loop.time() + self._options.draining
        while (self.room.texts or self._app.open) and loop.time() < until:
            await asyncio.sleep(0.02)
        if self.room.texts:
            logger.error("%d texts were not finished in time", self.room.texts)
            await loop.run_in_executor(None, self.room.stop)
        self.should_exit = True


def _listen(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        raise BadSetting(
            f"Cannot listen on {options.host}, port {options.port}: {error.strerror}."
        ) from error
    return listening


def _protocol(options: ServeOptions) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with a deadline: a request, from its first byte on, arrives in time.

    Nothing that wraps the application can do that: it is called when the head has arrived.
    """

    class DeadlineProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None
        _late = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._begin()

        def data_received(self, data: bytes) -> None:
            if self._timer is None and not self._answering():
                self._late = False
                self._begin()
            super().data_received(data)
            if self._whole():
                self._end()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(options.request_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end()
            if self._unread is not None:
                self._unread.cancel()
            super().connection_lost(exc)

        def _answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

        def _whole(self) -> bool:
            return self.cycle is not None and not self.cycle.more_body

        def _unfinished(self) -> bool:
            return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

        def _begin(self) -> None:
            self._timer = self.loop.call_later(options.request_seconds + _GRACE, self._expire)

        def _end(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _expire(self) -> None:
            self._timer = None
            if self._unfinished() and not self._late:
                # The head came late, and the guard waits for the body by a clock of its own: let it answer.
                self._late = True
                self._begin()
            elif not self.transport.is_closing():
                self.transport.close()

    return DeadlineProtocol
