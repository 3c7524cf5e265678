"""Which words may be written: those of a source, common words, and numbers as the source has them.

Words are read a character at a time, whatever pieces they are made of. What is being written is remembered
as the word so far, and as what came before it: whether it opens a sentence, and whether a number stands
right before it. A word goes on while some allowed word begins so, and is whole where it is one; so there is
always a way to go on. Blanks and punctuation stand between words; in a number they may be part of it
("1,200", "2 million"), so a text may be read in several ways at once.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

_APOSTROPHES = "'’"
#: What may stand behind an apostrophe: John's, don't, we've.
_SUFFIXES = frozenset({"s", "t", "re", "ve", "ll", "d", "m"})
_SENTENCE_ENDS = ".!?…:;\n"
_OPENING = " \"'“”‘’«([{-–—•*#>\t"
#: After a number: what another number may not follow at once, for both together would be a third.
_MOST_REMEMBERED = 1_000_000
_IN_NUMBERS = ".,:'’٫٬_"
_BETWEEN_NUMBERS = " -–—/⁄\u00a0\u202f"

#: What stands before the word at hand: no number; one, and a blank or hyphen; one, and a point or comma.
_NONE, _BESIDE, _TOUCHING = 0, 1, 2


class WordList:
    """Words that are looked up whole and by their beginning.

    Args:
        words: any order, each as often as it likes.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._words = frozenset(words)
        self._sorted = sorted(self._words)
        self._begun: dict[str, bool] = {}
        self._followed: dict[str, str] = {}

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def __len__(self) -> int:
        return len(self._sorted)

    def begins(self, prefix: str) -> bool:
        """Whether some word begins so, or is this."""
        found = self._begun.get(prefix)
        if found is None:
            place = bisect_left(self._sorted, prefix)
            found = place < len(self._sorted) and self._sorted[place].startswith(prefix)
            if len(self._begun) < _MOST_REMEMBERED:
                self._begun[prefix] = found
        return found

    def following(self, prefix: str) -> str:
        """The characters that come next in words which begin so."""
        found = self._followed.get(prefix)
        if found is None:
            place, characters = bisect_left(self._sorted, prefix), []
            while place < len(self._sorted) and self._sorted[place].startswith(prefix):
                if len(self._sorted[place]) == len(prefix):
                    place += 1
                    continue
                characters.append(self._sorted[place][len(prefix)])
                place = bisect_left(self._sorted, prefix + chr(ord(characters[-1]) + 1), place)
            found = "".join(characters)
            if len(self._followed) < _MOST_REMEMBERED:
                self._followed[prefix] = found
        return found

    def goes_on(self, word: str) -> bool:
        """Whether some longer word begins with this one."""
        place = bisect_left(self._sorted, word)
        place += place < len(self._sorted) and self._sorted[place] == word
        return place < len(self._sorted) and self._sorted[place].startswith(word)


@dataclass(frozen=True)
class SourceWords:
    """What a source allows beside common words.

    Attributes:
        words: words in the source's letters, anywhere.
        openers: words in small letters whose capitalized form may open a sentence.
        numbers: numbers, dates and the like, as they may be written.
        names: those of the words that are no common ones with a capital.
    """

    words: WordList = field(default_factory=WordList)
    openers: WordList = field(default_factory=WordList)
    numbers: WordList = field(default_factory=WordList)
    names: WordList = field(default_factory=WordList)


@dataclass(frozen=True)
class Lexicon:
    """What is allowed whatever the source says, and how tokens are written.

    Attributes:
        pieces: the text of each token, blanks as blanks; None for tokens that are never said; "" for the
            unknown token, which says nothing.
        ends: the tokens that end a text.
        common: common words in small letters, none of them a number.
        free: whether every other word in small letters is allowed too, if it is no number.
        small_numbers: words for numbers that need no source ("two"), in small letters.
        number_words: all words for numbers, in small letters.
    """

    pieces: Sequence[str | None]
    ends: frozenset[int]
    common: WordList = field(default_factory=WordList)
    free: bool = False
    small_numbers: WordList = field(default_factory=WordList)
    number_words: frozenset[str] = frozenset()

    @cached_property
    def silent(self) -> list[int]:
        """The tokens that may stand wherever a word is whole: ends, and the unknown token."""
        return [*self.ends, *(token for token, piece in enumerate(self.pieces) if piece == "")]

    @cached_property
    def by_text(self) -> list[tuple[str, int]]:
        """The text of every token that is ever said and the token, sorted."""
        return sorted((piece, token) for token, piece in enumerate(self.pieces) if piece)


