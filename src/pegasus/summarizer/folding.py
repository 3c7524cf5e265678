"""Ways to write the same word, made one: apostrophes, hyphens, broken lines, what is invisible, accents."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼʹ′＇`´\u02bb\u201b"), "'")
_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2043\ufe63\uff0d\u2212"), "-")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e]"
    "|[\u2060-\u2064\ufe00-\ufe0f\ufeff]"
)
# "docu-\nment" is one word; before a capital the hyphen is the word's own ("Anglo-\nSaxon").
_BROKEN = re.compile(r"(?<=[^\W\d_])-[ \t]{0,8}\r?\n[ \t]{0,8}(?=([^\W\d_]))")
_SOFT_BREAK = re.compile("\u00ad[ \\t]{0,8}\\r?\\n[ \\t]{0,8}")
_ACCENTS = re.compile("[\u0300-\u036f]+")
# Letters that Unicode does not take for a letter and an accent.
_LETTERS = str.maketrans(
    {
        "ł": "l",
        "Ł": "L",
        "ø": "o",
        "Ø": "O",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "Ð": "D",
        "ı": "i",
        "ß": "ss",
        "þ": "th",
        "Þ": "Th",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
        "ħ": "h",
        "Ħ": "H",
    }
)


def tidy(text: str) -> str:
    """Return a text with one kind of apostrophe and hyphen, whole words, and letters in their usual form.

    Accents stay: what is shown to people is spelled as they know it.
    """
    if not text.isascii():
        text = _SOFT_BREAK.sub("", text)
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text).translate(_APOSTROPHES | _HYPHENS))
    return _BROKEN.sub(lambda match: "" if match[1].islower() else "-", text)


def fold(text: str) -> str:
    """Return a tidy text without accents, for comparing."""
    text = tidy(text)
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFD", text.translate(_LETTERS))
    return _ACCENTS.sub("", apart)
