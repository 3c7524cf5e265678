"""Being asked to stop: the first signal lets the step end and everything be saved, the second does not."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

#: What schedulers and launchers send, and Ctrl-C.
ASKS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name))


class StopSignals:
    """While this context lasts, a signal sets ``asked`` instead of ending the process.

    Attributes:
        asked: whether somebody wants this run to end soon.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in ASKS:
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.asked = True