#: The word so far, whether it opens a sentence, and what stands before it.
Thread = tuple[str, bool, int]
#: All ways to read what has been written; empty: it should not have been.
State = frozenset[Thread]

START: State = frozenset({("", True, _NONE)})
_NOWHERE: State = frozenset()

#: A word of so many letters is begun by few words, and fewer tokens than this can go on with it.
_NARROW, _FEW = 2, 512


class Wording:
    """What may be written about one source, token by token.

    Args:
        lexicon: what is allowed anyway.
        source: what the source allows.
    """

    def __init__(self, lexicon: Lexicon, source: SourceWords) -> None:
        self.lexicon, self.source = lexicon, source
        self._next: dict[tuple[State, str], State] = {}
        self._good: dict[State, set[int]] = {}
        self._bad: dict[State, set[int]] = {}
        self._all: dict[State, np.ndarray] = {}

    def after(self, state: State, token: int) -> State:
        """The state once a token has been written; empty where it must not be."""
        piece = self.lexicon.pieces[token]
        if not piece:  # the unknown token is no part of a word, nor does it part two
            return state if piece is not None and self.may_end(state) else _NOWHERE
        return self.read(state, piece)

    def may_end(self, state: State) -> bool:
        """Whether the text may end here."""
        return any(not thread[0] or self._is_whole(thread) for thread in state)

    def accepts(self, state: State, token: int) -> bool:
        """Whether a token may be written."""
        if token in self.lexicon.ends:
            return self.may_end(state)
        return bool(self.after(state, token))

    def accepted(self, state: State, tokens: Sequence[int]) -> list[int]:
        """The places of those tokens that may be written."""
        good, bad = self._good.get(state), self._bad.get(state)
        if good is None or bad is None:
            good, bad = self._good.setdefault(state, set()), self._bad.setdefault(state, set())
        for token in tokens:
            if token not in good and token not in bad:
                (good if self.accepts(state, token) else bad).add(token)
        return [place for place, token in enumerate(tokens) if token in good]

    def few(self, state: State) -> np.ndarray | None:
        """All tokens that may be written, if a word is begun and not whole; None: they may be many."""
        if any(len(word) < _NARROW or self._is_free(word) for word, _, _ in state) or self.may_end(state):
            return None
        tokens = self._tokens(state)
        return tokens if len(tokens) <= _FEW else None

    def allowed(self, state: State) -> np.ndarray:
        """bool [V]: which tokens may be written."""
        allowed_V = np.zeros(len(self.lexicon.pieces), dtype=bool)
        allowed_V[self._tokens(state)] = True
        return allowed_V

    def _tokens(self, state: State) -> np.ndarray:
        found = self._all.get(state)
        if found is None:
            silent = self.lexicon.silent if self.may_end(state) else ()
            found = np.array(sorted([*self._reachable(state), *silent]), dtype=np.int64)
            self._all[state] = found
        return found

    def _reachable(self, state: State) -> Iterator[int]:
        """All tokens whose characters can be read, each beginning of several read once."""
        texts = self.lexicon.by_text
        stack = [(state, "", 0, len(texts))]
        while stack:
            state, beginning, first, last = stack.pop()
            while first < last and texts[first][0] == beginning:
                yield texts[first][1]
                first += 1
            for character in self._following(state) or _characters(texts, beginning, first, last):
                if first < last and (following := self.read(state, character)):
                    longer = beginning + character
                    start = bisect_left(texts, (longer, -1), first, last)
                    end = bisect_left(texts, (beginning + chr(ord(character) + 1), -1), start, last)
                    stack.append((following, longer, start, end))

    def _following(self, state: State) -> str | None:
        """The characters that may come next, some of which perhaps not; None: too many to be listed."""
        if any(not word or self._is_free(word) for word, _, _ in state) or self.may_end(state):
            return None
        found: set[str] = set()
        for word, opens, _ in state:
            if word[0] in _APOSTROPHES:
                return None
            for one in (self.source.words, self.source.numbers):
                found.update(one.following(word))
            if (plain := _plain(word, opens)) is not None:
                lists = (self.lexicon.common, self.lexicon.small_numbers, self.source.openers)
                for one in (*lists, self.source.numbers):
                    found.update(one.following(plain))
        return "".join(found)

    def _is_free(self, word: str) -> bool:
        return self.lexicon.free and _is_plain(word)

    def read(self, state: State, text: str) -> State:
        """The state after some characters."""
        for character in text:
            following = self._next.get((state, character))
            if following is None:
                letter = _is_letter(character)
                threads = (one for before in state for one in self._threads(before, character, letter))
                following = self._next[state, character] = frozenset(threads)
            state = following
            if not state:
                break
        return state

    def _threads(self, thread: Thread, character: str, letter: bool) -> Iterable[Thread]:
        word, opens, before = thread
        if word or letter:
            grown = (word + character, opens, before)
            if self._begins(grown):
                yield grown
        if letter:
            return
        if not word:
            yield "", _opens_after(opens, character), _before_after(before, character)
        elif self._is_whole(thread):
            number = _before_after(_NONE, character, new=True) if self._is_number(word) else _NONE
            yield "", character in _SENTENCE_ENDS, number
            if character in _APOSTROPHES and not any(one in _APOSTROPHES for one in word):
                yield character, False, _NONE

    def _begins(self, thread: Thread) -> bool:
        """Whether some word that is allowed here begins so."""
        word, opens, before = thread
        if word[0] in _APOSTROPHES:
            return any(suffix.startswith(word[1:]) for suffix in _SUFFIXES)
        plain = _plain(word, opens)
        if before == _NONE and self._is_begun_number(word, plain):
            return True
        if before == _TOUCHING and word[0].isdigit():
            return False
        if self.source.words.begins(word) and not (before != _NONE and word[0].isdigit()):
            return True
        if plain is None:
            return False
        if self.lexicon.common.begins(plain) or self._is_free(word):
            return True
        return plain is not word and self.source.openers.begins(plain)

    def _is_whole(self, thread: Thread) -> bool:
        """Whether a word is allowed here as it stands."""
        word, opens, before = thread
        if word[0] in _APOSTROPHES:
            return word[1:] in _SUFFIXES
        plain = _plain(word, opens)
        if before == _NONE and self._is_allowed_number(word, plain):
            return True
        if word in self.source.words:
            return not (before != _NONE and word[0].isdigit())
        if plain is None:
            return False
        if plain is not word and self.source.names.goes_on(word):
            return False  # what begins as a name of the source shall be that name: "Person2", not "Person"
        if plain in self.lexicon.common:
            return True
        if self._is_free(word) and word not in self.lexicon.number_words:
            return True
        return plain is not word and plain in self.source.openers

    def _is_begun_number(self, word: str, plain: str | None) -> bool:
        numbers, small = self.source.numbers, self.lexicon.small_numbers
        if plain is None:
            return numbers.begins(word)
        return numbers.begins(word) or numbers.begins(plain) or small.begins(plain)

    def _is_allowed_number(self, word: str, plain: str | None) -> bool:
        numbers, small = self.source.numbers, self.lexicon.small_numbers
        return word in numbers or (plain is not None and (plain in numbers or plain in small))

    def _is_number(self, word: str) -> bool:
        return (
            any(character.isdigit() for character in word)
            or word in self.source.numbers
            or word.lower() in self.lexicon.number_words
        )


