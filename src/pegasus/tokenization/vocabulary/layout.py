"""Which number means what: pad 0, eos 1, the two masks, the reserved hundred, then the pieces.

With the usual offset of 103 and a sentencepiece model of P pieces::

    id            token                     sentencepiece
    0             <pad>                     0
    1             </s>                      1
    2             <mask_1>  (a sentence)    -
    3             <mask_2>  (a word)        -
    4 … 104       <unk_2> … <unk_102>       -
    105           <unk>                     2
    106 … P+102   the pieces                3 … P-1

With offset 0 (BigBird-Pegasus) nothing is reserved and ids are sentencepiece's own.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from operator import contains, methodcaller
from typing import Any

import numpy as np
import sentencepiece

from pegasus.errors import CheckpointCorrupt, NotOffered
from pegasus.tokenization.vocabulary.charsmap import leaves_words_alone
from pegasus.tokenization.vocabulary.model_file import (
    BYTE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNKNOWN,
    USER_DEFINED,
    PieceTable,
    read_model,
    write_model,
    write_normalizer,
)

OFFSET = 103
PAD, EOS, UNK = 0, 1, 2
NEWLINE_PIECE = "<n>"
SPACE = "▁"
#: How sentencepiece scores a symbol that a user defined, so that it is always chosen.
SYMBOL_SCORE = -0.1


@dataclass(frozen=True)
class Layout:
    """The names of the ids that are not ordinary pieces.

    Attributes:
        offset: what is added to sentencepiece ids above 1.
        mask_token_sent: the token that hides a sentence; None reserves no id for either mask.
    """

    offset: int = OFFSET
    pad_token: str = "<pad>"
    eos_token: str = "</s>"
    unk_token: str = "<unk>"
    mask_token: str | None = "<mask_2>"
    mask_token_sent: str | None = "<mask_1>"

    @property
    def unk_id(self) -> int:
        """The id of every character that the vocabulary does not know."""
        return UNK + self.offset

    @cached_property
    def reserved(self) -> dict[int, str]:
        """Every id that is not an ordinary piece, with its token, in order."""
        masks = [self.mask_token_sent, self.mask_token] if self.mask_token_sent is not None else []
        names = [self.pad_token, self.eos_token, *(name for name in masks if name is not None)]
        # Without masks the filling starts at <unk_2> all the same, and ends two names later.
        first = len(names) - 2
        names = names[: self.unk_id] + [f"<unk_{n}>" for n in range(2, self.offset + 2 - first)]
        return dict(enumerate([*names[: self.unk_id], self.unk_token]))


class Vocabulary:
    """A sentencepiece model, from whichever file was there.

    Either argument suffices; the other is worked out when it is first asked for.

    Args:
        model: the bytes of a ``spiece.model``.
        table: the same as rows.
    """

    def __init__(self, model: bytes | None = None, table: PieceTable | None = None) -> None:
        if model is None and table is None:
            raise ValueError("give the model's bytes or its table")
        if model is not None:
            self.model = model
        if table is not None:
            self.table = table

    @cached_property
    def table(self) -> PieceTable:
        """The rows of the model."""
        return read_model(self.model)

    @cached_property
    def model(self) -> bytes:
        """The bytes of the ``spiece.model``."""
        return write_model(self.table)

    def processor(self, **sp_model_kwargs: Any) -> sentencepiece.SentencePieceProcessor:
        """A sentencepiece processor over this vocabulary.

        Raises:
            CheckpointCorrupt: when sentencepiece refuses the model.
        """
        processor = sentencepiece.SentencePieceProcessor(**sp_model_kwargs)
        try:
            processor.LoadFromSerializedProto(self.model)
        except (RuntimeError, OSError) as error:
            raise CheckpointCorrupt(
                f"sentencepiece cannot load the model ({len(self.model)} bytes): {error}. "
                "Fetch spiece.model again."
            ) from error
        return processor

    def cut_words(self, words: list[str], offset: int) -> list[list[int]]:
        """The ids of normalized words, each cut by itself by sentencepiece, in this thread alone."""
        rows = self._plain.encode(words, out_type=int, num_threads=1)
        return [[number + offset for number in row] for row in rows]

    @cached_property
    def _plain(self) -> sentencepiece.SentencePieceProcessor:
        """A processor that does nothing to a text before it cuts, for what is normalized already."""
        nothing = PieceTable([], [], [], add_dummy_prefix=False, remove_extra_whitespaces=False)
        # Of a field that stands twice in a message, the later one counts.
        return Vocabulary(model=self.model + write_normalizer(nothing)).processor()

    @cached_property
    def normalizer(self) -> sentencepiece.SentencePieceProcessor:
        """A processor that only normalizes: the model's map of characters over a handful of pieces."""
        table = self.table
        keep = [n for n in self._unlearnt if table.kinds[n] in (CONTROL, UNKNOWN, USER_DEFINED)]
        small = replace(
            table,
            pieces=[*(table.pieces[n] for n in keep), SPACE],
            scores=[*(0.0 for _ in keep), -1.0],
            kinds=[*(table.kinds[n] for n in keep), NORMAL],
            unk_id=[table.kinds[n] for n in keep].index(UNKNOWN),
            byte_fallback=False,
            model_type=UNIGRAM,
        )
        return Vocabulary(table=small).processor()

    @cached_property
    def places(self) -> dict[str, int]:
        """Piece → its place in the table."""
        return {text: place for place, text in enumerate(self.table.pieces)}

    @cached_property
    def _unlearnt(self) -> list[int]:
        """The places of what is no ordinary piece."""
        return [int(place) for place in np.flatnonzero(np.array(self.table.kinds) != NORMAL)]

    @cached_property
    def by_words(self) -> bool:
        """Whether cutting word by word is the same as cutting a whole text: no piece spans a blank."""
        table = self.table
        plain = table.model_type == UNIGRAM and not table.byte_fallback and table.escape_whitespaces
        return plain and max(map(methodcaller("rfind", SPACE), table.pieces)) <= 0

    @cached_property
    def by_raw_words(self) -> bool:
        """Whether words may even be told apart by the blanks of a text that is not normalized."""
        table = self.table
        trimmed = table.add_dummy_prefix and table.remove_extra_whitespaces
        whole = trimmed and self.by_words and not any(map(contains, table.pieces, repeat(" ")))
        return whole and leaves_words_alone(table.charsmap, SPACE)

    def scored(self, offset: int) -> dict[str, tuple[int, float]]:
        """Every piece that a text can match → its id and its score, as sentencepiece scores it."""
        table = self.table
        found = dict(zip(table.pieces, zip(range(offset, offset + len(table.pieces)), table.scores)))
        for place in self._unlearnt:
            if table.kinds[place] == USER_DEFINED:
                found[table.pieces[place]] = (place + offset, SYMBOL_SCORE)
            elif table.kinds[place] != BYTE:
                found.pop(table.pieces[place], None)
        return found

    def __getstate__(self) -> dict[str, Any]:
        # Processors and look-up tables are made again where they are wanted.
        return {name: value for name, value in self.__dict__.items() if name in ("model", "table")}

    @classmethod
    def from_model(cls, model: bytes) -> Vocabulary:
        """Read a ``spiece.model``.

        Raises:
            CheckpointCorrupt: when it cannot be read.
        """
        return cls(model, read_model(model))

    @classmethod
    def from_tokenizer_json(cls, content: dict[str, Any], layout: Layout) -> Vocabulary:
        """Rebuild the sentencepiece model out of a ``tokenizer.json``.

        Raises:
            NotOffered: when the file describes another kind of model than a unigram one.
            CheckpointCorrupt: when parts are missing.
        """
        model = content.get("model") or {}
        if model.get("type") != "Unigram":
            raise NotOffered(
                f"Only unigram vocabularies can be read from tokenizer.json, this one is "
                f"{model.get('type')!r}. Add the spiece.model it was made from."
            )
        try:
            rows = [(str(piece), _single(float(score))) for piece, score in model["vocab"]]
            charsmap = _charsmap(content.get("normalizer"))
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise CheckpointCorrupt(
                f"tokenizer.json has no readable vocabulary ({error!r}). Fetch it again."
            ) from error
        if len(rows) < layout.unk_id + 1:
            raise CheckpointCorrupt(
                f"tokenizer.json lists {len(rows)} tokens, fewer than the {layout.unk_id + 1} ids that an "
                f"offset of {layout.offset} reserves. Check `offset` in tokenizer_config.json."
            )
        return cls(table=_rebuilt(rows, layout, charsmap, bool(model.get("byte_fallback"))))


