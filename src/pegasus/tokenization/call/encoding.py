"""What a tokenizer returns: rows of numbers by name, and for each row where its tokens came from."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pegasus.errors import OriginUnknown
from pegasus.spec.tensors import to_tensor

Span = tuple[int, int]


class CharSpan(NamedTuple):
    """A stretch of characters: where it begins, and the character after it."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """A stretch of tokens: the first, and the one after the last."""

    start: int
    end: int


class Details(NamedTuple):
    """The tokens of one text: their spelling, their place in the text, the word each belongs to."""

    tokens: list[str]
    offsets: list[Span]
    words: list[int]


class EncodedText:
    """One text as ids; the details are worked out when somebody asks for them."""

    def __init__(self, ids: list[int], details: Callable[[], Details]) -> None:
        self.ids = ids
        self._details = details

    @cached_property
    def details(self) -> Details:
        """Spelling, offsets and words of the tokens, as many as ids."""
        return self._details()

    def __getstate__(self) -> dict[str, Any]:
        """Ids and details, which are worked out now: what works them out holds a whole vocabulary."""
        return {"ids": self.ids, "details": self.details, "_details": None}


@dataclass(frozen=True)
class Part:
    """A stretch of a row: some tokens of a text, or (``text`` None) tokens that no text has."""

    ids: list[int]
    text: EncodedText | None = None
    start: int = 0
    sequence: int | None = None
    name: str = ""


class Encoding:
    """Where the tokens of one row came from, with the names that the ``tokenizers`` library uses.

    Args:
        parts: the stretches the row is made of, padding included.
        attention_mask: 0 for padding.
        special: the ids that are no part of the text proper.
    """

    def __init__(self, parts: Sequence[Part], attention_mask: list[int], special: frozenset[int]) -> None:
        self._parts = parts
        self._special = special
        self.attention_mask = attention_mask

    def __len__(self) -> int:
        return len(self.attention_mask)

    @property
    def ids(self) -> list[int]:
        """The ids of the row."""
        return [number for part in self._parts for number in part.ids]

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for padding and for every token that is no part of the text proper."""
        special = self._special
        return [int(number in special or not on) for number, on in zip(self.ids, self.attention_mask)]

    @property
    def type_ids(self) -> list[int]:
        """Zeros: PEGASUS has no segments."""
        return [0] * len(self)

    @cached_property
    def tokens(self) -> list[str]:
        """The spelling of each token."""
        return self._gather(lambda details: details.tokens, lambda part: part.name)

    @cached_property
    def offsets(self) -> list[Span]:
        """Start and end of each token in its text, in characters; ``(0, 0)`` for special tokens."""
        return self._gather(lambda details: details.offsets, lambda part: (0, 0))

    @cached_property
    def word_ids(self) -> list[int | None]:
        """The word of each token: white space separates words; None for special tokens."""
        return self._gather(lambda details: details.words, lambda part: None)

    @cached_property
    def sequence_ids(self) -> list[int | None]:
        """0 or 1: which text of a pair each token is from; None for special tokens."""
        return [part.sequence for part in self._parts for _ in part.ids]

    @property
    def n_sequences(self) -> int:
        """How many texts the row holds."""
        return len({part.sequence for part in self._parts if part.sequence is not None}) or 1

    def char_to_token(self, char: int, sequence: int = 0) -> int | None:
        """The token that covers a character of the text, or None (white space, cut away)."""
        for place, (start, end) in self._of(sequence):
            if start <= char < end:
                return place
        return None

    def token_to_chars(self, token: int) -> CharSpan | None:
        """Start and end of a token in its text, or None for special tokens."""
        return None if self.sequence_ids[token] is None else CharSpan(*self.offsets[token])

    def word_to_tokens(self, word: int, sequence: int = 0) -> TokenSpan | None:
        """The first token of a word and the one after its last."""
        places = [place for place, _ in self._of(sequence) if self.word_ids[place] == word]
        return TokenSpan(places[0], places[-1] + 1) if places else None

    def word_to_chars(self, word: int, sequence: int = 0) -> CharSpan | None:
        """Start and end of a word in its text."""
        span = self.word_to_tokens(word, sequence)
        return None if span is None else CharSpan(self.offsets[span[0]][0], self.offsets[span[1] - 1][1])

    def char_to_word(self, char: int, sequence: int = 0) -> int | None:
        """The word that a character of the text belongs to."""
        token = self.char_to_token(char, sequence)
        return None if token is None else self.word_ids[token]

    def _of(self, sequence: int) -> list[tuple[int, Span]]:
        return [
            (place, span)
            for place, (span, owner) in enumerate(zip(self.offsets, self.sequence_ids))
            if owner == sequence
        ]

    def _gather(self, read: Callable[[Details], list], blank: Callable[[Part], Any]) -> list:
        found: list = []
        for part in self._parts:
            if part.text is None:
                found += [blank(part)] * len(part.ids)
            else:
                found += read(part.text.details)[part.start : part.start + len(part.ids)]
        return found


