"""Halves of characters that JSON and file names can carry and UTF-8 cannot: joined, or replaced.

``"\\ud83d"`` is legal JSON and a legal Python string, and no library that takes UTF-8 can be given it.
"""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"
_HALF = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def has_surrogates(text: str) -> bool:
    """Whether a text holds a half of a character."""
    return not text.isascii() and _HALF.search(text) is not None


def mend_surrogates(text: str) -> str:
    """Return a text in which halves that belong together are one character and others are U+FFFD."""
    if not has_surrogates(text):
        return text
    return _HALF.sub(REPLACEMENT, _PAIR.sub(_joined, text))


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le")
