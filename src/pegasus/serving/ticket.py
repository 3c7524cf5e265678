"""A text on its way to an engine process: if that dies, another engine may compute it, once."""

from __future__ import annotations

from pegasus.errors import EngineLost
from pegasus.serving.engine_messages import Take
from pegasus.serving.orders import Event, Order, Words
from pegasus.summarizer import Summary

_MOST_ENGINES = 2
_OTHERWISE = (
    "The process that computed this text died, and another one that began again wrote other words than "
    "had been told already: send it again, with a seed where it is drawn."
)

_LOST = (
    "The process that computed this text died, and so did another one that tried; this server's log says "
    "how. The text or its settings may be the cause: before it is sent again, make it smaller."
)


class Ticket:
    """Keeps in mind what was told of an order, so that nothing is told twice.

    Args:
        order: the order.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self._engines = 0
        self._told = self._heard = ""

    def taken(self, number: int) -> Take:
        """Return what the next engine is told."""
        order = self.order
        self._engines, self._heard = self._engines + 1, ""
        return Take(number, order.text, order.settings, order.deadline, order.arrived, order.words)

    @property
    def spent(self) -> bool:
        """Whether no further engine shall try."""
        return self._engines >= _MOST_ENGINES

    def pass_on(self, event: Event) -> bool:
        """Tell what an engine told, but for words that were told already.

        Returns:
            Whether that was the last.
        """
        if isinstance(event, Words):
            self._heard += event.text
        if not self._agrees(event):
            event = EngineLost(_OTHERWISE)
        if isinstance(event, Words):
            event = Words(self._heard[len(self._told) :])
            if event.text:
                self._told = self._heard
                self.order.tell(event)
            return False
        self.order.tell(event)
        return True

    def lost(self) -> None:
        """Say that no engine computes it."""
        self.order.tell(EngineLost(_LOST))

    def _agrees(self, event: Event) -> bool:
        """Whether a second engine writes what the first had begun to."""
        if isinstance(event, Words):
            return self._told.startswith(self._heard) or self._heard.startswith(self._told)
        return not isinstance(event, Summary) or self._heard.startswith(self._told)
