"""A search and a session talk: to the end, or step by step under somebody's eye."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pegasus.generation.session.ask import Session
from pegasus.generation.session.search import Hypotheses, Search


class SearchRun:
    """A search under way. It may be stepped, stopped, and relieved of texts that nobody waits for.

    Args:
        search: asks.
        session: answers.
        deadline: the time of ``clock`` from which nothing more is asked; None: never. What is found by then
            is the result. One ask is always answered.
        clock: seconds.
    """

    def __init__(
        self,
        search: Search,
        session: Session,
        deadline: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.search, self.session, self.deadline, self.clock = search, session, deadline, clock
        #: Asks answered.
        self.steps = 0
        self._cancelled = False
        self._unwanted: list[int] = []

    def step(self) -> bool:
        """Let one ask be answered; whether there was one."""
        late = self.deadline is not None and self.clock() >= self.deadline
        if self.steps and (self._cancelled or late):
            return False
        if not self._advance():
            return False
        self.steps += 1
        if self._unwanted:
            texts, self._unwanted = self._unwanted, []
            self.search.drop(texts)
        return True

    def _advance(self) -> bool:
        ask = self.search.ask()
        if ask is None:
            return False
        self.search.update(self.session.step(ask))
        return True

    def cancel(self) -> None:
        """Ask nothing more, but for the first time."""
        self._cancelled = True

    def drop(self, texts: Sequence[int]) -> None:
        """Go on without some texts: each ends where it stands, and its rows leave the session.

        Args:
            texts: their numbers in the call.

        Raises:
            NotOffered: this search keeps all its texts.
        """
        if self.steps:
            self.search.drop(texts)
        else:  # there is nothing yet that they could end in
            self._unwanted += texts

    def result(self) -> Hypotheses:
        """What was found so far, or at the end."""
        return self.search.result()


def run_search(search: Search, session: Session) -> Hypotheses:
    """Lets a search and a session talk until the search has nothing left to ask."""
    run = SearchRun(search, session)
    while run.step():
        pass
    return run.result()