class BatchEncoding(UserDict):
    """What a tokenizer returns: a dictionary whose entries are attributes too.

    ``encoding.input_ids`` is ``encoding["input_ids"]``; an integer index gives the
    :class:`Encoding` of that row. ``.to(device)`` moves tensors.

    Args:
        data: name → rows (or one row).
        encoding: the origin of each row, or None.
        tensor_type: "pt", "np", "tf" or "jax" to turn the rows into tensors.
        prepend_batch_axis: whether ``data`` is one row that becomes a batch of one.
        n_sequences: how many texts each row holds, where ``encoding`` does not say it.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data or {})
        self._encodings = [encoding] if isinstance(encoding, Encoding) else encoding
        self._n_sequences = n_sequences
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return self.data[key]
        if isinstance(key, slice):
            return {name: value[key] for name, value in self.data.items()}
        return self._rows()[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "data" or name not in self.data:
            raise AttributeError(
                f"This encoding has no {name!r}; it has {', '.join(self.__dict__.get('data', ()))}."
            )
        return self.data[name]

    @property
    def encodings(self) -> Sequence[Encoding] | None:
        """The origin of each row, or None when the numbers did not come from a text here."""
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether the origin of the tokens is known."""
        return self._encodings is not None

    @property
    def n_sequences(self) -> int | None:
        """How many texts each row holds."""
        return self._encodings[0].n_sequences if self._encodings else self._n_sequences

    def convert_to_tensors(
        self, tensor_type: str | None, prepend_batch_axis: bool = False
    ) -> BatchEncoding:
        """Turn every entry into a tensor of "pt", "np", "tf" or "jax", in place.

        Raises:
            BadSetting: when rows have different lengths.
            BackendMissing: when the framework is not installed.
        """
        if tensor_type is None:
            return self
        for name, value in self.data.items():
            self.data[name] = to_tensor([value] if prepend_batch_axis else value, tensor_type, name)
        return self

    def to(self, device: Any, **kwargs: Any) -> BatchEncoding:
        """Move every tensor to a device, in place; what cannot move stays."""
        for name, value in self.data.items():
            if hasattr(value, "to"):
                self.data[name] = value.to(device, **kwargs)
        return self

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The spelling of each token of a row."""
        return self._rows()[batch_index].tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """The word of each token of a row."""
        return self._rows()[batch_index].word_ids

    words = word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Which text of a pair each token of a row is from."""
        return self._rows()[batch_index].sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which text of a pair a token is from."""
        row, token = self._place(batch_or_token_index, token_index)
        return row.sequence_ids[token]

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The word of a token."""
        row, token = self._place(batch_or_token_index, token_index)
        return row.word_ids[token]

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Start and end of a token in its text."""
        row, token = self._place(batch_or_token_index, token_index)
        return row.token_to_chars(token)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that covers a character."""
        row, char = self._place(batch_or_char_index, char_index)
        return row.char_to_token(char, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that a character belongs to."""
        row, char = self._place(batch_or_char_index, char_index)
        return row.char_to_word(char, sequence_index)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The first token of a word and the one after its last."""
        row, word = self._place(batch_or_word_index, word_index)
        return row.word_to_tokens(word, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Start and end of a word in its text."""
        row, word = self._place(batch_or_word_index, word_index)
        return row.word_to_chars(word, sequence_index)

    def _place(self, first: int, second: int | None) -> tuple[Encoding, int]:
        """A single index means the first row."""
        rows = self._rows()
        row, place = (rows[0], first) if second is None else (rows[first], second)
        return row, place

    def _rows(self) -> Sequence[Encoding]:
        if self._encodings is None:
            raise OriginUnknown(
                "This encoding does not know where its tokens came from (it was padded or built "
                "from ids). Ask the one that the tokenizer returned."
            )
        return self._encodings
