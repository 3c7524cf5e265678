"""What every route needs: the engine room, the server's options, and what answers have in common."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request

from pegasus.serving.answers import ErrorBody
from pegasus.serving.asking import Asking, End, Usage
from pegasus.serving.options import ServeOptions
from pegasus.serving.problems import Problem, problem_of
from pegasus.serving.room import Room
from pegasus.serving.streaming import while_connected
from pegasus.summarizer import Summary

_STATUSES = {
    400: "The body is no JSON.",
    401: "No valid key.",
    403: "Another host or origin.",
    404: "No such model or path.",
    405: "Not by this method.",
    408: "The request arrived too slowly.",
    413: "The body is too large.",
    422: "A field, a setting or a text cannot be used.",
    431: "The head is too large.",
    429: "Too much is waiting; `Retry-After` says when to come back.",
    500: "The server failed.",
    503: "Not ready yet, or about to end; `Retry-After` says when to come back.",
    504: "Time was up.",
}
#: What a route that reads a body may answer beside its result.
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": told} for status, told in _STATUSES.items()
}
#: What a route without a body may answer beside its result.
SIMPLE_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: REFUSALS[status] for status in (401, 403, 404, 405, 408, 413, 422, 431, 500)
}


@dataclass(frozen=True)
class Desk:
    """Takes what routes want to the room."""

    room: Room
    options: ServeOptions

    @property
    def model(self) -> str:
        """What the model is called; of a folder only its own name."""
        own = self.room.facts.name if self.room.facts is not None else ""
        if self.options.name is not None:
            return self.options.name
        return Path(own).name if Path(own).is_absolute() or Path(own).exists() else own

    def check_model(self, name: str | None) -> None:
        """Refuse another model than the one served.

        Raises:
            Problem: it is another.
        """
        if name is not None and name != self.model:
            raise Problem(404, f"The model served here is {self.model!r}.", "model_not_found", "model")

    def ask(self, texts: Sequence[str], changes: dict[str, Any], **how: Any) -> Asking:
        """Take documents to the room; see `Asking`."""
        return Asking(self.room, self.options, texts, changes, **how)

    async def answer(self, request: Request, asking: Asking) -> list[End]:
        """Wait for the ends as long as the client does, and note for the log what was done."""
        ends = await while_connected(request, asking.ends())
        note(request, ends)
        return ends

    async def summaries(self, request: Request, asking: Asking) -> list[Summary]:
        """Wait for the summaries of all documents.

        Raises:
            Exception: that of the first that has none.
        """
        summaries = []
        for index, end in enumerate(await self.answer(request, asking)):
            if not isinstance(end, Summary):
                problem = problem_of(end)
                if len(asking.orders) > 1:
                    problem.message = f"Document {index}: {problem.message}"
                raise problem
            summaries.append(end)
        return summaries


def note(request: Request, ends: Sequence[End]) -> None:
    """Note for the log what was done: numbers only."""
    usage = Usage.of(ends)
    request.state.account.facts.update(
        documents=len(ends), input_tokens=usage.read, summary_tokens=usage.written
    )


def new_name(kind: str) -> str:
    """Return the name of an answer."""
    return f"{kind}-{uuid.uuid4().hex}"


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())
