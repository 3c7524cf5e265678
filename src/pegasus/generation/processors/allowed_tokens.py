"""All tokens that may be written next: from the words of short lists, and from what all sources share.

Where a word begins, what the common words allow is the same for every source, row and step, and is found
once for a vocabulary. What the source adds is found from its words: each beginning of one that is a token.
Inside a word the same holds for what follows in the words that begin so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import numpy as np

from pegasus.generation.processors.before_words import NONE, TOUCHING
from pegasus.generation.processors.token_table import Group, is_letter, plain_form
from pegasus.generation.processors.word_list import WordList
from pegasus.generation.processors.wording import (
    APOSTROPHES,
    SUFFIXES,
    Lexicon,
    State,
    Thread,
    Wording,
)

#: A word of so many letters is begun by few words, and fewer tokens than this can go on with it.
_NARROW, _FEW = 2, 512
_MOST_REMEMBERED = 20_000


class SharedTokens:
    """What one vocabulary and its common words allow, for all sources.

    Args:
        lexicon: the vocabulary and the words.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._begun: dict[tuple[str, bool, int], np.ndarray] = {}
        self._unsure: dict[tuple[str, bool, int], list[int]] = {}
        self._continuing: dict[tuple[str, str], tuple[np.ndarray, tuple[str, ...]]] = {}
        self._firsts: dict[str, frozenset[str]] = {}

    def begun(self, group: Group, opens: bool, before: int) -> np.ndarray:
        """The tokens of a group that may begin a word anyway, their lead written."""
        key = (group.lead, opens, before)
        if key not in self._begun:
            verdicts = self.lexicon.anyway.of(opens, before)
            self._begun[key] = _array(token for token in group.members if verdicts[token])
        return self._begun[key]

    def unsure(self, group: Group, opens: bool, before: int) -> list[int]:
        """Tokens that end a word which may begin anyway, where whether they may depends on the source."""
        key = (group.lead, opens, before)
        if key not in self._unsure:
            begins = self.lexicon.anyway.begins
            self._unsure[key] = [
                token
                for run, tokens in group.crossing.items()
                if begins((run, opens, before))
                for token in tokens
                if run[0].isupper() or any(map(is_letter, self.lexicon.table.parts(token).rest))
            ]
        return self._unsure[key]

    def firsts(self, prefix: str) -> frozenset[str]:
        """The characters other than letters that come next in common words which begin so."""
        found = self._firsts.get(prefix)
        if found is None:
            if len(self._firsts) >= _MOST_REMEMBERED:
                self._firsts.clear()
            signs = {ending[0] for ending in self.lexicon.common.endings(prefix)}
            found = self._firsts[prefix] = frozenset(sign for sign in signs if not is_letter(sign))
        return found

    def continuing(self, group: Group, prefix: str) -> tuple[np.ndarray, tuple[str, ...]]:
        """The tokens of a group that go on with a common word, and the runs of others that may."""
        key = (group.lead, prefix)
        found = self._continuing.get(key)
        if found is None:
            if len(self._continuing) >= _MOST_REMEMBERED:
                self._continuing.clear()
            tokens, runs = continuing(group, self.lexicon.common, prefix)
            found = self._continuing[key] = (_array(tokens), tuple(runs))
        return found


def continuing(group: Group, words: WordList, prefix: str) -> tuple[list[int], set[str]]:
    """The tokens of a group that go on with a word of a list, and the runs of those which cross its end.

    Args:
        group: the tokens.
        words: the list.
        prefix: the word so far.
    """
    runs: set[str] = set()
    for ending in words.endings(prefix):
        # Some hold blanks or signs, as numbers do; no run of letters is the same.
        runs.update(ending[:end] for end in range(1, len(ending) + 1))
    return _of(group.plain, runs), group.crossing.keys() & runs


