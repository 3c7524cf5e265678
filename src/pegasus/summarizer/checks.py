"""What to be careful about in a summary, said in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from pegasus.summarizer.attribution import Facts, unattributed
from pegasus.summarizer.number_words import ORDINALS, UNITS
from pegasus.summarizer.numbers import dated_months, known_values, unknown_numbers
from pegasus.summarizer.proper_names import KnownNames, LooksLikeName, unknown_names
from pegasus.summarizer.repetition import measure_repetition
from pegasus.summarizer.roman import roman_value

_MOST_LISTED = 8


def check_summary(
    summary: str, text: str, looks_like_name: LooksLikeName = lambda word: False
) -> tuple[str, ...]:
    """Compare a summary with its text and return warnings, none where nothing was found.

    Each begins with its kind: "empty", "repetition", "numbers" or "names". Time is linear in both.

    Args:
        summary: the summary.
        text: the whole text it is of.
        looks_like_name: asked about a word that opens a sentence (`pegasus.summarizer.proper_names`).
    """
    if not summary.strip():
        return ("empty: the model wrote nothing",)
    warnings = []
    repetition = measure_repetition(summary)
    if repetition.found:
        warnings.append(f"repetition: {repetition}")
    values = known_values(text)
    if numbers := unknown_numbers(summary, values):
        warnings.append(f"numbers: not in the text: {_listed(numbers)}")
    names = unknown_names(summary, KnownNames(text), looks_like_name)
    months = dated_months(text) if names else frozenset()
    if names := [name for name in names if name.lower() not in months and not _is_number(name, values)]:
        warnings.append(f"names: not in the text: {_listed(names)}")
    return tuple(warnings)


def check_attribution(
    summary: Sequence[str], text: Sequence[str], looks_like_name: LooksLikeName = lambda word: False
) -> tuple[str, ...]:
    """Return a warning of subjects and numbers that stand together nowhere in the text, or none.

    Args:
        summary: the sentences of the summary.
        text: those of the text.
        looks_like_name: asked about a word that opens a sentence (`pegasus.summarizer.proper_names`).
    """
    found = [str(one) for one in unattributed(summary, [*map(Facts, text)], looks_like_name)]
    return (f"attribution: nowhere together in the text: {_listed(found)}",) if found else ()


def _is_number(name: str, values: frozenset[Fraction]) -> bool:
    """Whether a capitalized word is a number that the text has: the "Second" war of "World War II"."""
    number = roman_value(name) or UNITS.get(name.lower()) or ORDINALS.get(name.lower())
    return number is not None and number in values


def _listed(found: Sequence[str]) -> str:
    more = len(found) - _MOST_LISTED
    return ", ".join(found[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
