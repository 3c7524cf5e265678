"""An order: one text that somebody waits for, and what they are told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pegasus.summarizer import Settings, Summary


@dataclass(frozen=True)
class Words:
    """Some more of a summary that is told word by word."""

    text: str


#: What is told of an order: words while it is written, and at last a summary, or why there is none.
Event = Words | Summary | Exception


@dataclass(eq=False)
class Order:
    """One text that somebody waits for.

    Attributes:
        text: the text.
        settings: how to summarize it.
        deadline: the time of the clock at which nobody wants it any more.
        tell: is told what becomes of it, on the thread that computes; a summary or an error is the last.
        words: whether it shall be told word by word, where that is possible.
        arrived: when it was taken.
        batches: in how many batches jobs of it were computed, which decides whose turn it is.
    """

    text: str
    settings: Settings
    deadline: float
    tell: Callable[[Event], None]
    words: bool = False
    arrived: float = field(default=0.0)
    batches: int = 0


def writes_word_by_word(settings: Settings, beams: int) -> bool:
    """Whether words are certain when they are written.

    Beams change their mind about them; a length, a number of sentences and a second try against repetition
    decide at the end what is kept.

    Args:
        settings: how it is summarized.
        beams: the checkpoint's own.
    """
    beams = settings.for_generate().get("num_beams", beams)
    decided_later = settings.length is not None or settings.sentences is not None
    return beams == 1 and not decided_later and not settings.retry_repetition
