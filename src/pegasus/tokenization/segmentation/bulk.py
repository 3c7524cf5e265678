"""Many texts → their ids and nothing else, at several times the speed of a call.

The ids are those of the call. Words are told apart by blanks before anything is normalized, and how each
came out is remembered as the bytes of its ids, so that many texts, a word that no text has between them,
are one join of byte strings. Where words cannot be told apart so early (`Vocabulary.by_raw_words`), and for
texts with added tokens in them, the ids are made the usual way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from pegasus.tokenization.call.lengths import Limits, Side, check_limits
from pegasus.tokenization.segmentation.cutting import StretchCutter, TextEncoder
from pegasus.tokenization.segmentation.newline import write_newlines
from pegasus.tokenization.segmentation.surrogates import mend_surrogates
from pegasus.tokenization.segmentation.words import FreshCutter, words_of
from pegasus.tokenization.vocabulary.layout import SPACE

Ids = npt.NDArray[np.int32]

_SIZE = np.dtype(np.int32).itemsize
_AT_ONCE = 1 << 16  # characters that are looked up together
_REMEMBERED = 400_000  # words; those not met again among as many others are forgotten
_MANY = 20_000  # new words that pay for opening sentencepiece beside another library
_BETWEEN = "\udc00"  # half a character: no text that can be encoded has it
_END = -1  # stands for it among the ids


class BulkCutter:
    """Cuts texts without added tokens in them, and remembers words for it.

    Args:
        cutter: the tokenizer's own.
    """

    def __init__(self, cutter: StretchCutter) -> None:
        self._cutter = cutter
        self._fresh = cutter.fresh
        self._learnt = 0
        self._known = _no_words()
        self._older: dict[str, bytes] = {}

    @property
    def works(self) -> bool:
        """Whether this vocabulary can be cut like this."""
        return self._cutter.by_raw_words

    def cut(self, joined: str) -> Ids:
        """The ids of texts; after each of them stand a blank, ``_BETWEEN`` and, before the next, a blank.

        Returns:
            All of them end to end, ``_END`` after each text.
        """
        if len(self._known) > _REMEMBERED:
            self._older, self._known = self._known, _no_words()
        known = self._known  # another thread may begin a new table in between
        words = joined.split(" ")
        if fresh := set(words).difference(known):
            self._learn(fresh, known)
        return np.frombuffer(bytearray().join(map(known.__getitem__, words)), np.int32)

    def _learn(self, fresh: set[str], known: dict[str, bytes]) -> None:
        if older := self._older:
            known.update({word: older[word] for word in fresh if word in older})
            fresh = fresh.difference(known)
        new = list(fresh)
        spelled = self._cutter.normalize(new)
        # Most are one word afterwards; one with a no-break space inside is two, one of odd marks is none.
        several = {text: words_of(text) for text in spelled if text.rfind(SPACE) != 0}
        whole = several.keys() ^ set(spelled)
        found = self._engine(len(new)).cut(whole.union(*several.values()))
        for text, parts in several.items():
            found[text] = [number for part in parts for number in found[part]]
        known.update(zip(new, _all_packed([found[text] for text in spelled])))

    def _engine(self, more: int) -> FreshCutter:
        if self._learnt <= _MANY < self._learnt + more:
            self._fresh = self._cutter.fresh_by_sentencepiece()
        self._learnt += more
        return self._fresh


class BulkEncoding:
    """The door to it, the same in both tokenizers."""

    truncation_side: Side
    _bulk: BulkCutter

    def encode_ids(
        self,
        texts: Sequence[str],
        add_special_tokens: bool = True,
        max_length: int | None = None,
        split_special_tokens: bool | None = None,
    ) -> list[Ids]:
        """The ids of many texts, for whoever wants no more than that.

        They equal ``tokenizer(texts, add_special_tokens=…, truncation=max_length is not None,
        max_length=…, split_special_tokens=…)["input_ids"]``.

        Args:
            texts: the texts.
            add_special_tokens: end each with eos.
            max_length: tokens that each keeps, eos included; None keeps all, however many.
            split_special_tokens: whether special tokens in a text are cut like any other text; None: as
                the attribute of that name says.

        Returns:
            One array [S] for each text.

        Raises:
            TypeError: for anything but a list of strings.
            BadSetting: when `max_length` is below one.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError("encode_ids takes a list of strings. For pairs and words call the tokenizer.")
        check_limits(Limits(max_length=max_length))
        eos = self._id_of("eos_token") if add_special_tokens else None
        encoder = self._encoder(split_special_tokens)
        whole = [mend_surrogates(text) for text in texts]
        rows = [row for some in _some(whole) for row in self._rows(some, encoder, eos)]
        if max_length is None:
            return rows
        return [_cut(row, max_length, eos, self.truncation_side) for row in rows]

    def _rows(self, texts: Sequence[str], encoder: TextEncoder, eos: int | None) -> list[Ids]:
        if not self._bulk.works:
            return _usual(texts, encoder, eos)
        joined = write_newlines("".join(f"{text} {_BETWEEN} " for text in texts)[:-1], encoder.newline)
        # A space marker that stands in a text is a blank, or not, by what is around it.
        if SPACE not in joined and not encoder.added.occur_in(joined):
            ids = self._bulk.cut(joined)
            ends = np.flatnonzero(ids == _END)
            if len(ends) == len(texts):
                return _apart(ids, ends, eos)
        if len(texts) == 1:
            return _usual(texts, encoder, eos)
        half = len(texts) // 2
        return [row for some in (texts[:half], texts[half:]) for row in self._rows(some, encoder, eos)]

    def _encoder(self, split_special_tokens: bool | None = None) -> TextEncoder:
        """What cuts whole texts the usual way."""
        raise NotImplementedError

    def _id_of(self, name: str) -> int:
        """The id of a named token that must be there."""
        raise NotImplementedError


def _no_words() -> dict[str, bytes]:
    return {"": b"", _BETWEEN: _packed([_END])}


def _some(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Groups of texts small enough for the processor's cache."""
    start = size = 0
    for place, text in enumerate(texts, 1):
        size += len(text)
        if size > _AT_ONCE or place == len(texts):
            yield texts[start:place]
            start, size = place, 0


def _apart(ids: Ids, ends: npt.NDArray[np.intp], eos: int | None) -> list[Ids]:
    """The ids of each text, with eos or without."""
    if eos is not None:
        ids[ends] = eos
    starts = [0, *(ends + 1).tolist()]
    return [ids[start:end] for start, end in zip(starts, (ends + (eos is not None)).tolist())]


def _usual(texts: Sequence[str], encoder: TextEncoder, eos: int | None) -> list[Ids]:
    end = [] if eos is None else [eos]
    return [np.array([*encoded.ids, *end], np.int32) for encoded in encoder.encode(texts, False)]


def _cut(row: Ids, most: int, eos: int | None, side: Side) -> Ids:
    if len(row) <= most:
        return row
    if side == "left":
        return row[-most:]
    row = row[:most]
    if eos is not None:
        row[-1] = eos
    return row


def _packed(ids: Sequence[int]) -> bytes:
    return np.array(ids, np.int32).tobytes()


def _all_packed(rows: Sequence[Sequence[int]]) -> Iterator[bytes]:
    ends = list(accumulate([len(row) * _SIZE for row in rows], initial=0))
    packed = _packed([number for row in rows for number in row])
    return (packed[start:end] for start, end in pairwise(ends))
