"""What must be said: phrases, alternatives, and how far a hypothesis has come with them.

The classes have the interface of transformers 4.34, so constraints written for it can be passed as they
are.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from pegasus.errors import BadSetting


def _check(tokens: Any, name: str) -> list[int]:
    fits = isinstance(tokens, list | tuple) and len(tokens) > 0
    if not fits or any(not isinstance(token, int) or token < 0 for token in tokens):
        raise BadSetting(f"{name} must be a non-empty list of tokens, found {tokens!r}.")
    return list(tokens)


class Constraint:
    """Something that must be said; subclass it and give it the six methods below.

    ``seqlen`` is the number of tokens it takes at most.
    """

    seqlen: int
    completed: bool = False

    def advance(self) -> int | list[int] | None:
        """The token, or the tokens, that would bring it on; None when it is fulfilled."""
        raise NotImplementedError

    def does_advance(self, token_id: int) -> bool:
        """Whether a token would bring it on."""
        raise NotImplementedError

    def update(self, token_id: int) -> tuple[bool, bool, bool]:
        """Takes in a token: whether it brought it on, fulfilled it, threw it back."""
        raise NotImplementedError

    def reset(self) -> None:
        """Back to the beginning."""
        raise NotImplementedError

    def remaining(self) -> int:
        """How many more tokens it takes."""
        raise NotImplementedError

    def copy(self, stateful: bool = False) -> Constraint:
        """A new one, as far along if ``stateful``."""
        raise NotImplementedError


class DisjunctiveConstraint(Constraint):
    """One of several phrases, word for word.

    Args:
        nested_token_ids: the phrases; none may be the beginning of another.
    """

    def __init__(self, nested_token_ids: Sequence[Sequence[int]]) -> None:
        if not isinstance(nested_token_ids, list | tuple) or not nested_token_ids:
            raise BadSetting(
                f"alternatives must be a non-empty list of phrases, found {nested_token_ids!r}."
            )
        self.token_ids = [_check(phrase, "a phrase") for phrase in nested_token_ids]
        for one in self.token_ids:
            for other in self.token_ids:
                if one is not other and other[: len(one)] == one:
                    raise BadSetting(
                        f"of the alternatives {one} is the beginning of {other}: drop one of them."
                    )
        self.seqlen = max(len(phrase) for phrase in self.token_ids)
        self.said: tuple[int, ...] = ()

    @property
    def completed(self) -> bool:  # type: ignore[override]
        """Whether a whole phrase has been said."""
        return list(self.said) in self.token_ids

    def _next(self) -> list[int]:
        depth = len(self.said)
        open_phrases = [p for p in self.token_ids if tuple(p[:depth]) == self.said and len(p) > depth]
        return list(dict.fromkeys(phrase[depth] for phrase in open_phrases))

    def advance(self) -> int | list[int] | None:
        """The tokens that would bring it on; None when it is fulfilled."""
        return self._next() or None

    def does_advance(self, token_id: int) -> bool:
        """Whether a token would bring it on."""
        return token_id in self._next()

    def update(self, token_id: int) -> tuple[bool, bool, bool]:
        """Takes in a token: whether it brought it on, fulfilled it, threw it back."""
        stepped = self.does_advance(token_id)
        self.said = (*self.said, token_id) if stepped else ()
        return stepped, self.completed, not stepped

    def reset(self) -> None:
        """Back to the beginning."""
        self.said = ()

    def remaining(self) -> int:
        """How many more tokens it takes at most."""
        return 0 if self.completed else self.seqlen - len(self.said)

    def copy(self, stateful: bool = False) -> DisjunctiveConstraint:
        """A new one, as far along if ``stateful``."""
        other = object.__new__(type(self))
        other.token_ids, other.seqlen = self.token_ids, self.seqlen
        other.said = self.said if stateful else ()
        return other


class PhrasalConstraint(DisjunctiveConstraint):
    """One phrase, word for word.

    Args:
        token_ids: the phrase.
    """

    def __init__(self, token_ids: Sequence[int]) -> None:
        super().__init__([_check(token_ids, "a phrase")])


class Progress:
    """How far one hypothesis has come with all constraints; one of them is worked on at a time."""

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self.longest = max(constraint.seqlen for constraint in constraints)
        self.pending = [constraint.copy(stateful=False) for constraint in constraints]
        self.current: Constraint | None = None
        self.fulfilled = 0

    @property
    def completed(self) -> bool:
        """Whether everything has been said."""
        return not self.pending and self.current is None

    @property
    def bank(self) -> int:
        """How much has been said, in tokens: what hypotheses are sorted by."""
        begun = 0 if self.current is None else self.longest - self.current.remaining()
        return self.fulfilled * self.longest + begun

    def advance(self) -> list[int]:
        """The tokens that would bring it on."""
        tokens: list[int] = []
        for constraint in self.pending if self.current is None else [self.current]:
            advance = constraint.advance()
            tokens += [advance] if isinstance(advance, int) else list(advance or [])
        return tokens

    def after(self, token: int) -> Progress:
        """The progress after one more token; this one stays as it is."""
        if self.completed:
            return self
        other = object.__new__(Progress)
        other.longest, other.fulfilled, other.pending = self.longest, self.fulfilled, list(self.pending)
        other.current = None if self.current is None else _apart(self.current)
        other._take(token)
        return other

    def _take(self, token: int) -> None:
        if self.current is not None:
            _, complete, reset = self.current.update(token)
            if reset:
                # What was begun is thrown back, but this token does not begin anything else.
                self.pending.append(self.current.copy(stateful=False))
                self.current = None
            if complete:
                self.fulfilled += 1
                self.current = None
            return
        for place, constraint in enumerate(self.pending):
            if constraint.does_advance(token):
                begun = constraint.copy(stateful=False)
                _, complete, _ = begun.update(token)
                del self.pending[place]
                self.fulfilled += complete
                self.current = None if complete else begun
                return


def _apart(constraint: Constraint) -> Constraint:
    """A copy as far along. The stateful copies of transformers 4.34 share a list with their original."""
    own = isinstance(constraint, DisjunctiveConstraint)
    return constraint.copy(stateful=True) if own else copy.deepcopy(constraint)
