"""Tokens that are looked for in the text itself: pad, eos, masks, the reserved ones, those added later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from typing import Any

from tokenizers import AddedToken

from pegasus.tokenization.vocabulary.layout import Layout


class AddedTokens:
    """A table of id ↔ token with the rules of each, and the expression that finds them in a text.

    It never changes: an encoding that was made with one can be asked about its tokens later.
    """

    def __init__(self, by_id: Mapping[int, AddedToken]) -> None:
        self.by_id = dict(by_id)
        self.ids = {token.content: number for number, token in by_id.items()}
        self._finder: re.Pattern[str] | None = None

    @classmethod
    def reserved(cls, layout: Layout) -> AddedTokens:
        """The tokens that every vocabulary of this layout has."""
        return cls({number: special_token(text) for number, text in layout.reserved.items()})

    def with_token(self, number: int, token: AddedToken) -> AddedTokens:
        """A table with one token more; what was known about that id is replaced."""
        return AddedTokens({**self.by_id, number: token})

    @property
    def special_ids(self) -> set[int]:
        """The ids of the tokens that are no part of the text proper."""
        return {number for number, token in self.by_id.items() if token.special}

    @cached_property
    def without_special(self) -> AddedTokens:
        """The same table without its special tokens: text in which those are nothing but text."""
        return AddedTokens({number: token for number, token in self.by_id.items() if not token.special})

    def split(self, text: str) -> Iterator[tuple[int, int, int | None]]:
        """Cut a text at its added tokens.

        Yields:
            Start, end and the token's id, or None for a stretch of ordinary text. Empty stretches
            are left out. The longest token wins where several begin at one place.
        """
        place = 0
        for match in self._find().finditer(text):
            if match.start() > place:
                yield place, match.start(), None
            yield match.start(), match.end(), self.ids[match[match.lastindex or 0]]
            place = match.end()
        if place < len(text):
            yield place, len(text), None

    def occur_in(self, text: str) -> bool:
        """Whether there is any added token in a text."""
        return self._find().search(text) is not None

    def _find(self) -> re.Pattern[str]:
        if self._finder is None:
            self._finder = _finder(self.by_id.values())
        return self._finder

    def __getstate__(self) -> dict[str, Any]:
        return {"by_id": self.by_id, "ids": self.ids, "_finder": None}


def special_token(text: str) -> AddedToken:
    """A special token that strips nothing and is looked for exactly as written."""
    return AddedToken(text, special=True, normalized=False)


def as_token(token: str | AddedToken | Mapping[str, Any], special: bool) -> AddedToken:
    """A token with its rules, from any of the forms in which callers and files write it.

    Raises:
        TypeError: when it is none of them.
    """
    if isinstance(token, AddedToken):
        return with_special(token, special)
    if isinstance(token, Mapping):
        rules = {
            key: bool(token.get(key, False)) for key in ("lstrip", "rstrip", "single_word", "normalized")
        }
        return AddedToken(str(token["content"]), special=bool(token.get("special", special)), **rules)
    if isinstance(token, str):
        return AddedToken(token, special=special, normalized=not special)
    raise TypeError(f"A token is a string or an AddedToken, got {type(token).__name__}: {token!r}.")


def text_of(token: str | AddedToken | Mapping[str, Any]) -> str:
    """What a token says, in any of the forms in which callers and files write it."""
    return as_token(token, special=True).content


def rules_of(token: AddedToken) -> dict[str, Any]:
    """The form in which tokenizer_config.json writes a token."""
    return {
        "content": token.content,
        "lstrip": token.lstrip,
        "normalized": token.normalized,
        "rstrip": token.rstrip,
        "single_word": token.single_word,
        "special": token.special,
    }


def with_special(token: AddedToken, special: bool) -> AddedToken:
    """The token, declared special where that is asked for."""
    if token.special or not special:
        return token
    return AddedToken(**{**rules_of(token), "special": True})


def has_own_rules(value: object) -> bool:
    """Whether a caller said how a token is looked for; a string says nothing about it."""
    return isinstance(value, AddedToken | Mapping)


def _finder(tokens: Iterable[AddedToken]) -> re.Pattern[str]:
    """One expression for all tokens; the groups hold the token itself, without white space it swallows."""
    longest_first = sorted(tokens, key=lambda token: -len(token.content))
    if not longest_first:
        return re.compile(r"(?!)")  # nothing to look for is found nowhere
    # Tokens without rules share one group: the engine then looks for their first letters only.
    runs = groupby(longest_first, key=_has_rules)
    return re.compile("|".join(_expressions(list(run), rules) for rules, run in runs))


def _has_rules(token: AddedToken) -> bool:
    return bool(token.lstrip or token.rstrip or token.single_word)


def _expressions(tokens: list[AddedToken], rules: bool) -> str:
    if not rules:
        return "(" + "|".join(re.escape(token.content) for token in tokens) + ")"
    return "|".join(_expression(token) for token in tokens)


def _expression(token: AddedToken) -> str:
    body = f"({re.escape(token.content)})"
    if token.single_word:
        body = rf"(?<!\w){body}(?!\w)"
    return (r"\s*" if token.lstrip else "") + body + (r"\s*" if token.rstrip else "")
