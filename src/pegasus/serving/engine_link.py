"""An engine process from without: it is started, told, listened to, and ended with its pipe."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection, resource_tracker

from pegasus.serving.engine_messages import FromEngine, ToEngine
from pegasus.serving.engine_process import SIGNALS_OF_THE_FRONT

#: Starting a process looks after all others too, and two threads may not do that at once.
_TABLE = threading.Lock()


def hold_signals_back() -> None:
    """Keep signals from this thread, and from processes that it starts until they say what becomes of them.

    A signal to the whole group would otherwise end those that are just being started.
    """
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # which lets them through again when it is started
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_OF_THE_FRONT)


class EngineLink:
    """One engine process, which is started at once.

    It is a new interpreter, not a copy of this one: a copy would share what other threads hold locked. What
    is sent is written by a thread: a pipe that is full keeps nobody else waiting.

    Args:
        life: what the process does with its two ends, (orders, events).

    Raises:
        OSError: the system starts no process.
    """

    def __init__(self, life: Callable[[connection.Connection, connection.Connection], None]) -> None:
        context = multiprocessing.get_context("spawn")
        read_orders, self._orders = context.Pipe(duplex=False)
        self._events, write_events = context.Pipe(duplex=False)
        self._process = context.Process(
            target=life, args=(read_orders, write_events), name="pegasus-engine"
        )
        try:
            with _TABLE:
                self._process.start()
        except BaseException:
            self._orders.close()
            self._events.close()
            raise
        finally:  # or the end of the process would not be the end of the pipes
            read_orders.close()
            write_events.close()
        self.pid = self._process.pid
        self._outbox: queue.SimpleQueue[ToEngine | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="pegasus-engine-writer", daemon=True)
        self._writer.start()

    def send(self, message: ToEngine) -> None:
        """Say something, without waiting."""
        self._outbox.put(message)

    def messages(self) -> Iterator[FromEngine]:
        """Yield what it says, until it ends."""
        while True:
            try:
                message = self._events.recv()
            except (EOFError, OSError):  # also in the middle of a message
                return
            yield message

    def close(self) -> None:
        """Let it end, which it does at once."""
        self._outbox.put(None)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()

    def end(self, patience: float) -> str:
        """Wait for its end, and tidy up.

        Args:
            patience: seconds; then it is killed.

        Returns:
            How it ended.
        """
        self.close()
        if not connection.wait([self._process.sentinel], patience):
            self._process.kill()
        with _TABLE:
            self._process.join()
        self._writer.join()
        self._events.close()
        return _told(self._process.exitcode)

    def _write(self) -> None:
        for message in iter(self._outbox.get, None):
            with contextlib.suppress(OSError):  # it has died: whoever listens to it knows
                self._orders.send(message)
        self._orders.close()


def _told(code: int | None) -> str:
    if code is None or code >= 0:
        return f"it ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"it was killed by {name}" + (", as where memory runs out" if name == "SIGKILL" else "")
