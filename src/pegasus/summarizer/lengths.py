"""How long a summary shall be: from words like "short" or "10%" to limits in tokens.

With L the longest summary the checkpoint writes by itself (its `max_length`), counted in tokens:

=========  ====================================================================================
asked for  limits
=========  ====================================================================================
nothing    the checkpoint's own
short      at most L/2
medium     L/2 to L
long       L to 2L
N          at most N words and at least 0.6 N, turned into tokens by the text's own tokens a word
N%         the same, with N per cent of the words of the text
=========  ====================================================================================

A summary that meets the upper limit in the middle of a sentence is cut back to the last whole one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pegasus.errors import BadSetting

WORDS = ("short", "medium", "long")
SMALLEST = 8
_NUMBER = re.compile(r"(\d{1,7})(%?)")
_LEAST_SHARE = 0.6
_GRID = 8


@dataclass(frozen=True)
class Budget:
    """How many new tokens to write, the end token included: at least `least`, at most `most`."""

    least: int
    most: int

    def shared(self, parts: int) -> Budget:
        """Return one part's budget of a summary written in `parts` parts."""
        return Budget(self.least // parts, max(SMALLEST, self.most // parts))


def parse_length(length: str | int) -> tuple[str, int]:
    """Read a length setting as ("short" | "medium" | "long", 0), ("words", N) or ("percent", N).

    Raises:
        BadSetting: it is none of these.
    """
    written = str(length).strip().lower()
    if written in WORDS:
        return written, 0
    match = _NUMBER.fullmatch(written)
    number = int(match[1]) if match and not isinstance(length, bool) else 0
    if match is None or number < 1 or (match[2] and number > 100):
        raise BadSetting(
            f"length={length!r} is no length: use short, medium, long, a number of words (80) "
            "or a share of the text (10%)."
        )
    return ("percent" if match[2] else "words"), number


def plan_length(length: str | int | None, usual: Budget, *, words: int, tokens: int) -> Budget | None:
    """Turn a length setting into limits in tokens; None where the checkpoint's own limits stay.

    Args:
        length: the setting.
        usual: the checkpoint's own limits.
        words: words of the text.
        tokens: tokens of the text, without the end token.
    """
    if length is None:
        return None
    kind, number = parse_length(length)
    if kind in WORDS:
        low, high = {"short": (0.0, 0.5), "medium": (0.5, 1.0), "long": (1.0, 2.0)}[kind]
        return Budget(int(usual.most * low), max(SMALLEST, math.ceil(usual.most * high)))
    wanted = number if kind == "words" else words * number / 100
    most = math.ceil(wanted * tokens / max(words, 1)) + 1  # one more for the end token
    if most > 2 * _GRID:
        most -= most % _GRID  # texts with equal limits share a batch
    return Budget(int(most * _LEAST_SHARE), max(SMALLEST, most))
