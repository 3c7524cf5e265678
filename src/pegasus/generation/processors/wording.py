"""Which words may be written: those of a source, common words, and numbers as the source has them.

Words are read a character at a time, whatever pieces they are made of. What is being written is remembered
as the word so far, and as what came before it: whether it opens a sentence, and whether a number stands
right before it. A word goes on while some allowed word begins so, and is whole where it is one; so there is
always a way to go on. Blanks and punctuation stand between words; in a number they may be part of it
("1,200", "2 million"), so a text may be read in several ways at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pegasus.generation.processors.before_words import (
    BESIDE,
    NONE,
    SENTENCE_ENDS,
    TITLES,
    before_after,
    opens_after,
)
from pegasus.generation.processors.byte_letters import as_bytes, from_bytes
from pegasus.generation.processors.token_table import Parts, TokenTable, is_letter, is_plain, plain_form
from pegasus.generation.processors.word_list import WordList

APOSTROPHES = "'’"
#: What may stand behind an apostrophe: John's, don't, we've.
SUFFIXES = WordList(["s", "t", "re", "ve", "ll", "d", "m"])


@dataclass(frozen=True)
class SourceWords:
    """What a source allows beside common words.

    Attributes:
        words: words in the source's letters, anywhere.
        openers: words in small letters whose capitalized form may open a sentence.
        numbers: numbers, dates and the like, as they may be written.
        names: those of the words that are no common ones with a capital.
        initials: letters that stand for a name before another one, with a stop ("J. Smith").
    """

    words: WordList = field(default_factory=WordList)
    openers: WordList = field(default_factory=WordList)
    numbers: WordList = field(default_factory=WordList)
    names: WordList = field(default_factory=WordList)
    initials: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Lexicon:
    """What is allowed whatever the source says, and how tokens are written.

    Attributes:
        pieces: the text of each token, blanks as blanks, bytes as `byte_letters.letter_of` has them; None
            for tokens that are never said; "" for the unknown token, which says nothing.
        ends: the tokens that end a text.
        common: common words in small letters, none of them a number.
        free: whether every other word in small letters is allowed too, if it is no number.
        small_numbers: words for numbers that need no source ("two"), in small letters.
        number_words: all words for numbers, in small letters.
        characters: those that have a piece, where others are written as bytes; None: there are no bytes.
    """

    pieces: Sequence[str | None]
    ends: frozenset[int]
    common: WordList = field(default_factory=WordList)
    free: bool = False
    small_numbers: WordList = field(default_factory=WordList)
    number_words: frozenset[str] = frozenset()
    characters: frozenset[str] | None = None

    def spelled(self, text: str) -> str:
        """A text as pieces spell it."""
        return text if self.characters is None else as_bytes(text, self.characters)

    def said(self, text: str) -> str:
        """What pieces spell, as text."""
        return text if self.characters is None else from_bytes(text)

    @cached_property
    def silent(self) -> list[int]:
        """The tokens that may stand wherever a word is whole: ends, and the unknown token."""
        return [*self.ends, *(token for token, piece in enumerate(self.pieces) if piece == "")]

    @cached_property
    def table(self) -> TokenTable:
        """The tokens, taken apart."""
        return TokenTable(self.pieces)

    @cached_property
    def anyway(self) -> Anyway:
        """What is allowed whatever the source says, as far as anybody asked."""
        return Anyway(self)


#: The word so far, whether it opens a sentence, and what stands before it.
Thread = tuple[str, bool, int]


class State:
    """All ways to read what has been written; none: it should not have been.

    Attributes:
        threads: those ways.
        wording: reads on.
        verdicts: whether a token may come next, by token.
        begun: the same of tokens whose lead is what was read last, as far as anybody asked.
        leads: the states after leads, as far as anybody asked.
        anyway: what may begin a word here whatever the source says, for each way in which none is begun.
        tokens: what tokens lead to, as far as they were written.
        characters: what characters lead to, likewise.
    """

    __slots__ = (
        "_may_end", "anyway", "begun", "characters", "leads", "threads", "tokens", "verdicts", "wording",
    )  # fmt: skip

    def __init__(self, threads: frozenset[Thread], wording: Wording) -> None:
        self.threads, self.wording = threads, wording
        self.verdicts = _Verdicts(self)
        self.begun: dict[int, bool] = {}
        self.leads: dict[str, State] = {}
        self.tokens: dict[int, State] = {}
        self.characters: dict[str, State] = {}
        of = wording.lexicon.anyway.of
        self.anyway = [of(opens, before) for word, opens, before in threads if not word]
        self._may_end: bool | None = None

    def __bool__(self) -> bool:
        return bool(self.threads)

    @property
    def may_end(self) -> bool:
        """Whether what has been written is whole."""
        if self._may_end is None:
            self._may_end = any(not thread[0] or self.wording.is_whole(thread) for thread in self.threads)
        return self._may_end


class _Verdicts(dict[int, bool]):
    """Whether tokens may be written, each found when it is first asked about."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state = state

    def __missing__(self, token: int) -> bool:
        found = self[token] = self.state.wording.accepts(self.state, token)
        return found