def _characters(texts: Sequence[tuple[str, int]], beginning: str, first: int, last: int) -> Iterator[str]:
    """The characters that come next in a range of sorted texts, which all begin so and go on."""
    while first < last:
        character = texts[first][0][len(beginning)]
        yield character
        first = bisect_left(texts, (beginning + chr(ord(character) + 1), -1), first, last)


def _is_letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def _is_plain(word: str) -> bool:
    return word.islower() and all(_is_letter(one) and not one.isdigit() for one in word)


def _plain(word: str, opens: bool) -> str | None:
    """A word as lists have it: where it opens a sentence its capital counts for nothing; None: a name."""
    if word[0].isupper():
        return word[0].lower() + word[1:] if opens else None
    return word


def _opens_after(opens: bool, character: str) -> bool:
    if character in _SENTENCE_ENDS:
        return True
    return opens and character in _OPENING


def _before_after(before: int, character: str, *, new: bool = False) -> int:
    """What stands before the next word, after one more character.

    Args:
        before: what stood there; of no matter where a number has just ended (``new``).
        character: no letter.
        new: whether a number ends right before the character.
    """
    if not new and before != _BESIDE:
        return _NONE
    if character in _BETWEEN_NUMBERS:
        return _BESIDE
    return _TOUCHING if character in _IN_NUMBERS else _NONE
