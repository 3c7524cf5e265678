"""What the front of a server and an engine process say to each other, over a pipe in each direction.

Deadlines and times of arrival are of `time.monotonic`, which all processes of a machine share.
"""

from __future__ import annotations

from dataclasses import dataclass

from pegasus.serving.model_facts import ModelFacts
from pegasus.serving.orders import Event
from pegasus.summarizer import Settings

# --- to the engine; the end of the pipe says: leave ------------------------------------------------


@dataclass(frozen=True)
class Take:
    """Compute this; the fields are those of an `Order`.

    Attributes:
        number: what both call it.
    """

    number: int
    text: str
    settings: Settings
    deadline: float
    arrived: float
    words: bool


@dataclass(frozen=True)
class GiveUp:
    """Nobody waits for these any more."""

    numbers: tuple[int, ...]


# --- from the engine -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    """The model is there, and has written a first summary."""

    facts: ModelFacts


@dataclass(frozen=True)
class Broke:
    """The engine ends: its model cannot be opened, or it made a mistake."""

    error: Exception


@dataclass(frozen=True)
class Told:
    """What becomes of a text."""

    number: int
    event: Event


@dataclass(frozen=True)
class Paced:
    """So many texts ended after so many seconds of computing."""

    seconds: float
    texts: int


@dataclass(frozen=True)
class Counted:
    """What was done since this was said last.

    Attributes:
        queued: seconds that texts waited for their first batch.
        batches: jobs of batches that began.
        steps: how many were computed.
        jobs: how many are in the batches under way now.
    """

    queued: tuple[float, ...]
    batches: tuple[int, ...]
    steps: int
    jobs: int


FromEngine = Opened | Broke | Told | Paced | Counted
ToEngine = Take | GiveUp
