"""Which encoding bytes are in: as asked, by their mark or by their look; what to do where it is none."""

from __future__ import annotations

import codecs
from difflib import get_close_matches
from encodings.aliases import aliases

from pegasus.errors import BadSetting

UTF8 = "utf-8-sig"
_MARKS = {
    codecs.BOM_UTF8: UTF8,
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
#: Bytes that are looked at to tell an encoding.
LOOKED_AT = 1 << 16
# What calls itself Latin-1 is Windows-1252 nearly always, and browsers read it so: there bytes 80 to 9f are
# quotes and dashes, and not control characters.
_CALLED = {"iso8859-1": "cp1252"}
# Ways to write names of hosts, and none at all; Python has them among its encodings.
_NO_TEXT = frozenset({"idna", "punycode", "undefined"})
_UNDEFINED_1252 = frozenset(b"\x81\x8d\x8f\x90\x9d")
_MOST_ACCENTED = 0.3
_TEXT_CONTROL = frozenset(b"\t\n\r\f\v\x08\x1b")
_MOST_CONTROL = 0.02
_ASCII_BYTE = 0.6


def check_encoding(name: str | None) -> str | None:
    """Return the codec of an encoding that was asked for; None asks for none.

    Raises:
        BadSetting: there is no such encoding of text.
    """
    if name is None:
        return None
    codec = _text_codec(name)
    if codec is None:
        known = sorted({*aliases, *aliases.values()})
        near = get_close_matches(name.lower().replace("-", "_"), known, 5)
        meant = next((each for each in near if _text_codec(each) is not None), None)
        advice = f"do you mean {meant}?" if meant else "use one that Python knows, such as windows-1252."
        raise BadSetting(f"encoding={name!r} is no encoding of text: {advice}")
    return UTF8 if codec.name == "utf-8" else _CALLED.get(codec.name, codec.name)


def _text_codec(name: str) -> codecs.CodecInfo | None:
    try:
        codec = codecs.lookup(name)
        if codec._is_text_encoding and codec.name not in _NO_TEXT:
            "a\n".encode(codec.name)
            return codec
    except (LookupError, ValueError, TypeError):
        pass
    return None


def find_encoding(head: bytes) -> str:
    """Return the encoding of bytes that begin like this: by their mark, by their zeros, or UTF-8."""
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    return marked or _by_zeros(head[:LOOKED_AT]) or UTF8


def _by_zeros(head: bytes) -> str | None:
    """In wide encodings most letters of most texts have zeros on one side."""
    zeros = [head[place::4].count(0) / max(1, len(head) // 4) for place in range(4)]
    if len(head) < 4 or b"\0" not in head:
        return None
    many, none = [share > _ASCII_BYTE for share in zeros], [share < 0.05 for share in zeros]
    for name, pattern in {
        "utf-32-le": (False, True, True, True),
        "utf-32-be": (True, True, True, False),
        "utf-16-le": (False, True, False, True),
        "utf-16-be": (True, False, True, False),
    }.items():
        if all(many[place] if zero else none[place] for place, zero in enumerate(pattern)):
            return name
    return None


def keeps_lines(encoding: str) -> bool:
    """Whether a line ends at the byte 0a in it, and nowhere else."""
    return encoding == UTF8 or "\n".encode(encoding) == b"\n"


def looks_binary(head: bytes, encoding: str) -> bool:
    """Whether bytes that begin like this are no text: zeros, or many control characters."""
    if not keeps_lines(encoding):
        return False
    if b"\0" in head:
        return True
    control = sum(head.count(code) for code in range(32) if code not in _TEXT_CONTROL)
    return control > _MOST_CONTROL * len(head)


def wrong_encoding(error: UnicodeDecodeError) -> str:
    """Return what is wrong with bytes that are not in their encoding, and what to do."""
    wide = "utf-8" not in error.encoding.replace("_", "-")
    name = error.encoding.upper() if wide else "UTF-8"
    data, place = error.object, error.start
    found = f"This is not {name} (byte 0x{data[place]:02x} at {place:,})."
    if wide:
        return f"{found} Name its encoding with --encoding, or save it as UTF-8."
    if not data[:place].isascii():
        return f"{found} What stands before is: the file is damaged there. Save it again as UTF-8."
    if _looks_western(data[max(0, place - LOOKED_AT // 2) : place + LOOKED_AT // 2]):
        return f"{found} It looks like Windows-1252: give --encoding windows-1252, or save it as UTF-8."
    return f"{found} Name its encoding with --encoding, or save it as UTF-8."


def _looks_western(data: bytes) -> bool:
    """Whether bytes can be Windows-1252: all are defined, and accents are few among letters."""
    accented = sum(byte >= 0xC0 for byte in data)
    letters = sum(chr(byte).isalpha() for byte in data)
    return not _UNDEFINED_1252.intersection(data) and accented <= _MOST_ACCENTED * letters
