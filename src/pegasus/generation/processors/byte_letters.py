"""Characters that a vocabulary lacks and writes as bytes: one letter stands in for each byte of them.

So a word is still read letter by letter, whatever it is made of, and one that breaks off between the bytes
of a letter is the beginning of a word. The letters that stand in are Anatolian hieroglyphs: they have no
capitals, and texts that really hold them have them as bytes too.
"""

from __future__ import annotations

import re
from collections.abc import Container

_FIRST = 0x14400
_STANDING_IN = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + 0xFF)}]+")


def letter_of(byte: int) -> str:
    """The letter that stands in for a byte."""
    return chr(_FIRST + byte)


def as_bytes(text: str, characters: Container[str]) -> str:
    """A text with letters in the place of the bytes of all characters that have no piece.

    Args:
        text: the text.
        characters: those which have one.
    """
    return "".join(one if one in characters else "".join(map(letter_of, one.encode())) for one in text)


def from_bytes(text: str) -> str:
    """The text as it is read; U+FFFD in the place of bytes that are no character."""
    return _STANDING_IN.sub(_character, text)


def stands_in(letter: str) -> bool:
    """Whether a letter stands in for a byte."""
    return _FIRST <= ord(letter) <= _FIRST + 0xFF


def _character(match: re.Match[str]) -> str:
    return bytes(ord(letter) - _FIRST for letter in match.group()).decode(errors="replace")
