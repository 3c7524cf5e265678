"""Tokens that are looked for in the text itself: pad, eos, masks, the reserved ones, those added later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, overload

from tokenizers import AddedToken

from pegasus.errors import BadSetting
from pegasus.tokenization.vocabulary import Layout

#: The order in which they are listed, as in transformers.
NAMED = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "mask_token_sent",
)


_NOWHERE = r"(?!)"  # an expression that matches in no text


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
        """The table for texts in which a special token's name is text like any other."""
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
        return _with_special(token, special)
    if isinstance(token, Mapping):
        rules = {
            key: bool(token.get(key, False)) for key in ("lstrip", "rstrip", "single_word", "normalized")
        }
        return AddedToken(str(token["content"]), special=bool(token.get("special", special)), **rules)
    if isinstance(token, str):
        return AddedToken(token, special=special, normalized=not special)
    raise TypeError(f"A token is a string or an AddedToken, got {type(token).__name__}: {token!r}.")


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


def _with_special(token: AddedToken, special: bool) -> AddedToken:
    if token.special or not special:
        return token
    return AddedToken(**{**rules_of(token), "special": True})


def _finder(tokens: Iterable[AddedToken]) -> re.Pattern[str]:
    """One expression for all tokens; the groups hold the token itself, without white space it swallows."""
    longest_first = sorted(tokens, key=lambda token: -len(token.content))
    # Tokens without rules share one group: the engine then looks for their first letters only.
    runs = groupby(longest_first, key=_has_rules)
    return re.compile("|".join(_expressions(list(run), rules) for rules, run in runs) or _NOWHERE)


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


class _Name:
    """The text of one named special token; assigning an unknown text adds it to the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, holder: None, owner: type) -> _Name: ...
    @overload
    def __get__(self, holder: SpecialTokens, owner: type) -> str | None: ...
    def __get__(self, holder: SpecialTokens | None, owner: type) -> _Name | str | None:
        return self if holder is None else holder._named.get(self.name)

    def __set__(self, holder: SpecialTokens, value: str | AddedToken | None) -> None:
        holder._name(self.name, value)


class _Id:
    """The id of one named special token, or None where there is no such token."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    @overload
    def __get__(self, holder: None, owner: type) -> _Id: ...
    @overload
    def __get__(self, holder: SpecialTokens, owner: type) -> int | None: ...
    def __get__(self, holder: SpecialTokens | None, owner: type) -> _Id | int | None:
        if holder is None:
            return self
        text = holder._named.get(self.name)
        return None if text is None else holder._added.ids.get(text)

    def __set__(self, holder: SpecialTokens, value: int | None) -> None:
        holder._name(self.name, None if value is None else holder._added.by_id[value])


class SpecialTokens:
    """The attributes by which special tokens are read and set, the same in both tokenizers."""

    bos_token = _Name()
    eos_token = _Name()
    unk_token = _Name()
    sep_token = _Name()
    pad_token = _Name()
    cls_token = _Name()
    mask_token = _Name()
    mask_token_sent = _Name()
    bos_token_id = _Id()
    eos_token_id = _Id()
    unk_token_id = _Id()
    sep_token_id = _Id()
    pad_token_id = _Id()
    cls_token_id = _Id()
    mask_token_id = _Id()
    mask_token_sent_id = _Id()
    pad_token_type_id = 0

    _named: dict[str, str]
    _added: AddedTokens
    _additional: list[str]

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Add tokens that are never cut; ``model.resize_token_embeddings(len(tokenizer))`` gives them rows.

        Args:
            new_tokens: one token or several. One that the vocabulary has keeps its id.
            special_tokens: whether decoding with ``skip_special_tokens`` leaves them out.

        Returns:
            How many ids are new.
        """
        several = [new_tokens] if isinstance(new_tokens, str | AddedToken) else list(new_tokens)
        return sum(self._add(as_token(token, special_tokens)) for token in several)

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Any],
        replace_additional_special_tokens: bool = True,
    ) -> int:
        """Set named special tokens, adding those that the vocabulary lacks.

        Args:
            special_tokens_dict: ``{"pad_token": ..., "additional_special_tokens": [...]}``.
            replace_additional_special_tokens: forget the additional ones listed before (their ids stay).

        Returns:
            How many ids are new.

        Raises:
            BadSetting: for a name that is no special token's.
        """
        before = len(self)
        for name, value in special_tokens_dict.items():
            if name == "additional_special_tokens":
                self._set_additional(value, replace=replace_additional_special_tokens)
            elif name in NAMED:
                self._name(name, value)
            else:
                known = ", ".join((*NAMED, "additional_special_tokens"))
                raise BadSetting(f"{name!r} names no special token. Use one of {known}.")
        return len(self) - before

    @property
    def additional_special_tokens(self) -> list[str]:
        """The special tokens without a name of their own: ``<mask_1>``, ``<unk_2>`` … and yours."""
        return list(self._additional)

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Sequence[str | AddedToken]) -> None:
        self._set_additional(tokens, replace=True)

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """The ids of :attr:`additional_special_tokens`."""
        return [self._added.ids[text] for text in self._additional]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Name → token, for the names that are set."""
        named: dict[str, str | list[str]] = {
            name: self._named[name] for name in NAMED if name in self._named and name != "mask_token_sent"
        }
        return named | ({"additional_special_tokens": list(self._additional)} if self._additional else {})

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once: the named ones first, then the additional ones."""
        named = [self._named[name] for name in NAMED if name in self._named and name != "mask_token_sent"]
        return list(dict.fromkeys([*named, *self._additional]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of :attr:`all_special_tokens`."""
        return [self._added.ids[text] for text in self.all_special_tokens]

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id → token for everything that is looked for in the text itself, in the order of ids."""
        return dict(sorted(self._added.by_id.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Token → id, the reverse of :attr:`added_tokens_decoder`."""
        return {token.content: number for number, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """The same as :attr:`added_tokens_encoder`."""
        return self.added_tokens_encoder

    def __len__(self) -> int:
        raise NotImplementedError

    def _piece_id(self, text: str) -> int | None:
        """The id of an ordinary piece of the vocabulary, or None."""
        raise NotImplementedError

    def _is_learnt(self, number: int) -> bool:
        """Whether a piece was learnt, and not defined by a user."""
        raise NotImplementedError

    def _add(self, token: AddedToken) -> int:
        if not token.content:
            return 0
        number = self._added.ids.get(token.content)
        if number is None:
            number = self._piece_id(token.content)
            if number is not None and not token.special and not self._is_learnt(number):
                return 0
        new = number is None
        known = self._added.by_id.get(number) if number is not None else None
        if known is None or (token.special and not known.special):
            self._added = self._added.with_token(len(self) if number is None else number, token)
        if token.special and token.content not in self.all_special_tokens:
            self._additional.append(token.content)
        return int(new)

    def _name(self, name: str, value: str | AddedToken | Mapping[str, Any] | None) -> None:
        if value is None:
            self._named.pop(name, None)
            return
        token = as_token(value, special=True)
        self._named[name] = token.content
        self._add(token)

    def _set_additional(self, tokens: Sequence[str | AddedToken], replace: bool) -> None:
        if not isinstance(tokens, list | tuple):
            raise TypeError(f"additional_special_tokens is a list of tokens, got {type(tokens).__name__}.")
        fresh = [as_token(token, special=True) for token in tokens]
        if replace:
            self._additional = []
        for token in fresh:
            self._add(token)
            if token.content not in self._additional:
                self._additional.append(token.content)
