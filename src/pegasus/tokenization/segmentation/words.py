"""Cutting normalized text word by word, each word once.

No piece of a PEGASUS vocabulary has a blank inside, so the best way to cut a text is the best way to cut
each of its words. Words repeat: remembering how each was cut is faster than cutting again. It also
keeps out a fault of summing over a whole text in single precision, as sentencepiece does: behind some
thousand tokens the sum's last digit decides between ways that differ in the third, and the same word
is cut in two ways in one document (seen once in 240,000 tokens).

One more care makes two libraries agree to the last id. Where parts of a word repeat ("-----",
"hahaha"), the same pieces fit in another order and score the same but for rounding. Such words are
cut here, in double precision, where those sums are exact and the rule for equals is explicit. For
pieces to fit in another order, one of them has to begin as another does; few words need that care.

Opening a library over 96,000 pieces takes as long as cutting some thousands of words here. So the first
words are cut here, which is right for any word, and one short text never opens the library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain, pairwise

from pegasus.tokenization.vocabulary.layout import SPACE

#: Cuts words that begin with the space marker (or are the start of a text without one).
Engine = Callable[[list[str]], Sequence[list[int]]]

_REPEATS = re.compile(r"(.+)\1")
_LONG = 64  # letters; looking for repeats takes the square of it
_REMEMBERED = 300_000  # words; beyond it everything is forgotten
_FEW = 2_000  # words that are cut here before a library is opened for them

_UNKNOWN_PENALTY = 10.0  # an unknown character scores so much less than the rarest piece


class ExactCutter:
    """The best way to cut a word, in double precision; of equals the one whose last piece is longest.

    Args:
        pieces: piece → (id, score), without those that text never matches.
        lowest: the score of the rarest learnt piece.
        unk_id: the id of unknown characters; a run of them is one token.
    """

    def __init__(self, pieces: dict[str, tuple[int, float]], lowest: float, unk_id: int) -> None:
        self._pieces = pieces
        self._unk_id = unk_id
        self._unknown = lowest - _UNKNOWN_PENALTY
        self._longest = max(map(len, pieces), default=1)

    def cut(self, word: str) -> list[int]:
        """The ids of a word."""
        end = len(word)
        # for every place: score of the best way there, where its last piece begins, that piece's id
        best: list[tuple[float, int, int] | None] = [(0.0, 0, 0), *([None] * end)]
        for start in range(end):
            reached = best[start]
            assert reached is not None  # every character is a piece or unknown
            for stop in range(start + 1, min(end, start + self._longest) + 1):
                found = self._pieces.get(word[start:stop])
                if found is None and stop == start + 1:
                    found = (self._unk_id, self._unknown)
                if found is None:
                    continue
                score, there = reached[0] + found[1], best[stop]
                if there is None or score > there[0]:
                    best[stop] = (score, start, found[0])
        return self._trace(best)

    def _trace(self, best: Sequence[tuple[float, int, int] | None]) -> list[int]:
        ids: list[int] = []
        place = len(best) - 1
        while place > 0:
            step = best[place]
            assert step is not None
            if not (ids and ids[-1] == self._unk_id == step[2]):
                ids.append(step[2])
            place = step[1]
        return ids[::-1]


class FreshCutter:
    """Cuts words that were not seen before.

    Args:
        engine: cuts any word, without care for ways that score alike.
        exact: makes the cutter for words in which there may be such ways, when the first one comes.
        spell: ids → pieces.
        unk_id: the id of unknown characters.
        is_open: whether the engine is ready; until it is, the first words are cut without it.
    """

    def __init__(
        self,
        engine: Engine,
        exact: Callable[[], ExactCutter],
        spell: Callable[[Sequence[int]], list[str]],
        unk_id: int,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self._engine = engine
        self._is_open = is_open
        self._cut_here = 0
        self._make_exact = exact
        self._exact: ExactCutter | None = None
        self._spell = spell
        self._unk_id = unk_id

    def cut(self, words: Collection[str]) -> dict[str, list[int]]:
        """The ids of each word."""
        if self._cut_here + len(words) <= _FEW and not self._is_open():
            self._cut_here += len(words)
            return {word: self._in_double(word) for word in words}
        short = [word for word in words if len(word) <= _LONG]
        found = dict(zip(short, self._engine(short))) if short else {}
        for word in words:
            ids = found.get(word)
            if ids is None or (len(ids) > 1 and self._may_tie(word, ids)):
                found[word] = self._in_double(word)
        return found

    def _may_tie(self, word: str, ids: list[int]) -> bool:
        """Whether the pieces may fit in another order; the one with the space marker always comes first."""
        if self._unk_id not in ids:
            own = ids[1:] if word.startswith(SPACE) else ids
            if len(own) < 2:
                return False
            pieces = sorted(set(self._spell(own)))
            if not any(after.startswith(piece) for piece, after in pairwise(pieces)):
                return False
        return _REPEATS.search(word) is not None

    def _in_double(self, word: str) -> list[int]:
        if self._exact is None:
            self._exact = self._make_exact()
        return self._exact.cut(word)


class WordCutter:
    """Remembers how each word was cut.

    Args:
        fresh: cuts words that were not seen before.
    """

    def __init__(self, fresh: FreshCutter) -> None:
        self._fresh = fresh
        self._known: dict[str, list[int]] = {}

    def cut(self, texts: Iterable[str]) -> list[list[int]]:
        """The ids of normalized texts."""
        split = [words_of(text) for text in texts]
        if len(self._known) > _REMEMBERED:
            self._known = {}
        known = self._known  # another thread may forget in between
        if fresh := set(chain.from_iterable(split)) - known.keys():
            known.update(self._fresh.cut(fresh))
        return [list(chain.from_iterable(map(known.__getitem__, words))) for words in split]


def words_of(normalized: str) -> list[str]:
    """The words of a normalized text, each with the space marker before it; together they are the text."""
    first, *others = normalized.split(SPACE)
    words = [SPACE + word for word in others]
    return [first, *words] if first else words


def spellings(text: str, pieces: Sequence[str], unknown: Sequence[bool]) -> list[str]:
    """How each piece is spelled in the text it was cut from: itself, except for unknown characters.

    Args:
        text: the normalized text.
        pieces: what it was cut into.
        unknown: which of them stand for characters that the vocabulary does not know.
    """
    if not any(unknown):
        return list(pieces)
    pattern = "".join("(.+?)" if lost else f"({re.escape(piece)})" for piece, lost in zip(pieces, unknown))
    match = re.fullmatch(pattern, text, re.DOTALL)
    return list(match.groups()) if match is not None else list(pieces)
