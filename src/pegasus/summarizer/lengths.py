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

No more is asked for than the text has tokens or the model positions; where that is less, with no least.
A summary that meets the upper limit in the middle of a sentence is cut back to the last whole one, or where
there is none to the last whole word (`pegasus.summarizer.endings`).
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, field

from pegasus.errors import BadSetting

WORDS = ("short", "medium", "long")
SMALLEST = 8
_NUMBER = re.compile(r"0*(\d{1,12})(%?)", re.ASCII)
_MOST_SHOWN = 60
_LEAST_SHARE = 0.6
_GRID = 8


@dataclass(frozen=True)
class Budget:
    """How many new tokens to write, the end token included: at least `least`, at most `most`.

    Attributes:
        least: in tokens.
        most: in tokens.
        words: at most so many words of that are kept; None: all. Not what makes two budgets different.
    """

    least: int
    most: int
    words: int | None = field(default=None, compare=False)

    def shared(self, parts: int) -> Budget:
        """Return one part's budget of a summary written in `parts` parts."""
        words = None if self.words is None else max(1, self.words // parts)
        return Budget(self.least // parts, max(SMALLEST, self.most // parts), words)

    def within(self, most: int) -> Budget:
        """Return a budget of at most so many tokens; where that is less, nothing is asked for at least."""
        most = max(SMALLEST, most)
        return self if self.most <= most else Budget(0, most, self.words)


def parse_length(length: str | int) -> tuple[str, int]:
    """Read a length setting as ("short" | "medium" | "long", 0), ("words", N) or ("percent", N).

    Raises:
        BadSetting: it is none of these.
    """
    written = length.strip().lower() if isinstance(length, str) else ""
    if hasattr(length, "__index__") and not isinstance(length, bool):  # NumPy's whole numbers have it too
        written = shown(operator.index(length))
    if written in WORDS:
        return written, 0
    match = _NUMBER.fullmatch(written)
    number = int(match[1]) if match else 0
    if match is None or number < 1 or (match[2] and number > 100):
        raise BadSetting(
            f"length={shown(length)} is no length: use short, medium, long, a number of words (80) "
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
    return Budget(int(most * _LEAST_SHARE), max(SMALLEST, most), max(1, math.ceil(wanted)))


def shown(value: object) -> str:
    """Return a value as a message may show it: one line, and not too long."""
    if isinstance(value, int) and abs(value) >= 10**_MOST_SHOWN:  # Python refuses to print the very large
        return "a number of very many digits"
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
