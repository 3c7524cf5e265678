"""From texts as ids to the rows of a batch: cut, closed by eos, filled up, with their origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pegasus.tokenization.call.encoding import EncodedText, Encoding, Part
from pegasus.tokenization.call.lengths import Limits, Window, cut, padded_length
from pegasus.tokenization.call.request import Wanted


@dataclass(frozen=True)
class Closing:
    """The tokens that no text has.

    Attributes:
        eos: its id and name; None when nothing is to be added.
        pad: its id and name; None where nothing can be filled up.
        special: the ids that a special tokens mask marks inside a text.
        pad_type: the type id of padding.
    """

    eos: tuple[int, str] | None
    pad: tuple[int, str] | None
    special: frozenset[int]
    pad_type: int = 0


@dataclass
class Row:
    """One row of a batch before it is filled up; ``sample`` is the text it was cut from."""

    sample: int
    parts: list[Part]
    ids: list[int] = field(init=False)

    def __post_init__(self) -> None:
        single = len(self.parts) == 1
        self.ids = self.parts[0].ids if single else [number for part in self.parts for number in part.ids]


def rows_of(
    sample: int,
    first: EncodedText,
    second: EncodedText | None,
    limits: Limits,
    closing: Closing,
    overflow: bool,
) -> list[Row]:
    """The row of a text or a pair, followed by the rows of what was cut away where that is wanted."""
    room = _room(limits, closing)
    own = len(first.ids), None if second is None else len(second.ids)
    ours, theirs = ([(0, own[0])], None if second is None else [(0, own[1] or 0)])
    if room is not None:
        ours, theirs = cut(own[0], own[1], room, limits)
    places = _combinations(ours, theirs) if overflow else [(ours[0], theirs[0] if theirs else None)]
    return [Row(sample, _parts(first, one, second, other, closing)) for one, other in places]


def columns(
    rows: Sequence[Row], limits: Limits, closing: Closing, wanted: Wanted
) -> tuple[dict[str, list], list[Encoding]]:
    """The named columns of a batch, and the origin of each row."""
    pads = limits.padding != "do_not_pad"
    width = padded_length(max((len(row.ids) for row in rows), default=0), limits)
    missing = [max(0, width - len(row.ids)) if pads else 0 for row in rows]
    right = limits.padding_side == "right"
    filled = [_fill(row, count, right, closing) for row, count in zip(rows, missing)]
    encodings = [encoding for _, encoding in filled]
    found: dict[str, list] = {"input_ids": [ids for ids, _ in filled]}
    if wanted.type_ids:
        found["token_type_ids"] = [
            _beside([0] * len(row.ids), [closing.pad_type] * count, right)
            for row, count in zip(rows, missing)
        ]
    if wanted.special_mask:
        found["special_tokens_mask"] = [list(encoding.special_tokens_mask) for encoding in encodings]
    if wanted.attention:
        found["attention_mask"] = [list(encoding.attention_mask) for encoding in encodings]
    if wanted.offsets:
        found["offset_mapping"] = [list(encoding.offsets) for encoding in encodings]
    if wanted.length:
        found["length"] = [len(row.ids) for row in rows]
    if wanted.overflow:
        found["overflow_to_sample_mapping"] = [row.sample for row in rows]
    return found, encodings


def _room(limits: Limits, closing: Closing) -> int | None:
    if not limits.cuts or limits.max_length is None:
        return None
    return limits.max_length - (closing.eos is not None)


def _combinations(ours: list[Window], theirs: list[Window] | None) -> list[tuple[Window, Window | None]]:
    """Every window of the one with every window of the other, in the order of the tokenizers library."""
    if theirs is None:
        return [(one, None) for one in ours]
    later: list[tuple[Window, Window | None]] = [(one, other) for one in ours[1:] for other in theirs]
    return [(ours[0], theirs[0]), *later, *((ours[0], other) for other in theirs[1:])]


def _parts(
    first: EncodedText, one: Window, second: EncodedText | None, other: Window | None, closing: Closing
) -> list[Part]:
    parts = [Part(first.ids[slice(*one)], first, one[0], 0)]
    if second is not None and other is not None:
        parts.append(Part(second.ids[slice(*other)], second, other[0], 1))
    if closing.eos is not None:
        parts.append(Part([closing.eos[0]], name=closing.eos[1]))
    return parts


def _fill(row: Row, missing: int, right: bool, closing: Closing) -> tuple[list[int], Encoding]:
    attention = _beside([1] * len(row.ids), [0] * missing, right)
    special = closing.special if closing.eos is not None else frozenset[int]()
    if not missing:
        return row.ids, Encoding(row.parts, attention, special)
    assert closing.pad is not None  # whoever pads has been asked for it
    padding = Part([closing.pad[0]] * missing, name=closing.pad[1])
    parts = [*row.parts, padding] if right else [padding, *row.parts]
    return _beside(row.ids, padding.ids, right), Encoding(parts, attention, special)


def _beside(own: list[int], filling: list[int], right: bool) -> list[int]:
    return own + filling if right else filling + own
