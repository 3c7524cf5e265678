"""From a request to orders and back: settings within the server's limits, and results as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pegasus.serving.model_facts import ModelFacts
from pegasus.serving.options import ServeOptions
from pegasus.serving.orders import Event, Order, Words, writes_word_by_word
from pegasus.serving.problems import Problem
from pegasus.serving.room import Room
from pegasus.summarizer import Settings, Summary

End = Summary | Exception


@dataclass(frozen=True)
class Usage:
    """Tokens of some summaries."""

    read: int = 0
    written: int = 0

    @classmethod
    def of(cls, ends: Sequence[End]) -> Usage:
        """Count those of what came out."""
        made = [end for end in ends if isinstance(end, Summary)]
        return cls(sum(end.used_tokens for end in made), sum(end.summary_tokens for end in made))


class Asking:
    """What one request asks of the engine room.

    Args:
        room: computes.
        options: the server's limits.
        texts: the documents.
        changes: the settings that were named.
        timeout: seconds that the client gives it; None: the server's own deadline.
        words: whether summaries shall come word by word, where that is possible.

    Raises:
        Problem: more was asked for than this server allows.
        BadSetting: a setting makes no sense.
        Overloaded: there is no room, or no model yet.
    """

    def __init__(
        self,
        room: Room,
        options: ServeOptions,
        texts: Sequence[str],
        changes: dict[str, Any],
        timeout: float | None = None,
        words: bool = False,
    ) -> None:
        if len(texts) > options.most_documents:
            raise Problem(
                422,
                f"{len(texts)} documents were sent, and {options.most_documents} are taken in a request.",
                "too_many_documents",
            )
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        model = room.opened()
        settings = settings_within(model, changes, options)
        #: Whether words come before the whole.
        self.words = words and writes_word_by_word(settings, model.beams)
        deadline = time.monotonic() + min(timeout or options.deadline, options.deadline)
        self.orders = [
            Order(text, settings, deadline, self._teller(index), self.words)
            for index, text in enumerate(texts)
        ]
        room.submit(self.orders)

    def _teller(self, index: int) -> Callable[[Event], None]:
        def tell(event: Event) -> None:
            # Nobody listens any more where the server has already ended.
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

        return tell

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """Yield (number of a document, what is told of it) until all ended; who leaves gives them up."""
        left = len(self.orders)
        try:
            while left:
                index, event = await self._events.get()
                left -= not isinstance(event, Words)
                yield index, event
        finally:
            self._room.give_up(self.orders)

    async def ends(self) -> list[End]:
        """Return how each document ended, in order."""
        ends: dict[int, End] = {}
        async for index, event in self.events():
            if not isinstance(event, Words):
                ends[index] = event
        return [ends[index] for index in range(len(self.orders))]

    def give_up(self) -> None:
        """Nobody waits any more."""
        self._room.give_up(self.orders)


def settings_within(model: ModelFacts, changes: dict[str, Any], options: ServeOptions) -> Settings:
    """Return the settings of a request.

    Raises:
        Problem: one is beyond what this server allows.
        BadSetting: one makes no sense.
    """
    told = changes.get("generate", {})
    _limit("num_beams", changes.get("num_beams"), options.most_beams)
    _limit("num_beam_groups", told.get("num_beam_groups"), options.most_beams)
    _limit("extend_limit", changes.get("extend_limit"), options.most_extend)
    longest = options.most_summary or model.limit
    for name in ("max_new_tokens", "min_new_tokens", "max_length", "min_length"):
        _limit(name, told.get(name), longest)
    defaults = {"extend_limit": min(options.most_extend, model.settings.extend_limit)}
    return model.settings.changed(
        **{**defaults, **changes, "generate": {**model.settings.generate, **told}}
    )


def _limit(name: str, value: int | None, most: int) -> None:
    if value is not None and value > most:
        raise Problem(
            422, f"{name} is {value:,}; this server allows at most {most:,}.", "beyond_limit", name
        )
