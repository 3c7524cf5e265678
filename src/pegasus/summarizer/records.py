"""What a summarizer hands back: the summary and how it came about."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pegasus.summarizer.characters import Unknown
from pegasus.summarizer.repair import Repaired

How = Literal["whole", "truncate", "chunk", "extend"]
Finish = Literal["eos", "length"]


@dataclass(frozen=True)
class Chunk:
    """One piece of a long text and its own summary.

    Attributes:
        start: where the piece begins in the text, in characters.
        end: where it ends.
        input_tokens: tokens of the piece, the end token included.
        text: the summary of the piece alone.
        score: its score, as in `Summary`.
    """

    start: int
    end: int
    input_tokens: int
    text: str
    score: float


@dataclass(frozen=True)
class Support:
    """One source sentence that a summary sentence leans on.

    Attributes:
        share: its part of the cross-attention mass, 0 to 1; the shares of all source sentences sum to 1.
        start: where the source sentence begins in the text, in characters.
        end: where it ends.
        text: the source sentence.
    """

    share: float
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Explanation:
    """One summary sentence and the source sentences it leans on, strongest first."""

    sentence: str
    support: tuple[Support, ...]


@dataclass(frozen=True)
class Summary:
    """A summary, and everything a careful reader asks about it.

    Attributes:
        text: the summary.
        score: what the search ranked it by: its log-probability divided by a power of its length (the
            length penalty); without beams the mean of a token; where summaries were joined, their mean.
        input_tokens: tokens of the whole text, the end token included.
        used_tokens: how many of them the model read.
        truncated: whether the rest was left out.
        summary_tokens: tokens of the summary, the end token included.
        finish_reason: "eos" where the model ended by itself, "length" where it met the limit.
        cut: whether the summary ends in the middle of a sentence, because it met its limit.
        long: how the text was read: "whole" (it fits), "truncate", "chunk" or "extend".
        chunks: the pieces, where it was read in pieces.
        merged: how often joined summaries were summarized again; 0 where they were only joined.
        unknown: what of the text the vocabulary cannot represent.
        warnings: what to be careful about, each starting with its kind and a colon ("repetition: ...").
        seconds: this text's share of the time spent.
        model: the checkpoint's name.
        prevented: how often faithful decoding refused what a row of the search would have written
            next, in all rounds of a long text.
        repaired: near-copies of the text's words that were put right, where that was asked for: as they
            were written, and as they are now.
        explanation: for each summary sentence the source sentences it leans on, where that was asked for.
    """

    text: str
    score: float
    input_tokens: int
    used_tokens: int
    truncated: bool
    summary_tokens: int
    finish_reason: Finish
    cut: bool = False
    long: How = "whole"
    chunks: tuple[Chunk, ...] = ()
    merged: int = 0
    unknown: Unknown = field(default_factory=Unknown)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    model: str = ""
    explanation: tuple[Explanation, ...] | None = None
    prevented: int = 0
    repaired: tuple[Repaired, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values that JSON can hold; what does not apply is left out."""
        plain = asdict(self)
        for name, absent in (("explanation", None), ("prevented", 0), ("repaired", ())):
            if plain[name] == absent:
                del plain[name]
        return plain

    def __str__(self) -> str:
        return self.text
