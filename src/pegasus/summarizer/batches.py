"""Which texts are computed together: those of like length, so that little is padding."""

from __future__ import annotations

from collections.abc import Sequence


def pack(lengths: Sequence[int], most_texts: int, most_tokens: int) -> list[list[int]]:
    """Return batches of indices into `lengths`, longest texts first.

    A batch holds at most `most_texts` texts and, padded to its longest, at most `most_tokens` tokens; a
    text longer than that has a batch to itself. Longest first, so that memory runs out at once or never.
    """
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if room == 0:
            batches.append([])
            room = max(1, min(most_texts, most_tokens // max(lengths[index], 1)))
        batches[-1].append(index)
        room -= 1
    return batches
