"""Near-copies of a source's words in a summary, put right: neither the text nor the language has them.

A model that spells by pieces writes "Perley2" where its text has "Person2". Such a word is replaced by the
text's own, where exactly one is near enough: it begins with the same letter and differs in a quarter of its
letters at most, or, of two identifiers, begins with the same three letters and ends in the same figures. A
word that the text or the list of common words has is never touched, nor one that is an inflection of such a
word, nor a number.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from pegasus.summarizer.faithful import is_number_word, read_common_words
from pegasus.summarizer.folding import fold, tidy
from pegasus.summarizer.proper_names import opens_sentence
from pegasus.summarizer.settings import COMMON_WORDS

_WORD = re.compile(r"[^\W_]+")
_FIGURES = re.compile(r"\d+$")
_ENDINGS = frozenset(
    [
        "s",
        "es",
        "d",
        "ed",
        "r",
        "er",
        "ers",
        "ing",
        "ings",
        "ly",
        "n",
        "an",
        "ans",
        "ian",
        "ians",
        "al",
        "y",
    ]
)
_LEAST_LETTERS = 4
_LETTERS_A_SLIP = 4
_SAME_BEGINNING = 3


@dataclass(frozen=True)
class Repaired:
    """One word that was put right.

    Attributes:
        written: what the model wrote.
        now: what stands there now.
    """

    written: str
    now: str


@dataclass(frozen=True)
class Repairer:
    """Puts right what is written about one text.

    Args:
        text: the text.
        common: common words in small letters; with none only names and identifiers are looked at, since any
            other word may be one.
    """

    text: str
    common: Collection[str] = frozenset()

    def __call__(self, summary: str) -> tuple[str, tuple[Repaired, ...]]:
        """Return a summary with its near-copies put right, and what was changed, in order."""
        repaired: list[Repaired] = []
        parts, end = [], 0
        for match in _WORD.finditer(summary):
            before = summary[max(0, match.start() - 8) : match.start()]
            now = self._right(match.group(), before)
            if now is not None:
                parts += [summary[end : match.start()], now]
                end = match.end()
                repaired.append(Repaired(match.group(), now))
        return "".join([*parts, summary[end:]]), tuple(repaired)

    @cached_property
    def words(self) -> dict[str, str]:
        """The words of the text as it writes them, by their folded small letters."""
        found: dict[str, str] = {}
        for match in _WORD.finditer(tidy(self.text)):
            found.setdefault(fold(match.group()).lower(), match.group())
        return found

    @cached_property
    def by_letter(self) -> dict[str, list[str]]:
        """The folded words of the text that are long enough, by their first letter."""
        found: dict[str, list[str]] = {}
        for word in self.words:
            if len(word) >= _LEAST_LETTERS and not word[0].isdigit():
                found.setdefault(word[0], []).append(word)
        return found

    def _right(self, word: str, before: str) -> str | None:
        """What should stand in a word's place; None: the word."""
        small = fold(word).lower()
        if len(small) < _LEAST_LETTERS or not self._is_strange(word, small):
            return None
        near = self._nearest(small)
        if near is None:
            return None
        now = self.words[near]
        return now[0].upper() + now[1:] if word[0].isupper() and opens_sentence(before) else now

    def _is_strange(self, word: str, small: str) -> bool:
        """Whether neither the text nor the language is known to have a word, nor a form of it."""
        if small in self.words or small in self.common or is_number_word(word):
            return False
        if word.islower() and not self.common:
            return False
        if any(one in self.common for one in _stems(small)):
            return False
        return not any(_are_forms(small, other) for other in self.by_letter.get(small[0], ()))

    def _nearest(self, small: str) -> str | None:
        """The one word of the text that is nearest, if it is near; None: none is, or several are."""
        found: list[str] = []
        best = len(small) + 1
        for other in self.by_letter.get(small[0], ()):
            distance = self._distance(small, other)
            if distance is not None and distance <= best:
                found = [*found, other] if distance == best else [other]
                best = distance
        return found[0] if len(found) == 1 else None

    def _distance(self, small: str, other: str) -> int | None:
        """How many slips lie between two words; None: they are other words."""
        figures, others = _FIGURES.search(small), _FIGURES.search(other)
        if (figures and figures.group()) != (others and others.group()):
            return None  # "Person1" is not "Person2"
        length = max(len(small), len(other))
        same_beginning = small[:_SAME_BEGINNING] == other[:_SAME_BEGINNING]
        most = length - _SAME_BEGINNING if figures and same_beginning else length // _LETTERS_A_SLIP
        if abs(len(small) - len(other)) > most:
            return None
        found = slips(small, other)
        return found if found <= most else None


def slips(one: str, other: str) -> int:
    """How many letters are wrong, missing, too many, or change places with their neighbour."""
    before, row = [0], list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        above, before, row = before, row, [place]
        for column, another in enumerate(other, 1):
            least = min(before[column] + 1, row[-1] + 1, before[column - 1] + (letter != another))
            if place > 1 and column > 1 and letter == other[column - 2] and one[place - 2] == another:
                least = min(least, above[column - 2] + 1)
            row.append(least)
    return row[-1]


def _are_forms(one: str, other: str) -> bool:
    """Whether one is the other with an ending, as "Americans" is of "American"."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and long[len(short) :] in _ENDINGS


def _stems(word: str) -> list[str]:
    return [
        word[: -len(ending)] + more
        for ending in _ENDINGS
        if word.endswith(ending)
        for more in ("", "e", "y")
    ]


@lru_cache(maxsize=4)
def common_words_of(folder: Path) -> frozenset[str]:
    """The common words beside a checkpoint; none where it has no list."""
    file = folder / COMMON_WORDS
    return frozenset(read_common_words(file)) if file.is_file() else frozenset()