class AllowedTokens:
    """What one source allows.

    Args:
        wording: reads tokens.
        shared: what is allowed for every source.
    """

    def __init__(self, wording: Wording, shared: SharedTokens) -> None:
        self.wording, self.shared, self.lexicon = wording, shared, wording.lexicon
        self._found: dict[State, np.ndarray] = {}
        self._begun: dict[tuple[str, bool, int], list[int]] = {}

    def few(self, state: State) -> np.ndarray | None:
        """All tokens that may be written, if a word is begun and not whole; None: they may be many."""
        if state.may_end:
            return None
        for word, _, _ in state.threads:
            if (len(word) < _NARROW and not word.isdigit()) or self.wording.is_free(word):
                return None
        tokens = self.tokens(state)
        return tokens if len(tokens) <= _FEW else None

    def mask(self, state: State) -> np.ndarray:
        """bool [V]: which tokens may be written."""
        allowed_V = np.zeros(len(self.lexicon.pieces), dtype=bool)
        allowed_V[self.tokens(state)] = True
        return allowed_V

    def tokens(self, state: State) -> np.ndarray:
        """int64, sorted: all tokens that may be written."""
        found = self._found.get(state)
        if found is None:
            allowed_V = np.zeros(len(self.lexicon.pieces), dtype=bool)
            for some in self._parts(state):
                allowed_V[some] = True
            found = self._found[state] = np.flatnonzero(allowed_V)
        return found

    def _parts(self, state: State) -> Iterator[np.ndarray | list[int]]:
        if state.may_end:
            yield self.lexicon.silent
        by_first = self.lexicon.table.by_first
        for first in by_first if state.may_end else self._firsts(state):
            if first and not self.wording.read(state, first).threads:
                continue
            for group in by_first.get(first, ()):
                after = self.wording.read(state, group.lead) if group.lead else state
                if group.lead and after.threads:
                    yield group.bare
                for thread in after.threads:
                    yield from self._of_thread(group, thread, state)

    def _firsts(self, state: State) -> Iterator[str]:
        """How the lead of a token may begin inside of words: with what a word has beside letters."""
        yield ""
        found: set[str] = set()
        for thread in state.threads:
            for words, prefix in short_lists(self.wording, thread):
                found.update(ending[0] for ending in words.endings(prefix))
            plain = plain_form(thread[0], thread[1])
            if plain is not None:
                found |= self.shared.firsts(plain)
        yield from (sign for sign in found if not is_letter(sign))

    def _of_thread(self, group: Group, thread: Thread, state: State) -> Iterator[np.ndarray | list[int]]:
        word, opens, before = thread
        if not word:
            yield self.shared.begun(group, opens, before)
            yield self._begun_here(group, opens, before)
            return
        unsure: set[str] = set()
        for words, prefix in short_lists(self.wording, thread):
            tokens, runs = continuing(group, words, prefix)
            unsure |= runs
            yield tokens
        plain = plain_form(word, opens)
        if plain is not None and word[0] not in APOSTROPHES:
            if not (before == TOUCHING and word[0].isdigit()):
                common, more = self.shared.continuing(group, plain)
                unsure.update(more)
                yield common
            if self.wording.is_free(word):
                yield group.small
                yield self._accepted(state, group.small_crossing)
        yield self._accepted(state, _of(group.crossing, unsure))

    def _begun_here(self, group: Group, opens: bool, before: int) -> list[int]:
        """The tokens of a group that may begin a word of this source, their lead written."""
        key = (group.lead, opens, before)
        found = self._begun.get(key)
        if found is None:
            forms = self._forms(before)
            capitals = self._capitals(before) if opens else frozenset()
            found = _of(group.plain, forms) + _of(group.capital, capitals)
            begin = self.wording.state(frozenset({("", opens, before)}))
            unsure = self.shared.unsure(group, opens, before)
            more = _of(group.crossing, forms) + _of(group.capital_crossing, capitals)
            found += [token for token in (*unsure, *more) if self._accepts_after_lead(begin, token)]
            self._begun[key] = found
        return found

    def _accepts_after_lead(self, state: State, token: int) -> bool:
        parts = self.lexicon.table.parts(token)
        return bool(self.wording.read(state, parts.run + parts.rest).threads)

    def _forms(self, before: int) -> Set[str]:
        """Every beginning of a word of the source, as the source writes it."""
        source = self.wording.source
        if before == NONE:
            return source.words.beginnings | source.numbers.beginnings
        return {one for one in source.words.beginnings if not one[0].isdigit()}

    def _capitals(self, before: int) -> Set[str]:
        """Every beginning that may have a capital where a sentence opens."""
        source = self.wording.source
        return source.openers.beginnings | (source.numbers.beginnings if before == NONE else frozenset())

    def _accepted(self, state: State, tokens: Iterable[int]) -> list[int]:
        return [token for token in tokens if state.verdicts[token]]


def short_lists(wording: Wording, thread: Thread) -> Iterator[tuple[WordList, str]]:
    """The short lists in which a word may go on, and how it begins there."""
    word, opens, before = thread
    if word[0] in APOSTROPHES:
        yield SUFFIXES, word[1:]
        return
    source, plain = wording.source, plain_form(word, opens)
    if before == NONE or not word[0].isdigit():
        yield source.words, word
    if before == NONE:
        yield source.numbers, word
        if plain is not None:
            yield source.numbers, plain
            yield wording.lexicon.small_numbers, plain
    if plain is not None and plain is not word and not (before == TOUCHING and word[0].isdigit()):
        yield source.openers, plain


def _of(tokens: dict[str, list[int]], runs: Set[str]) -> list[int]:
    return [token for run in tokens.keys() & runs for token in tokens[run]]


def _array(tokens: Iterable[int]) -> np.ndarray:
    return np.fromiter(tokens, dtype=np.int64)
