"""What is said on stderr about a text: its error, what was left out, how it was read, and warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pegasus.cli.inputs import Item
from pegasus.errors import BadData, PegasusError

if TYPE_CHECKING:
    from pegasus.summarizer import Summary


def notes(item: Item, end: Summary | PegasusError, *, quiet: bool) -> Iterator[str]:
    """Yield what a person should know about a result; errors and cuts even when quiet.

    Args:
        item: what was summarized.
        end: how that ended.
        quiet: leave out the rest.
    """
    if isinstance(end, PegasusError):
        # Errors of reading name their file themselves.
        named = isinstance(end, BadData) and end.file is not None
        yield str(end) if named else f"{item.name}: {end}"
        return
    if end.truncated:
        left = f"{end.input_tokens - end.used_tokens:,} of {end.input_tokens:,} tokens were left out"
        yield f"{item.name}: {left} (--long chunk reads all of them)"
    if quiet:
        return
    if end.long == "chunk":
        pieces = f"{end.input_tokens:,} tokens read in {len(end.chunks)} pieces"
        yield f"{item.name}: {pieces}, {_merging(end.merged)}"
    yield from (f"{item.name}: warning: {warning}" for warning in end.warnings)


def _merging(merged: int) -> str:
    rounds = {0: "", 1: " and summarized again", 2: " and summarized again, twice"}
    return "their summaries joined" + rounds.get(merged, f" and summarized again, {merged} times")
