"""What to be careful about in a summary, said in one line each."""

from __future__ import annotations

from collections.abc import Sequence

from pegasus.summarizer.figures import known_values, unknown_numbers
from pegasus.summarizer.proper_names import KnownNames, LooksLikeName, unknown_names
from pegasus.summarizer.repetition import measure_repetition

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
    if numbers := unknown_numbers(summary, known_values(text)):
        warnings.append(f"numbers: not in the text: {_listed(numbers)}")
    if names := unknown_names(summary, KnownNames(text), looks_like_name):
        warnings.append(f"names: not in the text: {_listed(names)}")
    return tuple(warnings)


def _listed(found: Sequence[str]) -> str:
    more = len(found) - _MOST_LISTED
    return ", ".join(found[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
