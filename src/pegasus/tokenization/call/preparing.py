"""Rows out of ids that are there already: cut, closed by eos, filled up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pegasus.errors import BadSetting
from pegasus.tokenization.call.encoding import BatchEncoding, EncodedText
from pegasus.tokenization.call.lengths import Limits, Side, settle_truncation
from pegasus.tokenization.call.padding import Encoded, pad_columns
from pegasus.tokenization.call.request import Wanted
from pegasus.tokenization.call.rows import Closing, Row, columns, rows_of
from pegasus.tokenization.segmentation.cutting import TextEncoder
from pegasus.tokenization.vocabulary.table import plain_numbers

#: The columns that tell what was cut away.
LOST = ("overflowing_tokens", "num_truncated_tokens")


class IdPreparation:
    """``prepare_for_model``, ``truncate_sequences`` and ``pad``, the same in both tokenizers."""

    truncation_side: Side
    model_input_names: list[str]
    pad_token_type_id: int
    num_special_tokens_to_add: Callable[[bool], int]
    _settle: Callable[[dict[str, Any]], tuple[Limits, Wanted]]
    _closing: Callable[[bool], Closing]
    _id_of: Callable[[str], int]
    _encoder: Callable[[bool | None], TextEncoder]
    _warn_if_long: Callable[[Sequence[Row], Limits, Wanted], None]

    def prepare_for_model(
        self, ids: list[int], pair_ids: list[int] | None = None, **kwargs: Any
    ) -> BatchEncoding:
        """Cut, close and pad ids that have no special tokens yet.

        Takes the keywords of a call. ``return_overflowing_tokens`` gives ``overflowing_tokens`` and
        ``num_truncated_tokens`` here, not further rows.

        Raises:
            BadSetting: when what was cut away of a pair is wanted and both texts may be cut.
        """
        tensors, prepend = kwargs.pop("return_tensors", None), kwargs.pop("prepend_batch_axis", False)
        limits, wanted = self._settle(kwargs)
        closing = self._closing(wanted.specials)
        several = [plain_numbers(part) for part in (ids, pair_ids) if part is not None]
        given = [self._encoder(None).given(part) for part in several]
        if wanted.overflow:
            refuse_pairs(len(given) == 2, limits)
        rows = rows_of(0, given[0], given[1] if pair_ids is not None else None, limits, closing, False)
        self._warn_if_long(rows, limits, wanted)
        table, encodings = columns(rows, limits, closing, wanted)
        found: dict[str, Any] = {name: value[0] for name, value in table.items()}
        if wanted.overflow:
            del found["overflow_to_sample_mapping"]
            found |= cut_away(given, rows[0], limits, closing)
        return BatchEncoding(found, encodings, tensors, prepend_batch_axis=prepend)

    def truncate_sequences(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: bool | str = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Take tokens away from a text, or from a pair, and say which they were.

        Args:
            ids: the ids of a text, without special tokens.
            pair_ids: the ids of a second text.
            num_tokens_to_remove: how many are too many.
            truncation_strategy: as in a call. Of two texts of one length the second gives first.
            stride: how many tokens that stay are told beside those that go.

        Returns:
            What stays of both, and what went; nothing of a pair that was cut by "longest_first".

        Raises:
            BadSetting: when the text that may be cut is too short for it.
        """
        strategy = settle_truncation(truncation_strategy)
        if num_tokens_to_remove <= 0 or strategy == "do_not_truncate":
            return ids, pair_ids, []
        if strategy == "longest_first" and pair_ids is not None:
            first, second = len(ids), len(pair_ids)
            for _ in range(min(num_tokens_to_remove, first + second)):
                first, second = (first - 1, second) if first > second else (first, second - 1)
            return self._kept(ids, first), self._kept(pair_ids, second), []
        shortened = pair_ids if strategy == "only_second" else ids
        if shortened is None or len(shortened) <= num_tokens_to_remove:
            raise BadSetting(
                f"truncation={strategy!r} cannot remove {num_tokens_to_remove} tokens of "
                f"{len(shortened or ())}. Use 'longest_first', or remove fewer."
            )
        gone = num_tokens_to_remove + stride
        lost = shortened[-gone:] if self.truncation_side == "right" else shortened[:gone]
        rest = self._kept(shortened, len(shortened) - num_tokens_to_remove)
        return (ids, rest, lost) if strategy == "only_second" else (rest, pair_ids, lost)

    def pad(
        self,
        encoded_inputs: Encoded,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Fill up encodings to one length: a batch, or a list of single encodings.

        The first of ``model_input_names`` (``input_ids``), ``attention_mask``, ``token_type_ids`` and
        ``special_tokens_mask`` are filled; other entries stay as they are. Tensors come back as tensors
        of their kind. Takes ``padding_side`` too.
        """
        limits, wanted = self._settle({
            "padding": padding, "truncation": False, "max_length": max_length, "verbose": verbose,
            "pad_to_multiple_of": pad_to_multiple_of,
            "return_attention_mask": return_attention_mask, **kwargs,
        })  # fmt: skip
        filled = limits.padding != "do_not_pad"
        fillings: Mapping[str, int] = {
            self.model_input_names[0]: self._id_of("pad_token") if filled else 0,
            "token_type_ids": self.pad_token_type_id,
            "attention_mask": 0,
            "special_tokens_mask": 1,
        }
        return pad_columns(encoded_inputs, limits, fillings, wanted.attention, return_tensors)

    def _kept(self, ids: list[int], count: int) -> list[int]:
        return ids[:count] if self.truncation_side == "right" else ids[len(ids) - count :]


def refuse_pairs(paired: bool, limits: Limits) -> None:
    """Refuse to tell what was cut away where it may come from both texts of a pair.

    Raises:
        BadSetting: when it may.
    """
    if paired and limits.truncation == "longest_first":
        raise BadSetting(
            "What 'longest_first' cuts away from a pair comes from both texts and is not told as one list. "
            "Use truncation='only_first' or 'only_second', or PegasusTokenizerFast for further rows."
        )


def cut_away(given: Sequence[EncodedText], kept: Row, limits: Limits, closing: Closing) -> dict[str, Any]:
    """What was cut away from a row: the ids, with the stride before them, and how many are too many."""
    total = sum(len(text.ids) for text in given) + (closing.eos is not None)
    found: dict[str, Any] = {
        "overflowing_tokens": [],
        "num_truncated_tokens": total - (total if limits.max_length is None else limits.max_length),
    }
    for text, part in zip(given, kept.parts):
        if removed := 0 if part.text is None else len(text.ids) - len(part.ids):
            window = removed + limits.stride
            right = limits.truncation_side == "right"
            found["overflowing_tokens"] = text.ids[-window:] if right else text.ids[:window]
    return found