class Wording:
    """What may be written about one source, token by token.

    Args:
        lexicon: what is allowed anyway.
        source: what the source allows.
    """

    def __init__(self, lexicon: Lexicon, source: SourceWords) -> None:
        self.lexicon, self.source = lexicon, source
        self._states: dict[frozenset[Thread], State] = {}
        firsts = {word[0] for words in (source.numbers, lexicon.small_numbers) for word in words.words}
        #: What numbers begin with, also where they open a sentence.
        self._number_firsts = firsts | {first.upper() for first in firsts}
        self.nowhere = self.state(frozenset())
        self.start = self.state(frozenset({("", True, NONE)}))

    def state(self, threads: frozenset[Thread]) -> State:
        """The one state of these threads."""
        found = self._states.get(threads)
        if found is None:
            found = self._states[threads] = State(threads, self)
        return found

    def after(self, state: State, token: int) -> State:
        """The state once a token has been written; one without threads where it must not be."""
        found = state.tokens.get(token)
        if found is None:
            found = state.tokens[token] = self._after(state, token)
        return found

    def accepts(self, state: State, token: int) -> bool:
        """Whether a token may be written."""
        if token in self.lexicon.ends:
            return state.may_end
        parts = self.lexicon.table.find(token)
        if parts is None:
            return bool(self._after(state, token).threads)
        if not parts.lead:
            return self._accepts_run(state, token, parts)
        # What follows a blank is the same after every word that it ends.
        after = state.leads.get(parts.lead)
        if after is None:
            after = state.leads[parts.lead] = self.read(state, parts.lead)
        if not (parts.run and after.threads):
            return bool(after.threads)
        found = after.begun.get(token)
        if found is None:
            found = after.begun[token] = self._accepts_run(after, token, parts)
        return found

    def _accepts_run(self, state: State, token: int, parts: Parts) -> bool:
        """Whether a token may be written, its lead having been."""
        for anyway in state.anyway:
            if anyway[token]:
                return True
        if parts.rest:
            return bool(self.read(self._grown(state, parts.run), parts.rest).threads)
        return any(self.begins((word + parts.run, opens, before)) for word, opens, before in state.threads)

    def read(self, state: State, text: str) -> State:
        """The state after some characters."""
        for character in text:
            following = state.characters.get(character)
            if following is None:
                letter = is_letter(character)
                threads = (
                    one for before in state.threads for one in self._threads(before, character, letter)
                )
                following = state.characters[character] = self.state(frozenset(threads))
            state = following
            if not state.threads:
                break
        return state

    def _after(self, state: State, token: int) -> State:
        parts = self.lexicon.table.find(token)
        if parts is None:  # the unknown token is no part of a word, nor does it part two
            return state if self.lexicon.pieces[token] == "" and state.may_end else self.nowhere
        state = self.read(state, parts.lead) if parts.lead else state
        if parts.run and state.threads:
            state = self._grown(state, parts.run)
        return self.read(state, parts.rest) if parts.rest else state

    def _grown(self, state: State, run: str) -> State:
        """The state after letters and figures, which all go on with the word at hand."""
        threads = [(word + run, opens, before) for word, opens, before in state.threads]
        alive = [thread for thread in threads if self.begins(thread)]
        return self.state(frozenset(alive)) if alive else self.nowhere

    def _threads(self, thread: Thread, character: str, letter: bool) -> Iterable[Thread]:
        word, opens, before = thread
        if word or letter:
            grown = (word + character, opens, before)
            if self.begins(grown):
                yield grown
        if letter:
            return
        if not word:
            yield "", opens_after(opens, character), before_after(before, character)
        elif self.is_whole(thread):
            number = before_after(NONE, character, new=True) if self._is_number(word) else NONE
            yield "", character in SENTENCE_ENDS and not self._is_title(word, character), number
            if character in APOSTROPHES and _takes_suffix(word):
                yield character, False, NONE

    def _is_title(self, word: str, character: str) -> bool:
        """Whether a stop behind a word abbreviates it, and a name follows."""
        return character == "." and (word in TITLES or word in self.source.initials)

    def begins(self, thread: Thread) -> bool:
        """Whether some word that is allowed here begins so."""
        word, opens, before = thread
        first = word[0]
        if first in APOSTROPHES:
            return len(word) == 1 or SUFFIXES.begins(word[1:])
        plain = plain_form(word, opens)
        if before != NONE and first.isdigit():  # a number stands before, and both would be a third
            return before == BESIDE and self._begins_common(plain, word)
        if self.source.words.begins(word):
            return True
        if self._begins_common(plain, word):
            return True
        return before == NONE and first in self._number_firsts and self._is_begun_number(word, plain)

    def _begins_common(self, plain: str | None, word: str) -> bool:
        if plain is None:
            return False
        if self.lexicon.common.begins(plain) or self.is_free(word):
            return True
        return plain is not word and self.source.openers.begins(plain)

    def is_whole(self, thread: Thread) -> bool:
        """Whether a word is allowed here as it stands."""
        word, opens, before = thread
        if word[0] in APOSTROPHES:
            return word[1:] in SUFFIXES
        plain = plain_form(word, opens)
        if before == NONE and self._is_allowed_number(word, plain):
            return True
        if word in self.source.words:
            return not (before != NONE and word[0].isdigit())
        if plain is None:
            return False
        if plain is not word and self.source.names.goes_on(word):
            return False  # what begins as a name of the source shall be that name: "Person2", not "Person"
        if plain in self.lexicon.common:
            return True
        if self.is_free(word) and word not in self.lexicon.number_words:
            return True
        return plain is not word and plain in self.source.openers

    def is_free(self, word: str) -> bool:
        """Whether a word needs neither a source nor a list; it may still be a number."""
        return self.lexicon.free and is_plain(word)

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


