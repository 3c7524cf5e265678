"""Faithful decoding: only words of the source, common words, and numbers as the source has them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pegasus.generation.processors.allowed_tokens import AllowedTokens, SharedTokens
from pegasus.generation.processors.logits_processors import Processor
from pegasus.generation.processors.wording import Lexicon, SourceWords, State, Wording
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Edit

#: What the vocabulary lacks.
_LOST = "\ufffd"
_WITH_LOST = re.compile(rf"[^\W_]*{_LOST}(?:[^\W_]|{_LOST})*")
_LOST_SIGNS = re.compile(f"({_LOST}+)")
_NAME_IN_SIGNS = re.compile(rf"{_LOST}+[^\W\d_a-z][^\W\d_A-Z][^\W_]*{_LOST}+")
_LAST_WORD = re.compile(r"[^\W_]*[^\W\d_]$")
_LAST_NUMBER_OR_WORD = re.compile(r"(?:\d[\d.,:/⁄'’–—-]*\s?|\w(?:[\w.,:/⁄'’–—-]*\w)?)$")


@dataclass(frozen=True)
class Faithful:
    """How ``generate(..., faithful=...)`` is asked for.

    Attributes:
        lexicon: what is allowed whatever a source says, and how tokens are written.
        read_source: a source's text → what it allows.
        cut: of which sources the rest was left out, perhaps within a word; None: nobody knows.
    """

    lexicon: Lexicon
    read_source: Callable[[str], SourceWords]
    cut: tuple[bool, ...] | None = None

    @cached_property
    def shared(self) -> SharedTokens:
        """What is allowed whatever a source says, found once."""
        return SharedTokens(self.lexicon)

    def about(self, cut: Sequence[bool]) -> Faithful:
        """The same, for sources of which it is known whether their last word may be broken off."""
        other = copy.copy(self)
        other.__dict__.update(cut=tuple(cut), shared=self.shared)
        return other

    def wording(self, source_S: np.ndarray, cut: bool | None = None) -> Wording:
        """What may be written about a source.

        Args:
            source_S: its tokens.
            cut: whether the rest was left out, perhaps within a word or number: then that is none of the
                source. None: nobody knows, and a word that nothing stands behind is taken for broken off.
        """
        pieces = [self.lexicon.pieces[token] for token in source_S.tolist()]
        while pieces and pieces[-1] is None:  # the end, and padding
            pieces.pop()
        text = self.lexicon.said("".join(piece or _LOST for piece in pieces))
        if cut is not False:
            text = (_LAST_NUMBER_OR_WORD if cut else _LAST_WORD).sub(_LOST, text)
        return Wording(self.lexicon, self.read_source(_WITH_LOST.sub(_without_fragments, text)))


def _without_fragments(match: re.Match[str]) -> str:
    """A word some letters of which are lost is none; what a lost sign stands beside may be one.

    Which of both was lost the tokens do not say. Signs stand beside figures ("p<0.05"), or on both sides of
    a name ("#Person1#"); what else stands beside letters is taken for one ("QLQ", where there is no Q).
    """
    run = match.group()
    if _NAME_IN_SIGNS.fullmatch(run):
        return run
    return "".join(part for part in _LOST_SIGNS.split(run) if part.isdigit() or part.startswith(_LOST))


class AllowedWords(Processor):
    """Tokens that lead to no allowed word are refused.

    Args:
        faithful: what is allowed.
        sources: the tokens of each text's source.
        free: lengths at which a token is forced, whatever it is, or nothing follows.
        refused: gets a number for each source: how often the likeliest token of a row was refused.
    """

    def __init__(
        self,
        faithful: Faithful,
        sources: Sequence[np.ndarray],
        free: Iterable[int] = (),
        refused: list[int] | None = None,
    ) -> None:
        cut = faithful.cut or [None] * len(sources)
        wordings = [faithful.wording(*both) for both in zip(sources, cut, strict=True)]
        self.allowed = [AllowedTokens(wording, faithful.shared) for wording in wordings]
        self.free = frozenset(free)
        self.refused = [] if refused is None else refused
        self._first = len(self.refused)
        self.refused += [0] * len(sources)
        self._rows: _Rows | None = None

    def fork(self) -> AllowedWords:
        """A processor that goes on from here on its own."""
        other = super().fork()
        assert isinstance(other, AllowedWords)
        other.refused = self.refused[:]
        if self._rows is not None:
            other._rows = _Rows(other, self._rows.texts, self._rows.states[:])
        return other

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Asks about the best tokens, but where one is forced."""
        if self._rows is None:
            self._rows = self._from(history)
        if history.length not in self.free:
            yield Edit("accept", accept=self._rows)

    def relax(self, edits: list[Edit], history: TokenHistory) -> list[Edit]:
        """Lets a word be finished, though a run of tokens comes again with it."""
        if self._rows is None or not any(one.yields for one in edits):
            return edits
        banned: dict[int, set[int]] = {}
        for one in edits:
            if one.yields and one.rows_N is not None and one.tokens_N is not None:
                for row, token in zip(one.rows_N.tolist(), one.tokens_N.tolist()):
                    banned.setdefault(row, set()).add(token)
        stuck = [row for row, tokens in banned.items() if self._rows.is_stuck(row, tokens)]
        for row in stuck:
            self._rows.note_refused(row)  # without this something else would have been written there
        return [_without_rows(one, stuck) if one.yields else one for one in edits] if stuck else edits

    def carry(self, history: TokenHistory, parents_R: np.ndarray) -> None:
        """Each row has written one more token."""
        if self._rows is None:
            self._rows = self._from(history)
            return
        before = self._rows
        states = [
            (before.state(parent), token)
            for parent, token in zip(parents_R.tolist(), history.newest_R.tolist())
        ]
        self._rows = _Rows(self, history.texts_R.tolist(), states)

    def note_refused(self, text: int) -> None:
        """Counts what was prevented in a text."""
        self.refused[self._first + text] += 1

    def _from(self, history: TokenHistory) -> _Rows:
        """The rows after what has been written; the start token says nothing."""
        texts, states = history.texts_R.tolist(), []
        for text, row in zip(texts, history.ids_RT.tolist()):
            wording = self.allowed[text].wording
            state = wording.start
            for token in row[1:]:
                state = wording.after(state, token)
            states.append(state)
        return _Rows(self, texts, states)


