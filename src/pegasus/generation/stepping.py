"""A call of ``generate`` under way, for who wants to look on: a server, a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pegasus.generation.session import SearchRun


class Generation:
    """Made by ``GenerationMixin.start_generate``.

    Args:
        run: the search under way.
        finish: makes what ``generate`` returns of what was found.
    """

    def __init__(self, run: SearchRun, finish: Callable[[], Any]) -> None:
        self._run, self._finish = run, finish

    def step(self) -> bool:
        """Compute one step; whether there was one to compute."""
        return self._run.step()

    def cancel(self) -> None:
        """Compute no more steps: the result is what there is; one step is computed in any case."""
        self._run.cancel()

    def drop(self, texts: Sequence[int]) -> None:
        """Go on without some texts: each ends where it stands, and costs nothing more.

        Args:
            texts: their numbers in the call.

        Raises:
            NotOffered: the strategy keeps all its texts, or rows are recorded or watched.
        """
        self._run.drop(texts)

    def result(self) -> Any:
        """Compute the steps that are left, if any, and return what ``generate`` returns."""
        while self._run.step():
            pass
        return self._finish()
