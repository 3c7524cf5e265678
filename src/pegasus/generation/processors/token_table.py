"""The tokens of a vocabulary, taken apart and sorted by what stands before their first letter."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pegasus.generation.processors.byte_letters import stands_in


@dataclass(frozen=True, slots=True)
class Parts:
    """The text of a token, taken apart.

    Attributes:
        lead: what stands before its first letter or figure.
        run: the letters and figures that follow.
        rest: what comes after those.
    """

    lead: str
    run: str
    rest: str


@dataclass
class Group:
    """The tokens that begin with the same lead.

    Attributes:
        lead: blanks, punctuation, or nothing.
        bare: tokens that are no more than the lead.
        plain: tokens that end with their run, by the run.
        crossing: tokens that go on after their run, by the run.
    """

    lead: str
    bare: list[int] = field(default_factory=list)
    plain: dict[str, list[int]] = field(default_factory=dict)
    crossing: dict[str, list[int]] = field(default_factory=dict)

    @cached_property
    def small(self) -> list[int]:
        """The tokens of ``plain`` that are in small letters without figures."""
        return [token for run, tokens in self.plain.items() if is_plain(run) for token in tokens]

    @cached_property
    def small_crossing(self) -> list[int]:
        """The tokens of ``crossing`` whose run is."""
        return [token for run, tokens in self.crossing.items() if is_plain(run) for token in tokens]

    @cached_property
    def capital(self) -> dict[str, list[int]]:
        """The tokens of ``plain`` that have a capital first, by the run with a small letter there."""
        return _by_small_letter(self.plain)

    @cached_property
    def capital_crossing(self) -> dict[str, list[int]]:
        """The tokens of ``crossing`` likewise."""
        return _by_small_letter(self.crossing)

    @cached_property
    def members(self) -> list[int]:
        """All tokens that have a run."""
        both = (*self.plain.values(), *self.crossing.values())
        return [token for tokens in both for token in tokens]


class TokenTable:
    """The tokens of a vocabulary.

    Args:
        pieces: the text of each token; None or "" for tokens that say nothing.
    """

    def __init__(self, pieces: Sequence[str | None]) -> None:
        self.pieces = pieces
        self._parts: dict[int, Parts | None] = {}

    def parts(self, token: int) -> Parts:
        """A token that says something, taken apart."""
        found = self.find(token)
        assert found is not None
        return found

    def find(self, token: int) -> Parts | None:
        """A token taken apart; None: it says nothing."""
        try:
            return self._parts[token]
        except KeyError:
            piece = self.pieces[token]
            found = self._parts[token] = _taken_apart(piece) if piece else None
            return found

    @cached_property
    def by_first(self) -> dict[str, list[Group]]:
        """The groups by the first character of their lead, "" where there is none."""
        found: dict[str, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.lead[:1], []).append(group)
        return found

    @cached_property
    def groups(self) -> list[Group]:
        """All tokens that say something, by their leads."""
        found: dict[str, Group] = {}
        for token in range(len(self.pieces)):
            parts = self.find(token)
            if parts is None:
                continue
            group = found.get(parts.lead)
            if group is None:
                group = found[parts.lead] = Group(parts.lead)
            if not parts.run:
                group.bare.append(token)
            else:
                (group.crossing if parts.rest else group.plain).setdefault(parts.run, []).append(token)
        return list(found.values())


def is_letter(character: str) -> bool:
    """Whether a character is part of words."""
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def is_plain(word: str) -> bool:
    """Whether a word, and each beginning of it, is in small letters without figures."""
    if word.isascii():
        return word.isalpha() and word.islower()
    return word[0].islower() and word.islower() and all(map(_is_plain_letter, word))


def _is_plain_letter(character: str) -> bool:
    """Of a byte nobody knows what character it will be part of."""
    return is_letter(character) and not character.isdigit() and not stands_in(character)


def plain_form(word: str, opens: bool) -> str | None:
    """A word as lists have it: where it opens a sentence its capital counts for nothing; None: a name."""
    if word[0].isupper():
        return word[0].lower() + word[1:] if opens else None
    return word


def _by_small_letter(tokens: dict[str, list[int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for run, some in tokens.items():
        if (plain := plain_form(run, True)) is not run and plain is not None:
            found.setdefault(plain, []).extend(some)
    return found


def _taken_apart(piece: str) -> Parts:
    start = 1 if piece[0] == " " else 0
    if piece[start:].isalnum():  # nearly all of them
        return Parts(piece[:start], piece[start:], "")
    while start < len(piece) and not is_letter(piece[start]):
        start += 1
    end = start
    while end < len(piece) and is_letter(piece[end]):
        end += 1
    return Parts(piece[:start], piece[start:end], piece[end:])
