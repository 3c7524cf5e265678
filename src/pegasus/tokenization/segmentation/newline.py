"""What becomes of a line break: nothing, ``<n>`` as the authors' TensorFlow code does, or their Flax form.

=========  =======================  ==========================================
option     text → tokens            tokens → text
=========  =======================  ==========================================
drop       a space, like any other  ``<n>`` stays in the text (transformers)
authors    ``\\n`` → ``<n>``         ``<n>`` → ``\\n``
flax       ``\\n`` → ``<n> ``        ``<n>`` → ``\\n``, then ``\\n `` → ``\\n``
=========  =======================  ==========================================
"""

from __future__ import annotations

from typing import Literal, get_args

from pegasus.errors import BadSetting
from pegasus.tokenization.vocabulary.layout import NEWLINE_PIECE

Newline = Literal["drop", "authors", "flax"]

_WRITTEN: dict[Newline, str] = {"authors": NEWLINE_PIECE, "flax": NEWLINE_PIECE + " "}


def check_newline(option: str) -> Newline:
    """The option itself when there is one of that name.

    Raises:
        BadSetting: otherwise.
    """
    if option not in get_args(Newline):
        raise BadSetting(f"newline={option!r} is not known. Use one of {', '.join(get_args(Newline))}.")
    known: Newline = option  # type: ignore[assignment]
    return known


def write_newlines(text: str, option: Newline) -> str:
    """The text as the vocabulary wants to see it."""
    return text if option == "drop" else text.replace("\n", _WRITTEN[option])


def read_newlines(text: str, option: Newline) -> str:
    """The text as a person wants to see it: the reverse of :func:`write_newlines`."""
    if option == "drop":
        return text
    text = text.replace(NEWLINE_PIECE, "\n")
    return text.replace("\n ", "\n") if option == "flax" else text


def newline_origins(text: str, option: Newline) -> list[int] | None:
    """For every character after :func:`write_newlines`, and the end, where it stood; None: as it is."""
    if option == "drop" or "\n" not in text:
        return None
    blank = len(_WRITTEN[option]) - len(NEWLINE_PIECE)
    origins: list[int] = []
    for place, character in enumerate(text):
        written = [place] * len(NEWLINE_PIECE) + [place + 1] * blank  # the blank is after the line break
        origins += written if character == "\n" else [place]
    return [*origins, len(text)]