def _takes_suffix(word: str) -> bool:
    """Whether an apostrophe and its letters may follow: John's, O'Brien's, but not don't's."""
    _, mark, last = word.replace("’", "'").rpartition("'")
    return not mark or last not in SUFFIXES


class Anyway:
    """Which tokens may be written where a word begins, whatever the source says.

    Each lead has been written already. Where that depends on the source (a word is ended by the token that
    begins it, and has a capital or is followed by letters) the answer is no.

    Args:
        lexicon: what is allowed without a source.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._found: dict[tuple[bool, int], _AnywayVerdicts] = {}

    @cached_property
    def _wording(self) -> Wording:
        return Wording(self.lexicon, SourceWords())

    def of(self, opens: bool, before: int) -> dict[int, bool]:
        """Whether tokens with a run of letters may be written, each found when it is first asked about.

        Args:
            opens: whether the word opens a sentence.
            before: what stands before it.
        """
        found = self._found.get((opens, before))
        if found is None:
            found = self._found[opens, before] = _AnywayVerdicts(self, opens, before)
        return found

    def begins(self, thread: Thread) -> bool:
        """Whether some word that is allowed anyway begins so."""
        return self._wording.begins(thread)

    def accepts(self, thread: Thread, parts: Parts) -> bool:
        """Whether a token that says so may be written: the thread is its run."""
        one = self._wording
        if not one.begins(thread):
            return False
        if not parts.rest:
            return True
        if parts.run[0].isupper() or any(map(is_letter, parts.rest)):
            return False
        return bool(one.read(one.state(frozenset({thread})), parts.rest).threads)


class _AnywayVerdicts(dict[int, bool]):
    """`Anyway` in one place."""

    __slots__ = ("anyway", "before", "opens")

    def __init__(self, anyway: Anyway, opens: bool, before: int) -> None:
        self.anyway, self.opens, self.before = anyway, opens, before

    def __missing__(self, token: int) -> bool:
        parts = self.anyway.lexicon.table.parts(token)
        found = self[token] = self.anyway.accepts((parts.run, self.opens, self.before), parts)
        return found