def _rebuilt(
    rows: list[tuple[str, float]], layout: Layout, charsmap: bytes, byte_fallback: bool
) -> PieceTable:
    ordinary = rows[layout.unk_id + 1 :]
    # Symbols that a user defined are written with a score of exactly 0, learnt pieces never are.
    kinds = [USER_DEFINED if score == 0.0 else NORMAL for _, score in ordinary]
    return PieceTable(
        pieces=[layout.pad_token, layout.eos_token, layout.unk_token, *(piece for piece, _ in ordinary)],
        scores=[0.0, 0.0, 0.0, *(score for _, score in ordinary)],
        kinds=[CONTROL, CONTROL, UNKNOWN, *kinds],
        charsmap=charsmap,
        byte_fallback=byte_fallback,
    )


def _single(number: float) -> float:
    """The number as a spiece.model holds it, so that both files cut alike."""
    return float(np.float32(number))


def _charsmap(normalizer: dict[str, Any] | None) -> bytes:
    """The compiled character map, wherever in the normalizer of a tokenizer.json it stands."""
    if normalizer is None:
        return b""
    if normalizer.get("type") == "Precompiled":
        return base64.b64decode(normalizer["precompiled_charsmap"], validate=True)
    for part in normalizer.get("normalizers", ()):
        if found := _charsmap(part):
            return found
    return b""
