"""How to summarize: one frozen record of settings."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any, Literal, get_args

from pegasus.data.sentences import Splitter, find_splitter
from pegasus.errors import BadSetting
from pegasus.summarizer.lengths import parse_length, shown

Long = Literal["chunk", "truncate", "extend", "error"]
OnUnknown = Literal["warn", "error", "ignore"]
FaithfulMode = Literal["off", "words", "names"]
#: The file beside a checkpoint that lists the common words of its language, one a line, in small letters.
COMMON_WORDS = "common_words.txt"

#: A search costs as many times one summary as it has beams; the authors' widest has 8.
MOST_BEAMS = 64
_MOST_WHOLE = 2**31 - 1
_MOST_PENALTY = 100
_WHOLE = {
    "sentences": 1,
    "num_beams": 1,
    "batch_size": 1,
    "batch_tokens": 1,
    "extend_limit": 1,
    "no_repeat_ngram_size": 0,
    "max_input_tokens": 8,
}
# What a summarizer itself tells `generate`.
_GIVEN = (
    "inputs",
    "input_ids",
    "inputs_embeds",
    "attention_mask",
    "encoder_outputs",
    "return_dict_in_generate",
)
_LENGTHS = {"max_length": 2, "min_length": 0, "max_new_tokens": 1, "min_new_tokens": 0}


@dataclass(frozen=True)
class Settings:
    """Settings of a summarizer; None means what the checkpoint itself says.

    Attributes:
        long: what to do with a text of more tokens than the model takes. "chunk" reads all of it in pieces,
            "truncate" reads the beginning, "extend" reads all of it at once with positions the checkpoint
            was never trained on, "error" refuses.
        length: "short", "medium", "long", a number of words (80) or a share of the text ("10%");
            `pegasus.summarizer.lengths` has the table.
        sentences: how many sentences to write.
        num_beams: beams of the search, at most 64.
        length_penalty: above 1 favours longer summaries, below 1 shorter ones.
        no_repeat_ngram_size: no run of so many tokens comes twice; 0 allows all.
        retry_repetition: write a repetitive summary again with `no_repeat_ngram_size=3`, keep the better.
        repair: put the text's own word in the place of a near-copy of it ("Perley2" for "Person2") that
            neither the text nor the checkpoint's list of common words has.
        explain: find for each summary sentence the source sentences it leans on (one more pass a text).
        check: look for repetition, and for numbers and names that the text does not contain.
        attribution: look for sentences whose subject and number the text has nowhere together. Of true
            sentences in people's own words a third is warned of, too.
        unknown: what to do about characters that the vocabulary lacks: "warn", "error" (refuse a text that
            holds one) or "ignore". None warns, and refuses a text of whose letters a fifth are unknown.
        faithful: what a summary is held to while it is written. "words": the words of the text, common
            words of the language, and numbers as the text has them; "names": names and numbers; "off".
            None: "words" where a list of common words lies beside the checkpoint, as beside the bundled
            one, else "off".
        batch_size: most texts in a batch.
        batch_tokens: most tokens in a batch, padding included.
        max_input_tokens: read at most so many tokens at once, where that is fewer than the model takes.
        extend_limit: most tokens that "extend" reads; attention costs grow with the square.
        splitter: the sentence rule: "careful", "authors", or a function (`pegasus.data.sentences`).
        generate: anything else that `generate` takes, by name.
    """

    long: Long = "chunk"
    length: str | int | None = None
    sentences: int | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    retry_repetition: bool = False
    repair: bool = False
    explain: bool = False
    check: bool = True
    attribution: bool = False
    unknown: OnUnknown | None = None
    faithful: FaithfulMode | None = None
    batch_size: int = 16
    batch_tokens: int = 8192
    max_input_tokens: int | None = None
    extend_limit: int = 16_384
    splitter: str | Splitter = "careful"
    generate: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.long not in get_args(Long):
            raise BadSetting(
                f"long={shown(self.long)} is not known: use one of {', '.join(get_args(Long))}."
            )
        if self.unknown is not None and self.unknown not in get_args(OnUnknown):
            options = ", ".join(get_args(OnUnknown))
            raise BadSetting(f"unknown={self.unknown!r} is not known: use one of {options}.")
        if self.faithful is not None and self.faithful not in get_args(FaithfulMode):
            options = ", ".join(get_args(FaithfulMode))
            raise BadSetting(f"faithful={shown(self.faithful)} is not known: use one of {options}.")
        for name, least in _WHOLE.items():
            most = MOST_BEAMS if name == "num_beams" else _MOST_WHOLE
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least, most))
        for name in ("retry_repetition", "repair", "explain", "check", "attribution"):
            if not isinstance(getattr(self, name), bool):
                raise BadSetting(f"{name} must be True or False; found {shown(getattr(self, name))}.")
        _check_penalty(self.length_penalty)
        if self.length is not None:
            parse_length(self.length)
        find_splitter(self.splitter)
        _check_generate(self.generate)

    def changed(self, **changes: Any) -> Settings:
        """Return a copy with some settings changed.

        Raises:
            BadSetting: an unknown name (the nearest known one is named) or a value that makes no sense.
        """
        known = [each.name for each in fields(self)]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}."
                raise BadSetting(
                    f"Summarizer has no setting {name!r}: {hint} "
                    "Other arguments of generate() go into generate={...}."
                )
        return replace(self, **changes) if changes else self

    def for_generate(self) -> dict[str, Any]:
        """Return what `generate` shall be told, leaving out what the checkpoint decides."""
        named = {
            name: getattr(self, name) for name in ("num_beams", "length_penalty", "no_repeat_ngram_size")
        }
        held = {} if self.faithful is None else {"faithful": self.faithful}
        named = {name: value for name, value in named.items() if value is not None}
        return {**self.generate, **named, **held}


def whole_number(name: str, value: Any, least: int, most: int) -> int | None:
    """Return a setting as a plain whole number; None stays.

    Raises:
        BadSetting: it is none (a truth value, a fraction, a text), or too small or too large.
    """
    if value is None:
        return None
    number = None
    if not isinstance(value, bool) and hasattr(value, "__index__"):  # NumPy's whole numbers have it too
        number = operator.index(value)
    if number is None or number < least:
        raise BadSetting(f"{name} must be a whole number of at least {least}; found {shown(value)}.")
    if number > most:
        raise BadSetting(f"{name} must be at most {most:,}; found {shown(value)}.")
    return number


def _check_penalty(value: Any) -> None:
    if value is None:
        return
    # A length to the power of more than this is no number any more.
    if isinstance(value, bool) or not isinstance(value, Real) or not abs(float(value)) <= _MOST_PENALTY:
        raise BadSetting(
            f"length_penalty must be a number between -{_MOST_PENALTY} and {_MOST_PENALTY}; "
            f"found {shown(value)}."
        )


def _check_generate(options: Any) -> None:
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise BadSetting(f"generate must be a dictionary of names and values; found {shown(options)}.")
    for name in _GIVEN:
        if name in options:
            raise BadSetting(f"generate's {name} is given by the summarizer itself: leave it out.")
    for name, least in _LENGTHS.items():
        whole_number(f"generate's {name}", options.get(name), least, _MOST_WHOLE)
    whole_number("generate's num_beams", options.get("num_beams"), 1, MOST_BEAMS)
    if options.get("num_return_sequences", 1) != 1:
        raise BadSetting("A summarizer writes one summary a text: for several, use the model's generate().")
