"""PegasusTokenizerFast: the tokenizers library cuts the text.

The pipeline that ``tokenizer.json`` describes differs from sentencepiece in corners: clusters of
combining characters, white space other than the blank, characters it does not know next to rare
pieces. Here sentencepiece's own normalization comes first and the unigram model is given
sentencepiece's scores, so that both tokenizers give the same ids for every text.
``backend_tokenizer`` and the saved file are the released pipeline all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace

from pegasus.errors import NotOffered
from pegasus.tokenization.base import TokenizerBase
from pegasus.tokenization.model_file import BYTE, NORMAL, UNIGRAM, USER_DEFINED, PieceTable
from pegasus.tokenization.slow import PegasusTokenizer, open_vocabulary
from pegasus.tokenization.tokenizer_json import write_tokenizer_json
from pegasus.tokenization.vocabulary import OFFSET, SPACE, UNK, Layout

#: What sentencepiece scores a symbol that a user defined, so that it is always chosen.
_SYMBOL_SCORE = -0.1
#: A character that Unicode assigns to nobody, before names that no text may match.
_NOBODY = "\U0010ffff"


class PegasusTokenizerFast(TokenizerBase):
    """The PEGASUS tokenizer, cut by the ``tokenizers`` library.

    Its ids equal those of :class:`PegasusTokenizer` for every text.

    Args:
        vocab_file: a ``spiece.model``; None: the vocabulary is read from ``tokenizer_file``.
        tokenizer_file: a ``tokenizer.json``; where both are given the ``spiece.model`` counts.
        pad_token: the token with id 0.
        eos_token: the token with id 1, put after every text.
        unk_token: the token for characters that the vocabulary does not know.
        mask_token: hides a word; id 3.
        mask_token_sent: hides a sentence; id 2. None: no ids are reserved for masks.
        additional_special_tokens: tokens to leave whole, beside ``<unk_2>`` … ``<unk_102>``.
        offset: what is added to sentencepiece ids; 103 leaves room for 102 reserved tokens.
        kwargs: see :class:`pegasus.tokenization.base.TokenizerBase`.
    """

    is_fast: ClassVar[bool] = True
    slow_tokenizer_class: ClassVar[type[PegasusTokenizer]] = PegasusTokenizer

    def __init__(
        self,
        vocab_file: str | None = None,
        tokenizer_file: str | None = None,
        pad_token: str = "<pad>",
        eos_token: str = "</s>",
        unk_token: str = "<unk>",
        mask_token: str | None = "<mask_2>",
        mask_token_sent: str | None = "<mask_1>",
        additional_special_tokens: Sequence[Any] | None = None,
        offset: int = OFFSET,
        **kwargs: Any,
    ) -> None:
        named = (pad_token, eos_token, unk_token, mask_token, mask_token_sent)
        layout = Layout(offset, *(None if token is None else str(token) for token in named))  # type: ignore[arg-type]
        vocabulary = open_vocabulary(vocab_file, tokenizer_file, layout)
        sampling = kwargs.pop("sp_model_kwargs", None)
        super().__init__(vocabulary, layout, additional_special_tokens, sampling, kwargs)
        self.vocab_file = vocab_file

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The released pipeline of this vocabulary as a ``tokenizers.Tokenizer``, a fresh one each time."""
        return Tokenizer.from_str(json.dumps(self._tokenizer_json()))

    @property
    def can_save_slow_tokenizer(self) -> bool:
        """Always: a ``spiece.model`` is rebuilt where there was none."""
        return True

    def __getstate__(self) -> dict[str, Any]:
        rebuilt = ("_cutter", "_places")
        return {name: value for name, value in self.__dict__.items() if name not in rebuilt}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        table = self._vocabulary.table
        if table.model_type != UNIGRAM:
            raise NotOffered(
                f"PegasusTokenizerFast reads unigram vocabularies, this model is of kind {table.model_type}. "
                "Use PegasusTokenizer."
            )
        rows = _rows(table, self._layout)
        self._cutter = Tokenizer(Unigram(rows, self._layout.unk_id, table.byte_fallback))
        # sentencepiece looks at the whole text; cutting at blanks first changes nothing as long as no
        # piece has a blank inside, and lets the library remember the words it has seen.
        if not any(SPACE in piece[1:] for piece in table.pieces):
            self._cutter.pre_tokenizer = Metaspace(replacement=SPACE, prepend_scheme="never")

    def _cut(self, stretches: list[str]) -> list[list[int]]:
        normalized = self._vocabulary.normalizer.Normalize(stretches)
        return [found.ids for found in self._cutter.encode_batch(normalized, add_special_tokens=False)]

    def _surfaces(self, text: str) -> list[str]:
        normalized = self._vocabulary.normalizer.Normalize(text)
        pieces: list[str] = self._cutter.encode(normalized, add_special_tokens=False).tokens
        return pieces

    def _normalize(self, text: str) -> tuple[str, list[int]]:
        normalized, origins = self._vocabulary.normalizer.Normalize(text, with_offsets=True)
        return normalized, origins

    def _piece_count(self) -> int:
        return len(self._vocabulary.table.pieces)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text: place for place, text in enumerate(self._vocabulary.table.pieces)}

    def _piece_id(self, text: str) -> int | None:
        place = self._places.get(text, UNK)
        return place + self.offset if place > UNK else None

    def _piece_texts(self, numbers: Iterable[int]) -> list[str]:
        pieces = self._vocabulary.table.pieces
        return [pieces[max(number - self.offset, 0)] for number in numbers]

    def _is_symbol(self, number: int) -> bool:
        return self._vocabulary.table.kinds[number - self.offset] == USER_DEFINED

    def _has_bytes(self) -> bool:
        return BYTE in self._vocabulary.table.kinds

    def _tokenizer_json(self) -> dict[str, Any]:
        return write_tokenizer_json(self._vocabulary, self._layout, self.added_tokens_decoder)


def _rows(table: PieceTable, layout: Layout) -> list[tuple[str, float]]:
    """Every id with the score that sentencepiece uses; what sentencepiece never chooses has no name."""
    rows = [(f"{_NOBODY}{number}", 0.0) for number in layout.reserved]
    for place in range(UNK + 1, len(table.pieces)):
        kind = table.kinds[place]
        if kind in (NORMAL, BYTE):
            rows.append((table.pieces[place], table.scores[place]))
        elif kind == USER_DEFINED:
            rows.append((table.pieces[place], _SYMBOL_SCORE))
        else:
            rows.append((f"{_NOBODY}{place}", 0.0))
    return rows
