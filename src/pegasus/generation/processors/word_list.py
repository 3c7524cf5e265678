"""Words that are looked up whole and by their beginning."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property

#: So many answers about beginnings are kept.
_MOST_REMEMBERED = 200_000


class WordList:
    """Words that are looked up whole and by their beginning.

    Args:
        words: any order, each as often as it likes.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = frozenset(words)
        self._sorted = sorted(self.words)
        self._begun: dict[str, bool] = {}

    def __contains__(self, word: str) -> bool:
        return word in self.words

    def __len__(self) -> int:
        return len(self._sorted)

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """Every beginning of every word, the words themselves included."""
        return frozenset(word[:end] for word in self._sorted for end in range(1, len(word) + 1))

    def begins(self, prefix: str) -> bool:
        """Whether some word begins so, or is this."""
        found = self._begun.get(prefix)
        if found is None:
            place = bisect_left(self._sorted, prefix)
            found = place < len(self._sorted) and self._sorted[place].startswith(prefix)
            if len(self._begun) < _MOST_REMEMBERED:
                self._begun[prefix] = found
        return found

    def goes_on(self, word: str) -> bool:
        """Whether some longer word begins with this one."""
        place = bisect_left(self._sorted, word)
        place += place < len(self._sorted) and self._sorted[place] == word
        return place < len(self._sorted) and self._sorted[place].startswith(word)

    def endings(self, prefix: str) -> Iterator[str]:
        """What follows in each longer word that begins so."""
        for place in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            word = self._sorted[place]
            if not word.startswith(prefix):
                return
            if len(word) > len(prefix):
                yield word[len(prefix) :]
