"""The keywords of a call to the tokenizer, settled into two records before any work begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pegasus.errors import UnsupportedArgument
from pegasus.tokenization.lengths import (
    Limits,
    check_limits,
    is_unlimited,
    settle_padding,
    settle_side,
    settle_truncation,
)

Say = Callable[[str], None]


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


def settle(
    options: dict[str, Any], defaults: Limits, model_max_length: int, say: Say
) -> tuple[Limits, Wanted]:
    """Turn the keywords of a call into what is to be done.

    Args:
        options: the keywords; emptied.
        defaults: the tokenizer's own sides.
        model_max_length: the length that counts when a strategy needs one and none is given.
        say: how to tell about an assumption, once.

    Raises:
        BadSetting: for lengths and strategies that cannot be kept.
        UnsupportedArgument: for a keyword that is not known.
    """
    wanted = _wanted(options)
    max_length, padding = options.pop("max_length", None), options.pop("padding", False)
    truncation = options.pop("truncation", None)
    if max_length is not None and padding is False and truncation is None:
        if wanted.verbose:
            say("max_length was given without truncation: texts are cut to it. Say truncation=True.")
        truncation = "longest_first"
    limits = replace(
        defaults,
        padding=settle_padding(padding),
        truncation=settle_truncation(truncation),
        max_length=max_length,
        stride=int(options.pop("stride", 0) or 0),
        multiple=options.pop("pad_to_multiple_of", None),
        padding_side=settle_side(
            options.pop("padding_side", None) or defaults.padding_side, "padding_side"
        ),
    )
    refuse_unknown(options, "the tokenizer's call")
    limits = _with_length(limits, model_max_length, say if wanted.verbose else _silent)
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


def _wanted(options: dict[str, Any]) -> Wanted:
    return Wanted(
        specials=bool(options.pop("add_special_tokens", True)),
        type_ids=bool(options.pop("return_token_type_ids", False)),
        attention=options.pop("return_attention_mask", None) is not False,
        overflow=bool(options.pop("return_overflowing_tokens", False)),
        special_mask=bool(options.pop("return_special_tokens_mask", False)),
        offsets=bool(options.pop("return_offsets_mapping", False)),
        length=bool(options.pop("return_length", False)),
        tensors=options.pop("return_tensors", None),
        verbose=bool(options.pop("verbose", True)),
    )


def _with_length(limits: Limits, model_max_length: int, say: Say) -> Limits:
    """Where a strategy needs a length and none was given, the model's counts; it may have none."""
    pads = limits.padding == "max_length"
    if limits.max_length is not None or not (pads or limits.cuts):
        return limits
    if not is_unlimited(model_max_length):
        return replace(limits, max_length=model_max_length)
    say("There is no max_length and the model has none: nothing is cut, and nothing padded to a maximum.")
    return replace(limits, truncation="do_not_truncate", padding="do_not_pad" if pads else limits.padding)


def _silent(message: str) -> None:
    """For callers that asked for silence."""
