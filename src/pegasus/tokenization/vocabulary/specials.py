"""Special tokens: the attributes by which they are read and set, the same in both tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, overload

from tokenizers import AddedToken

from pegasus.errors import BadSetting
from pegasus.tokenization.vocabulary.added_tokens import AddedTokens, as_token, has_own_rules, with_special

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
        holder._name(self.name, None if value is None else holder._token_at(value))


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

    #: The names under which transformers lists special tokens.
    SPECIAL_TOKENS_ATTRIBUTES: ClassVar[list[str]] = [*NAMED[:-1], "additional_special_tokens"]

    _named: dict[str, str]
    _added: AddedTokens
    _additional: list[str] | None

    @classmethod
    def convert_added_tokens(cls, obj: Any, add_type_field: bool = True) -> Any:
        """Tokens in a nest of lists and dictionaries as files write them, and back.

        Args:
            obj: the nest. A dictionary with ``__type`` "AddedToken" becomes a token.
            add_type_field: write tokens as their text; otherwise they stay tokens.
        """
        if isinstance(obj, Mapping):
            if obj.get("__type") == "AddedToken":
                return AddedToken(**{name: value for name, value in obj.items() if name != "__type"})
            return {key: cls.convert_added_tokens(value, add_type_field) for key, value in obj.items()}
        if isinstance(obj, AddedToken):
            return obj.content if add_type_field else obj
        if isinstance(obj, list | tuple):
            return [cls.convert_added_tokens(item, add_type_field) for item in obj]
        return obj

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
        if new_tokens is None:
            return 0
        several = [new_tokens] if isinstance(new_tokens, str | AddedToken) else list(new_tokens)
        return sum(self._add(token, special_tokens) for token in several)

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
    def additional_special_tokens(self) -> list[str] | None:
        """The special tokens without a name of their own: ``<mask_1>``, ``<unk_2>`` … and yours.

        None once it was set to None.
        """
        return None if self._additional is None else list(self._additional)

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Sequence[str | AddedToken] | None) -> None:
        if tokens is None:
            self._additional = None
        else:
            self._set_additional(tokens, replace=True)

    @property
    def additional_special_tokens_ids(self) -> list[int] | None:
        """The ids of :attr:`additional_special_tokens`."""
        if self._additional is None:
            return None
        return [self._added.ids[text] for text in self._additional]

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, numbers: Sequence[int]) -> None:
        self._set_additional([self._token_at(number) for number in numbers], replace=True)

    @property
    def special_tokens_map_extended(self) -> dict[str, AddedToken | list[AddedToken]]:
        """Name → token with its rules, for the names that are set."""
        found: dict[str, AddedToken | list[AddedToken]] = {
            name: self._rules(self._named[name]) for name in NAMED[:-1] if name in self._named
        }
        if self._additional:
            found["additional_special_tokens"] = [self._rules(text) for text in self._additional]
        return found

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Name → token, for the names that are set."""
        return {
            name: [token.content for token in value] if isinstance(value, list) else value.content
            for name, value in self.special_tokens_map_extended.items()
        }

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once: the named ones first, then the additional ones."""
        named = [self._named[name] for name in NAMED[:-1] if name in self._named]
        return list(dict.fromkeys([*named, *(self._additional or ())]))

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """:attr:`all_special_tokens` with their rules."""
        return [self._rules(text) for text in self.all_special_tokens]

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

    def _token_at(self, number: int) -> AddedToken | str:
        """The token of an id, with its rules where it has some."""
        raise NotImplementedError

    def _rules(self, text: str) -> AddedToken:
        return self._added.by_id[self._added.ids[text]]

    def _add(self, value: str | AddedToken | Mapping[str, Any], special: bool) -> int:
        token = as_token(value, special)
        if not token.content:
            return 0
        number = self._added.ids.get(token.content)
        if number is None:
            number = self._piece_id(token.content)
            if number is not None and not token.special and not self._is_learnt(number):
                return 0
        new = number is None
        known = self._added.by_id.get(number) if number is not None else None
        if known is None or (token.special and not known.special) or has_own_rules(value):
            token = with_special(token, known is not None and known.special)
            self._added = self._added.with_token(len(self) if number is None else number, token)
        if token.special and token.content not in self.all_special_tokens:
            self._additional = [*(self._additional or ()), token.content]
        return int(new)

    def _name(self, name: str, value: str | AddedToken | Mapping[str, Any] | None) -> None:
        if value is None:
            self._named.pop(name, None)
            return
        try:
            token = as_token(value, special=True)
        except TypeError as error:
            raise BadSetting(f"{name} cannot be {value!r}. {error}") from error
        self._named[name] = token.content
        self._add(token if has_own_rules(value) else token.content, special=True)

    def _set_additional(self, tokens: Sequence[str | AddedToken], replace: bool) -> None:
        if not isinstance(tokens, list | tuple):
            raise TypeError(f"additional_special_tokens is a list of tokens, got {type(tokens).__name__}.")
        fresh = [as_token(token, special=True) for token in tokens]  # before anything is changed
        listed = [] if replace else list(self._additional or ())
        self._additional = listed
        for value, token in zip(tokens, fresh):
            self._add(value, special=True)
            if token.content not in listed:
                listed.append(token.content)
        self._additional = listed