class _Rows:
    """What may be said next in each row, as it is now; a row that is over may say anything.

    Args:
        words: whose rows these are.
        texts: the text of each.
        states: after what has been written; or the state before the last token, and that token: nobody asks
            about rows that fall behind.
    """

    def __init__(
        self, words: AllowedWords, texts: list[int], states: Sequence[State | tuple[State, int]]
    ) -> None:
        self.words, self.texts, self.states = words, texts, list(states)

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a text."""
        return self.words.allowed[0].lexicon.ends

    def state(self, row: int) -> State:
        """The state of a row."""
        found = self.states[row]
        if isinstance(found, tuple):
            state, token = found
            found = self.states[row] = self.words.allowed[self.texts[row]].wording.after(state, token)
        return found

    def verdict(self, row: int) -> Callable[[int], bool] | None:
        """Whether a token may be said; None: every one."""
        state = self.state(row)
        return state.verdicts.__getitem__ if state.threads else None

    def few(self, row: int) -> np.ndarray | None:
        """All tokens that may be said, where they are few."""
        state = self.state(row)
        return self.words.allowed[self.texts[row]].few(state) if state.threads else None

    def tokens(self, row: int) -> np.ndarray:
        """All tokens that may be said, sorted."""
        state, allowed = self.state(row), self.words.allowed[self.texts[row]]
        return allowed.tokens(state) if state.threads else np.arange(len(allowed.lexicon.pieces))

    def is_stuck(self, row: int, banned: set[int]) -> bool:
        """Whether a row is within a word, and all that could finish it is banned."""
        state = self.state(row)
        if not state.threads or state.may_end or not any(map(state.verdicts.__getitem__, banned)):
            return False
        return banned.issuperset(self.tokens(row).tolist())

    def note_refused(self, row: int) -> None:
        """Counts what was prevented."""
        self.words.note_refused(self.texts[row])


def _without_rows(one: Edit, rows: Sequence[int]) -> Edit:
    """A ban for all other rows."""
    assert one.rows_N is not None
    assert one.tokens_N is not None
    kept_N = ~np.isin(one.rows_N, rows)
    return replace(one, rows_N=one.rows_N[kept_N], tokens_N=one.tokens_N[kept_N])
