"""Ids ↔ tokens ↔ text: everything about a vocabulary that needs no text to be cut."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any, overload

from tokenizers import AddedToken

from pegasus.errors import BadSetting
from pegasus.tokenization.call.request import refuse_unknown
from pegasus.tokenization.call.rows import Closing
from pegasus.tokenization.segmentation.newline import Newline, read_newlines
from pegasus.tokenization.vocabulary.added_tokens import AddedTokens
from pegasus.tokenization.vocabulary.layout import SPACE, UNK, Vocabulary
from pegasus.tokenization.vocabulary.model_file import NORMAL

_BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")
_TIDY = {" .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'", " n't": "n't"}
_TIDY |= {" 'm": "'m", " 's": "'s", " 've": "'ve", " 're": "'re"}


class TokenTable:
    """Conversions between ids, tokens and text, the same in both tokenizers."""

    offset: int
    newline: Newline
    clean_up_tokenization_spaces: bool
    pad_token_type_id: int
    _added: AddedTokens
    _named: dict[str, str]
    _vocabulary: Vocabulary

    @property
    def vocab_size(self) -> int:
        """Ids of the vocabulary proper: pieces + offset, without tokens added later."""
        return len(self._vocabulary.table.pieces) + self.offset

    def __len__(self) -> int:
        """Rows that a model's embedding needs: the vocabulary and everything added later."""
        return max(self.vocab_size, max(self._added.by_id) + 1)

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """Token → id for every id there is."""
        tokens = {text: number for number, text in enumerate(self._tokens_of(range(self.vocab_size)))}
        return tokens | self._added.ids

    @property
    def vocab(self) -> dict[str, int]:
        """The same as :meth:`get_vocab`."""
        return self.get_vocab()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens a row has beside those of its texts: one, eos, for a pair too."""
        return 1

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The ids of a text, then those of a second one, then eos. There is no start token."""
        return [*token_ids_0, *(token_ids_1 or ()), self._id_of("eos_token")]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros, as many as :meth:`build_inputs_with_special_tokens` gives ids: PEGASUS has no segments."""
        return [0] * (len(token_ids_0) + len(token_ids_1 or ()) + 1)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for special tokens (``<unk>`` is not one here), 0 for text.

        Args:
            token_ids_0: the ids of a text.
            token_ids_1: the ids of a second text.
            already_has_special_tokens: whether the ids end in eos already; otherwise a 1 is put after them.
        """
        special = self._closing(True).special
        if already_has_special_tokens:
            return [int(number in special) for number in token_ids_0]
        return [int(number in special) for number in (*token_ids_0, *(token_ids_1 or ()))] + [1]

    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: None) -> None: ...
    def convert_tokens_to_ids(
        self, tokens: str | list[str] | tuple[str, ...] | None
    ) -> int | list[int] | None:
        """The id of a token, or of each; the id of ``<unk>`` for what the vocabulary does not have."""
        if tokens is None:
            return None
        if isinstance(tokens, str):
            return self._token_id(tokens)
        return [self._token_id(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str]:
        """The token of an id, or of each.

        Raises:
            BadSetting: for a number that is no id of this vocabulary.
        """
        single = _is_number(ids)
        numbers = plain_numbers(ids)
        if skip_special_tokens and not single:
            special = self._added.special_ids
            numbers = [number for number in numbers if number not in special]
        tokens = self._tokens_of(numbers)
        return tokens[0] if single else tokens

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens into text. Tokens that were added after the vocabulary stand between spaces."""
        return self._spell(tokens, True)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
        **kwargs: Any,
    ) -> str:
        """Turn ids back into text.

        Args:
            token_ids: ids as a list, an array or a tensor [S], or one id.
            skip_special_tokens: leave out pad, eos, masks, ``<unk>`` and special tokens of your own.
            clean_up_tokenization_spaces: take away spaces before punctuation; None: as configured.
            spaces_between_special_tokens: whether tokens added after the vocabulary stand between spaces.
            kwargs: ``use_source_tokenizer`` changes nothing; nothing else is taken.

        Raises:
            BadSetting: for a number that is no id of this vocabulary.
        """
        kwargs.pop("use_source_tokenizer", None)
        refuse_unknown(kwargs, "decode")
        tokens = self.convert_ids_to_tokens(
            plain_numbers(token_ids), skip_special_tokens=skip_special_tokens
        )
        text = self._spell(tokens, spaces_between_special_tokens)
        tidy = clean_up_tokenization_spaces
        if self.clean_up_tokenization_spaces if tidy is None else tidy:
            text = self.clean_up_tokenization(text)
        return read_newlines(text, self.newline)

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """:meth:`decode` for every row of a list, an array or a tensor [B, S]."""
        return [
            self.decode(row, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
            for row in sequences
        ]

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Take away the spaces before punctuation and English contractions."""
        for spaced, tight in _TIDY.items():
            out_string = out_string.replace(spaced, tight)
        return out_string

    def _spell(self, tokens: Sequence[str], spaces: bool) -> str:
        groups: list[str] = []
        run: list[str] = []
        for token in tokens:
            number = self._added.ids.get(token)
            if number is None or not self._stands_alone(number):
                run.append(token)
                continue
            groups += [self._join(run), token]
            run = []
        groups.append(self._join(run))
        return (" " if spaces else "").join(group for group in groups if group)

    def _stands_alone(self, number: int) -> bool:
        """Tokens of the vocabulary know by their space marker where a word begins; later ones do not."""
        return number >= self.vocab_size or not self._added.by_id[number].special

    def _join(self, tokens: list[str]) -> str:
        text = "".join(tokens).replace(SPACE, " ").strip(" ")
        return (
            _BYTES.sub(_read_bytes, text)
            if "<0x" in text and self._vocabulary.table.byte_fallback
            else text
        )

    def _tokens_of(self, numbers: Sequence[int]) -> list[str]:
        limit = self.vocab_size
        added = self._added.by_id
        for number in numbers:
            if not 0 <= number < limit and number not in added:
                raise BadSetting(
                    f"{number} is no id of this vocabulary, which has {len(self)}. "
                    "Replace padding of labels (-100) by pad_token_id before decoding."
                )
        texts = self._piece_texts([number if number < limit else 0 for number in numbers])
        return [
            token.content if (token := added.get(number)) is not None else text
            for number, text in zip(numbers, texts)
        ]

    def _token_id(self, token: str) -> int:
        if (number := self._added.ids.get(token)) is not None:
            return number
        number = self._piece_id(token)
        return self._unk_id() if number is None else number

    def _id_of(self, name: str) -> int:
        """The id of a named token that must be there.

        Raises:
            BadSetting: when it was taken away.
        """
        text = self._named.get(name)
        if text is None:
            raise BadSetting(f"This tokenizer has no {name}. Set tokenizer.{name} to a token.")
        return self._added.ids[text]

    def _closing(self, specials: bool) -> Closing:
        eos = self._id_of("eos_token") if specials else None
        pad = self._named.get("pad_token")
        return Closing(
            eos=None if eos is None else (eos, self._named["eos_token"]),
            pad=None if pad is None else (self._added.ids[pad], pad),
            special=frozenset(self._added.special_ids - {self._unk_id()}),
            pad_type=self.pad_token_type_id,
        )

    def _unk_id(self) -> int:
        return UNK + self.offset

    def _piece_id(self, text: str) -> int | None:
        """The id of an ordinary piece of the vocabulary, or None."""
        place = self._vocabulary.places.get(text, UNK)
        return place + self.offset if place > UNK else None

    def _token_at(self, number: int) -> AddedToken | str:
        """The token of an id, with its rules where it has some."""
        known = self._added.by_id.get(number)
        return self._tokens_of([number])[0] if known is None else known

    def _is_learnt(self, number: int) -> bool:
        """Symbols that a user defined are never cut anyway: adding them as tokens would change nothing."""
        return self._vocabulary.table.kinds[number - self.offset] == NORMAL

    def _piece_texts(self, numbers: Iterable[int]) -> list[str]:
        """The pieces of ids below ``vocab_size``; anything where an id is reserved."""
        pieces, offset = self._vocabulary.table.pieces, self.offset
        return [pieces[number - offset] if number > offset else "" for number in numbers]


def plain_numbers(ids: Any) -> list[int]:
    """Plain integers out of a number, a list, an array or a tensor.

    Raises:
        BadSetting: when they are no whole numbers, or stand in rows.
    """
    ids = _plain(ids)
    try:
        return [operator.index(number) for number in ([ids] if isinstance(ids, int) else map(_plain, ids))]
    except TypeError as error:
        raise BadSetting(
            f"Ids are whole numbers in one row, got {type(ids).__name__}: {str(ids)[:60]}. "
            "Use batch_decode for several rows."
        ) from error


def _plain(value: Any) -> Any:
    """Python's own numbers and lists, whatever held them before."""
    if hasattr(value, "numpy") and not hasattr(value, "tolist"):  # TensorFlow
        value = value.numpy()
    return value.tolist() if hasattr(value, "tolist") else value


def _is_number(value: Any) -> bool:
    """Whether this is one id, and not a row of one."""
    return isinstance(value, int) or (hasattr(value, "shape") and tuple(value.shape) == ())


def _read_bytes(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("<0x", "").replace(">", "")).decode("utf-8", errors="replace")
