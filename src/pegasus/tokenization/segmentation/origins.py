"""From the normalized text back to the text that was given: the place of every token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pegasus.tokenization.call.encoding import Span
from pegasus.tokenization.vocabulary.layout import SPACE


def piece_spans(pieces: Sequence[str], normalized: str, origins: Sequence[int], length: int) -> list[Span]:
    """Where each piece stands in the text before normalization.

    Args:
        pieces: the pieces in order; together they spell ``normalized``.
        normalized: the text after normalization.
        origins: for every normalized character, and its end, the place it came from.
        length: characters of the text before.

    Returns:
        Start and end per piece, without the white space before it. A bare space marker stands where
        the character after it does, as in the ``tokenizers`` library.
    """
    if "".join(pieces) != normalized:  # bytes of an unknown character: only the whole is known
        return [(0, length)] * len(pieces)
    ends = _ends(origins, length)
    spans: list[Span] = []
    place = 0
    for piece in pieces:
        after = place + len(piece)
        start = place + piece.startswith(SPACE)
        last = max(after, start + 1) - 1
        if start < len(normalized):
            spans.append((origins[start], ends[last]))
        else:
            spans.append((length, length))
        place = after
    return spans


def shift(spans: Iterable[Span], start: int, origins: Sequence[int] | None) -> list[Span]:
    """Spans of a stretch as spans of the whole text, through another map of places where there is one."""
    moved = ((first + start, last + start) for first, last in spans)
    if origins is None:
        return list(moved)
    return [(origins[first], origins[last]) for first, last in moved]


def _ends(origins: Sequence[int], length: int) -> list[int]:
    """For every normalized character the place where the next one from elsewhere begins."""
    ends = [length] * (len(origins) - 1)
    following = origins[-1]
    for place in range(len(ends) - 1, -1, -1):
        if place + 1 < len(origins) and origins[place + 1] != origins[place]:
            following = origins[place + 1]
        ends[place] = max(following, origins[place])
    return ends
