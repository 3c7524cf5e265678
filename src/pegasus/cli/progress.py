"""A bar on stderr, where that is a terminal; otherwise nothing at all."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pegasus.cli.exits import visible


class Bar:
    """Shows how many pieces of text are done; gone again when results are printed.

    Args:
        console: rich's console on stderr, or None to show nothing.
    """

    def __init__(self, console: Any = None) -> None:
        self._console = console
        self._progress: Any = None
        self._task: Any = None

    @classmethod
    def on_stderr(cls, *, quiet: bool) -> Bar:
        """Return a bar on stderr; one that shows nothing when quiet, in CI, or when nobody watches."""
        if quiet or not sys.stderr.isatty() or os.environ.get("CI") or os.environ.get("TERM") == "dumb":
            return cls()
        from rich.console import Console  # 70 ms: only for those who watch

        return cls(Console(stderr=True))

    def waiting(self, message: str) -> AbstractContextManager[Any]:
        """Show a message while something is done."""
        if self._console is None:
            return nullcontext()
        from rich.text import Text

        waiting: AbstractContextManager[Any] = self._console.status(Text(visible(message)))
        return waiting

    def __enter__(self) -> Bar:
        if self._console is not None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("summarizing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            if self._progress is None:
                self._progress = Progress(*columns, console=self._console, transient=True)
                self._task = self._progress.add_task("summarizing", total=None)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, done: int, total: int) -> None:
        """Show that so many pieces of this round are done."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)
