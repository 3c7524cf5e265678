"""The sentencepiece model file, read and written without the protobuf package.

A ``spiece.model`` is a protobuf message. Only the fields that decide how a text is cut are kept:
the pieces with their scores and kinds, the map of characters, and the switches for white space.
Field numbers are those of ``sentencepiece_model.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pegasus.errors import CheckpointCorrupt

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE = 1, 2

Value = int | bytes
Rows = list[tuple[str, float, int]]

#: Keys in the usual row, which is key, length, text's key, length, text, score's key, four bytes and
#: perhaps kind's key, one byte.
_PIECE, _TEXT, _SCORE, _KIND = 1 << 3 | 2, 1 << 3 | 2, 2 << 3 | 5, 3 << 3
#: Bytes of such a row, behind its length, that are not its text: without a kind, and with one.
_WITHOUT, _WITH = 7, 9
#: Bytes of the two kinds of field that have a fixed size.
_FIXED = {1: 8, 5: 4}
_FLOAT = struct.Struct("<f")


@dataclass(frozen=True)
class PieceTable:
    """What a sentencepiece model knows: one row per piece, and how text is normalized before.

    ``scores`` are natural log probabilities; ``kinds`` are the constants of this module;
    ``charsmap`` is sentencepiece's compiled table of character replacements.
    """

    pieces: list[str]
    scores: list[float]
    kinds: list[int]
    charsmap: bytes = b""
    model_type: int = UNIGRAM
    byte_fallback: bool = False
    unk_id: int = 2
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True
    normalizer: str = field(default="nmt_nfkc", compare=False)


def read_model(data: bytes) -> PieceTable:
    """Read the bytes of a ``spiece.model``.

    Raises:
        CheckpointCorrupt: when the bytes end in the middle of a field or are no such message.
    """
    rows: Rows = []
    settings: dict[str, Value] = {}
    try:
        place = 0
        while place < len(data):
            place = _read_short(data, place, rows)
            number, value, place = next(_fields(data, place), (0, 0, place))
            if number == 1 and isinstance(value, bytes):
                rows.append(_read_piece(value))
            if number in (2, 3) and isinstance(value, bytes):
                settings |= {f"{number}.{inner}": found for inner, found, _ in _fields(value)}
    except (IndexError, KeyError, struct.error, ValueError) as error:
        raise CheckpointCorrupt(
            f"The sentencepiece model cannot be read ({len(data)} bytes: {error}). Fetch it again."
        ) from error
    if not rows:
        raise CheckpointCorrupt(
            f"The sentencepiece model holds no pieces ({len(data)} bytes). Fetch spiece.model again."
        )
    return _table(rows, settings)


def write_model(table: PieceTable) -> bytes:
    """Write a table as the bytes of a ``spiece.model`` that sentencepiece loads."""
    rows = zip(table.pieces, table.scores, table.kinds)
    body = b"".join(_bytes_field(1, _write_piece(text, score, kind)) for text, score, kind in rows)
    return body + _bytes_field(2, _trainer(table)) + write_normalizer(table)


def write_normalizer(table: PieceTable) -> bytes:
    """The part of a ``spiece.model`` that says what happens to a text before it is cut."""
    return _bytes_field(
        3,
        _bytes_field(1, table.normalizer.encode("utf-8"))
        + _bytes_field(2, table.charsmap)
        + _int_field(3, int(table.add_dummy_prefix))
        + _int_field(4, int(table.remove_extra_whitespaces))
        + _int_field(5, int(table.escape_whitespaces)),
    )


def _read_short(data: bytes, place: int, rows: Rows) -> int:
    """Reads, all at once, the run of rows of less than 128 bytes that begins at a place.

    Returns:
        The place behind them; the same place where there are none.
    """
    starts, end = [], len(data) - 1
    while place < end and data[place] == _PIECE and data[place + 1] < 0x80:
        starts.append(place)
        place += data[place + 1] + 2
    if place > len(data):  # left to be told where it ends
        place = starts.pop()
    if starts:
        _take_rows(data, np.array(starts), rows)
    return place


def _take_rows(data: bytes, starts: np.ndarray, rows: Rows) -> None:
    """Adds the rows that begin at these places, one behind the other."""
    seen = np.frombuffer(data + bytes(0x1FF), np.uint8)  # looks beyond the end find zeros
    sizes, lengths = seen[starts + 3].astype(np.int64), seen[starts + 1].astype(np.int64)
    ends, afters = starts + 4 + sizes, starts + 2 + lengths
    usual = (seen[starts + 2] == _TEXT) & (seen[ends] == _SCORE)
    usual &= (lengths == sizes + _WITHOUT) | ((lengths == sizes + _WITH) & (seen[afters - 2] == _KIND))
    kinds = np.where(lengths == sizes + _WITH, seen[afters - 1], NORMAL)[usual].tolist()
    scores = seen[ends[usual, None] + np.arange(1, 5)].view("<f4")[:, 0].tolist()
    found = zip(_texts(data, starts[usual] + 4, ends[usual]), scores, kinds)
    if usual.all():
        rows.extend(found)
        return
    for start, after, known in zip(starts.tolist(), afters.tolist(), usual.tolist()):
        rows.append(next(found) if known else _read_piece(data[start + 2 : after]))


def _texts(data: bytes, starts: np.ndarray, ends: np.ndarray) -> list[str]:
    """What stands between some places, each before the next: one decoding of all, zero bytes between."""
    block = np.frombuffer(data, np.uint8).copy()
    block[ends] = 0
    borders = np.zeros(len(block) + 1, np.int8)
    borders[starts] = 1
    borders[ends + 1] = -1
    inside = np.cumsum(borders, dtype=np.int8)[:-1].view(bool)
    texts: list[str] = block[inside].tobytes().decode("utf-8").split("\0")[:-1]
    if len(texts) == len(starts):
        return texts
    return [data[start:end].decode("utf-8") for start, end in zip(starts.tolist(), ends.tolist())]


def _table(rows: Rows, settings: dict[str, Value]) -> PieceTable:
    pieces, scores, kinds = ([*column] for column in zip(*rows))

    def whole(key: str, default: int) -> int:
        value = settings.get(key, default)
        return value if isinstance(value, int) else default

    charsmap, name = settings.get("3.2", b""), settings.get("3.1", b"")
    return PieceTable(
        pieces,
        scores,
        kinds,
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
        model_type=whole("2.3", UNIGRAM),
        byte_fallback=bool(whole("2.35", 0)),
        unk_id=kinds.index(UNKNOWN) if UNKNOWN in kinds else whole("2.40", 0),
        add_dummy_prefix=bool(whole("3.3", 1)),
        remove_extra_whitespaces=bool(whole("3.4", 1)),
        escape_whitespaces=bool(whole("3.5", 1)),
        normalizer=name.decode() if isinstance(name, bytes) else "",
    )


def _fields(data: bytes, place: int = 0) -> Iterator[tuple[int, Value, int]]:
    """Every field of one message from a place on: its number, an integer or the bytes it holds, its end."""
    end = len(data)
    while place < end:
        key = data[place]
        place += 1
        if key > 0x7F:
            key, place = _read_varint(data, place - 1)
        kind = key & 7
        if kind == 2:
            length = data[place]
            place += 1
            if length > 0x7F:
                length, place = _read_varint(data, place - 1)
        elif kind == 0:
            value, place = _read_varint(data, place)
            yield key >> 3, value, place
            continue
        else:
            length = _FIXED[kind]
        if place + length > end:
            raise ValueError(f"a field at byte {place} does not end")
        yield key >> 3, data[place : place + length], place + length
        place += length


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _read_piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for number, value, _ in _fields(data):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            (score,) = _FLOAT.unpack(value)
        elif number == 3 and isinstance(value, int):
            kind = value
    return text, score, kind


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are ten bytes of two's complement
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _int_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _write_piece(text: str, score: float, kind: int) -> bytes:
    body = _bytes_field(1, text.encode("utf-8")) + _varint(2 << 3 | 5) + _FLOAT.pack(score)
    return body if kind == NORMAL else body + _int_field(3, kind)


def _trainer(table: PieceTable) -> bytes:
    pad, eos = table.pieces[0], table.pieces[1]
    parts = [_int_field(3, table.model_type), _int_field(4, len(table.pieces))]
    parts += [
        _bytes_field(31, piece.encode("utf-8"))
        for piece, kind in zip(table.pieces, table.kinds)
        if kind == USER_DEFINED
    ]
    parts += [_int_field(35, int(table.byte_fallback)), _int_field(40, table.unk_id)]
    parts += [_int_field(41, -1), _int_field(42, 1), _int_field(43, 0)]
    parts += [_bytes_field(45, table.pieces[table.unk_id].encode("utf-8"))]
    parts += [_bytes_field(47, eos.encode("utf-8")), _bytes_field(48, pad.encode("utf-8"))]
    return b"".join(parts)
