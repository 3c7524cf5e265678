"""The keywords of a call to the tokenizer, settled into two records before any work begins."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pegasus.errors import UnsupportedArgument
from pegasus.tokenization.call.lengths import (
    Limits,
    check_limits,
    is_unlimited,
    settle_padding,
    settle_side,
    settle_truncation,
    whole_number,
)

#: Tells about something once: the message, and the key under which it is remembered.
Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Wanted:
    """What a caller wants to have in the result, beside the ids."""

    specials: bool = True
    type_ids: bool = False
    attention: bool = True
    overflow: bool = False
    special_mask: bool = False
    offsets: bool = False
    length: bool = False
    tensors: str | None = None
    verbose: bool = True
    split_specials: bool | None = None


@dataclass(frozen=True)
class Defaults:
    """What a tokenizer does where a call does not say it.

    Attributes:
        limits: its sides.
        model_max_length: the length that counts when a strategy needs one and none is given.
        columns: the columns that the model takes.
    """

    limits: Limits
    model_max_length: int
    columns: Sequence[str]


def settle(options: dict[str, Any], defaults: Defaults, say: Say) -> tuple[Limits, Wanted]:
    """Turn the keywords of a call into what is to be done.

    Args:
        options: the keywords; emptied.
        defaults: what counts where they say nothing.
        say: how to tell about an assumption, once.

    Raises:
        BadSetting: for lengths and strategies that cannot be kept.
        UnsupportedArgument: for a keyword that is not known.
    """
    wanted = _wanted(options, defaults.columns)
    say = say if wanted.verbose else _silent
    _translate_old_names(options, wanted.verbose)
    max_length = whole_number(options.pop("max_length", None), "max_length")
    padding, truncation = options.pop("padding", False), options.pop("truncation", None)
    if max_length is not None and padding is False and truncation is None:
        say(
            "max_length was given without truncation: texts are cut to it. Say truncation=True.",
            "max_length",
        )
        truncation = "longest_first"
    sides = defaults.limits
    limits = replace(
        sides,
        padding=settle_padding(padding),
        truncation=settle_truncation(truncation),
        max_length=max_length,
        stride=whole_number(options.pop("stride", 0), "stride") or 0,
        multiple=whole_number(options.pop("pad_to_multiple_of", None), "pad_to_multiple_of"),
        padding_side=settle_side(options.pop("padding_side", None) or sides.padding_side, "padding_side"),
    )
    refuse_unknown(options, "the tokenizer's call")
    limits = _with_length(limits, defaults.model_max_length, say)
    check_limits(limits)
    return limits, wanted


def refuse_unknown(options: Mapping[str, Any], where: str) -> None:
    """Refuse what nobody took.

    Raises:
        UnsupportedArgument: when something is left.
    """
    if options:
        names = ", ".join(sorted(options))
        raise UnsupportedArgument(
            f"{where} does not take {names}. See docs/tokenizers.md for what to use instead."
        )


def _wanted(options: dict[str, Any], columns: Sequence[str]) -> Wanted:
    def shown(name: str) -> bool:
        asked = options.pop(f"return_{name}", None)
        return name in columns if asked is None else bool(asked)

    return Wanted(
        specials=bool(options.pop("add_special_tokens", True)),
        type_ids=shown("token_type_ids"),
        attention=shown("attention_mask"),
        overflow=bool(options.pop("return_overflowing_tokens", False)),
        special_mask=bool(options.pop("return_special_tokens_mask", False)),
        offsets=bool(options.pop("return_offsets_mapping", False)),
        length=bool(options.pop("return_length", False)),
        tensors=options.pop("return_tensors", None),
        verbose=bool(options.pop("verbose", True)),
        split_specials=options.pop("split_special_tokens", None),
    )


def _translate_old_names(options: dict[str, Any], verbose: bool) -> None:
    """``pad_to_max_length`` and ``truncation_strategy``, which today's names win over."""
    pads, strategy = options.pop("pad_to_max_length", False), options.pop("truncation_strategy", None)
    if pads and options.get("padding", False) is False:
        if verbose:
            _warn_old("pad_to_max_length", "padding='max_length', or padding=True for the longest row")
        options["padding"] = "longest" if options.get("max_length") is None else "max_length"
    if strategy not in (None, "do_not_truncate") and options.get("truncation") is None:
        if verbose:
            _warn_old("truncation_strategy", "truncation= with the same word")
        options["truncation"] = strategy


def _warn_old(name: str, remedy: str) -> None:
    warnings.warn(f"{name} is an old name. Say {remedy}.", FutureWarning, stacklevel=7)


def _with_length(limits: Limits, model_max_length: int, say: Say) -> Limits:
    """Where a strategy needs a length and none was given, the model's counts; it may have none."""
    pads = limits.padding == "max_length"
    if limits.max_length is not None or not (pads or limits.cuts):
        return limits
    if not is_unlimited(model_max_length):
        return replace(limits, max_length=model_max_length)
    say(
        "There is no max_length and the model has none: nothing is cut, and nothing padded to a maximum.",
        "no maximum",
    )
    return replace(limits, truncation="do_not_truncate", padding="do_not_pad" if pads else limits.padding)


def _silent(message: str, key: str) -> None:
    """For callers that asked for silence."""
