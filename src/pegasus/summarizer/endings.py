"""Where a summary ends that met its limit: at a whole sentence if there is one, else at a whole word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pegasus.generation.processors.completion import completed, is_whole
from pegasus.generation.processors.wording import Wording

_STOPS = (".", "!", "?", "…", "。", "！", "？", "।", "؟")
_CLOSERS = "\"'”’»)]}"
_OPENERS = "\"'“‘«([{"
_BETWEEN = ",;:"
_DASHES = ("-", "\u2010", "\u2011")
#: What a summary does not end with: these, and signs that open something.
_LOOSE = re.compile(rf"(?:[\s–—{_BETWEEN}]|(?<!\S)[{re.escape(_OPENERS)}]+(?!\S))+$")
_BLANKS = re.compile(r"\s+")
_WORD_ENDS = re.compile(r"(?<=\w)(?!\w)")


def is_finished(sentence: str) -> bool:
    """Whether a sentence ends as sentences do."""
    return sentence.rstrip().rstrip(_CLOSERS).endswith(_STOPS)


class Ending(Protocol):
    """What is known of the words of a summary that its limit broke off."""

    def is_whole(self, text: str, after: str) -> bool:
        """Whether a beginning of the summary ends where a word is whole.

        Args:
            text: the beginning.
            after: what follows of the summary.
        """
        ...

    def completed(self, text: str) -> str:
        """A text that is one broken word: what becomes of it."""
        ...


class SourceEnding:
    """What the source alone says, of a summary that was written freely: words may be of any language.

    A word before a blank is whole, and so is the last one if the source has it, or if a comma follows it
    that is no part of a word or number of the source. A broken word that stands alone stays.

    Args:
        source: the text.
    """

    def __init__(self, source: str) -> None:
        self.words = [word.lstrip(_OPENERS) for word in source.split()]
        self.known = {_core(word) for word in self.words}

    def is_whole(self, text: str, after: str) -> bool:
        """Whether a beginning of the summary ends where a word is whole; see `Ending`."""
        if after[:1].isspace():
            return True
        last = text.split()[-1].lstrip(_OPENERS)
        if _core(last) in self.known:
            return True
        seen = (last + after.split(None, 1)[0] if after else last).rstrip(_CLOSERS)
        return seen.endswith((*_BETWEEN, *_STOPS)) and not self._goes_on(seen)

    def completed(self, text: str) -> str:
        """A broken word that stands alone: as it is."""
        return text

    def _goes_on(self, seen: str) -> bool:
        """Whether some word of the source begins so and goes on, as "1,200" does after "1,"."""
        longer = (word[len(seen) :] for word in self.words if word.startswith(seen))
        return any(rest[:1].isalnum() for rest in longer)


@dataclass(frozen=True)
class HeldEnding:
    """What a summary was held to while it was written.

    Its last word is whole if it may be said and the source has it too: "ba" may be a word, and begin
    "baking".

    Attributes:
        wording: the rule.
        free: what the source says of the last word, and of a summary that cannot be read by the rule.
    """

    wording: Wording
    free: SourceEnding

    def is_whole(self, text: str, after: str) -> bool:
        """Whether a beginning of the summary ends where a word is whole; see `Ending`."""
        return is_whole(self.wording, text) and (bool(after) or self.free.is_whole(text, after))

    def completed(self, text: str) -> str:
        """A broken word that stands alone: the shortest allowed one that begins so."""
        return completed(self.wording, text) or self.free.completed(text)


def end_at_word(sentences: Sequence[str], ending: Ending, after: str = "") -> list[str]:
    """The sentences of a summary up to where its last whole word ends; the last of them may be broken off.

    It is cut at a blank if that will do, else behind any word.

    Args:
        sentences: the summary, as its limit left it.
        ending: what is known of its words.
        after: what came next, if that is known.
    """
    text = "".join(sentences)
    for borders in (_BLANKS, _WORD_ENDS):
        places = {len(text), *(match.start() for match in borders.finditer(text))}
        for place in sorted(places, reverse=True):
            part = _trimmed(text[:place])
            if part and not part.endswith(_DASHES) and ending.is_whole(part, text[len(part) :] + after):
                return _up_to(sentences, len(part))
    head = "".join(sentences[:-1])
    made = ending.completed(_trimmed(text))
    return _up_to([*sentences[:-1], made[len(head) :]], len(made))


def within_words(sentences: Sequence[str], most: int) -> tuple[list[str], bool]:
    """Return sentences of at most so many words in all, and whether the last one was broken off for it.

    Sentences at the end are left out where at least half of the words stay; else words are.
    """
    counts = [len(sentence.split()) for sentence in sentences]
    kept = list(sentences)
    while len(kept) > 1 and sum(counts[: len(kept)]) > most and 2 * sum(counts[: len(kept) - 1]) >= most:
        kept.pop()
    over = sum(counts[: len(kept)]) - most
    if over <= 0:
        return kept, False
    while over >= counts[len(kept) - 1]:
        over -= counts[len(kept) - 1]
        kept.pop()
    if over:
        kept[-1] = _first_words(kept[-1], counts[len(kept) - 1] - over)
    return kept, not is_finished(kept[-1])


def _up_to(sentences: Sequence[str], length: int) -> list[str]:
    """The sentences of a text's first characters."""
    kept: list[str] = []
    for sentence in sentences:
        if length > 0:
            kept.append(sentence[:length])
            length -= len(sentence)
    return kept


def _trimmed(text: str) -> str:
    return _LOOSE.sub("", text)


def _core(word: str) -> str:
    return word.strip(_OPENERS + _CLOSERS + _BETWEEN).rstrip("".join(_STOPS))


def _first_words(text: str, count: int) -> str:
    words = text.split()[:count]
    place = 0
    for word in words:
        place = text.index(word, place) + len(word)
    return text[:place].rstrip(_BETWEEN)
