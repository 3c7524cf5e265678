"""How long a row may be: which tokens are cut away, and how rows are filled up."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pegasus.errors import BadSetting

Side = Literal["left", "right"]
Padding = Literal["longest", "max_length", "do_not_pad"]
Truncation = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Window = tuple[int, int]

#: "No limit", in the number that tokenizer_config.json files carry for it.
UNLIMITED = int(1e30)
_LARGE = int(1e20)


@dataclass(frozen=True)
class Limits:
    """What a caller asked for, settled: one record instead of five arguments that depend on each other."""

    padding: Padding = "do_not_pad"
    truncation: Truncation = "do_not_truncate"
    max_length: int | None = None
    stride: int = 0
    multiple: int | None = None
    padding_side: Side = "right"
    truncation_side: Side = "right"

    @property
    def cuts(self) -> bool:
        """Whether anything may be cut away."""
        return self.truncation != "do_not_truncate"


def settle_padding(padding: bool | str | None) -> Padding:
    """Turn True, False or a name into a strategy.

    Raises:
        BadSetting: for an unknown name.
    """
    chosen: Padding = _one_of("longest" if padding is True else padding or "do_not_pad", Padding, "padding")
    return chosen


def settle_truncation(truncation: bool | str | None) -> Truncation:
    """Turn True, False or a name into a strategy.

    Raises:
        BadSetting: for an unknown name.
    """
    name = "longest_first" if truncation is True else truncation or "do_not_truncate"
    chosen: Truncation = _one_of(name, Truncation, "truncation")
    return chosen


def settle_side(side: str, what: str) -> Side:
    """Check the name of a side.

    Raises:
        BadSetting: when it is neither left nor right.
    """
    chosen: Side = _one_of(side, Side, what)
    return chosen


def whole_number(value: Any, name: str) -> int | None:
    """A length as an integer, whichever library's integer it is; None stays None.

    Raises:
        BadSetting: for anything else, text and fractions among it.
    """
    try:
        return None if value is None else operator.index(value)
    except TypeError as error:
        raise BadSetting(f"{name} is a whole number, got {type(value).__name__}: {value!r}.") from error


def _one_of(value: object, names: Any, what: str) -> Any:
    """A word of a Literal; enumerations of transformers hold the same words."""
    word = getattr(value, "value", value)
    if word not in get_args(names):
        raise BadSetting(f"{what}={value!r} is not known. Use one of {', '.join(get_args(names))}.")
    return word


def is_unlimited(length: int) -> bool:
    """Whether a model_max_length stands for "no limit"."""
    return length > _LARGE


def check_limits(limits: Limits) -> None:
    """Refuse lengths that cannot be kept at once.

    Raises:
        BadSetting: for a length below one or a maximum that is no multiple.
    """
    if limits.max_length is not None and limits.max_length < 1:
        raise BadSetting(f"max_length={limits.max_length} leaves no room for a token. Use 1 or more.")
    if limits.multiple is not None and limits.multiple < 1:
        raise BadSetting(f"pad_to_multiple_of={limits.multiple} makes no sense. Use 1 or more.")
    both = limits.cuts and limits.padding != "do_not_pad"
    if both and limits.multiple and limits.max_length and limits.max_length % limits.multiple:
        raise BadSetting(
            f"max_length={limits.max_length} is no multiple of pad_to_multiple_of={limits.multiple}. "
            "Change one of them, or pad without cutting."
        )


def cut(
    first: int, second: int | None, room: int, limits: Limits
) -> tuple[list[Window], list[Window] | None]:
    """Which tokens of a text, or of a pair, stay, and in which windows the rest would fit.

    Args:
        first: tokens of the text.
        second: tokens of the second text, or None.
        room: tokens that fit, special ones not counted.
        limits: the strategy, its side and the stride by which windows overlap.

    Returns:
        For each text its windows ``(start, end)``; the first is what stays, the others overflow.

    Raises:
        BadSetting: when the only text that may be cut is too short for it.
    """
    surplus = first + (second or 0) - room
    if not limits.cuts or surplus <= 0:
        return [(0, first)], None if second is None else [(0, second)]
    if second is None:
        if limits.truncation == "only_second":
            raise BadSetting("truncation='only_second' needs a second text. Use True or 'only_first'.")
        return windows(first, room, limits), None
    keep_first, keep_second = _shares(first, second, room, limits.truncation)
    if keep_first < 0 or keep_second < 0:
        raise BadSetting(
            f"truncation={limits.truncation!r} cannot remove {surplus} tokens: the texts have {first} and "
            f"{second}. Use truncation='longest_first' or a larger max_length."
        )
    return windows(first, keep_first, limits), windows(second, keep_second, limits)


def _shares(first: int, second: int, room: int, truncation: Truncation) -> tuple[int, int]:
    """How many tokens of each text stay; negative: impossible."""
    if truncation == "only_first":
        return room - second, second
    if truncation == "only_second":
        return first, room - first
    shorter = min(first, second)
    if shorter > room - shorter:  # both must give
        low, high = room // 2, room - room // 2
    else:
        low, high = shorter, room - shorter
    return (high, low) if first > second else (low, high)


def windows(length: int, size: int, limits: Limits) -> list[Window]:
    """Cover ``length`` tokens by windows of ``size`` that overlap by the stride, from the kept end on.

    Raises:
        BadSetting: when the overlap is as large as the window.
    """
    if size >= length:
        return [(0, length)]
    if size <= 0:
        return [(0, 0), (0, length)]
    if limits.stride >= size:
        raise BadSetting(
            f"stride={limits.stride} is not smaller than the {size} tokens that fit. "
            "Use a smaller stride or a larger max_length."
        )
    step = size - limits.stride
    starts = [*range(0, length - size, step)]
    starts.append(starts[-1] + step if starts else 0)
    forward = [(start, min(start + size, length)) for start in starts]
    if limits.truncation_side == "right":
        return forward
    return [(length - end, length - start) for start, end in forward]


def padded_length(longest: int, limits: Limits) -> int:
    """The number of columns that every row of a batch gets."""
    if limits.padding == "do_not_pad":
        return longest
    wanted = limits.max_length if limits.padding == "max_length" and limits.max_length else 0
    wanted = max(wanted, longest)
    return wanted if not limits.multiple else -(-wanted // limits.multiple) * limits.multiple
