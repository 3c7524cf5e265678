"""What is said on stderr: at most one line about a text, and one about all of them at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pegasus.cli.inputs import Item
from pegasus.errors import BadData, PegasusError

if TYPE_CHECKING:
    from pegasus.summarizer import Summary


def note(item: Item, end: Summary | PegasusError, *, quiet: bool, detailed: bool) -> str | None:
    """Return what a person should know about a result; None where all is well.

    Args:
        item: what was summarized.
        end: how that ended.
        quiet: say nothing but errors and what was left out.
        detailed: say also how it was read.
    """
    if isinstance(end, PegasusError):
        # Errors of reading name their file themselves.
        named = isinstance(end, BadData) and end.file is not None
        return str(end) if named else f"{item.name}: {end}"
    said = "; ".join(_notes(end, quiet=quiet, detailed=detailed))
    return f"{item.name}: {said}" if said else None


def _notes(end: Summary, *, quiet: bool, detailed: bool) -> Iterator[str]:
    if end.truncated:
        left = f"{end.input_tokens - end.used_tokens:,} of {end.input_tokens:,} tokens were left out"
        yield f"{left} (--long chunk reads all of them)"
    if quiet:
        return
    if end.long == "chunk" and detailed:
        yield f"{end.input_tokens:,} tokens read in {len(end.chunks)} pieces, {_merging(end.merged)}"
    if end.warnings:
        yield f"warning: {'; '.join(end.warnings)}"


def _merging(merged: int) -> str:
    rounds = {0: "", 1: " and summarized again", 2: " and summarized again, twice"}
    return "their summaries joined" + rounds.get(merged, f" and summarized again, {merged} times")


@dataclass
class Tally:
    """How many texts ended how.

    Attributes:
        texts: all of them.
        failed: those that ended in an error.
        pieces: those that were read in pieces.
    """

    texts: int = 0
    failed: int = 0
    pieces: int = 0

    def count(self, end: Summary | PegasusError) -> None:
        """Count a text."""
        self.texts += 1
        if isinstance(end, PegasusError):
            self.failed += 1
        else:
            self.pieces += end.long == "chunk"

    def line(self) -> str | None:
        """Return in words what no line about a single text has said."""
        if not self.pieces:
            return None
        return f"{self.pieces:,} of {self.texts:,} texts were read in pieces (--verbose says which)"
