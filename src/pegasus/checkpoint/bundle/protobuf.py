"""Protocol buffers on the wire: the numbers and messages that a checkpoint's index is made of."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes, of 64 bits


class Malformed(ValueError):
    """Bytes that are no such message, table or number; whoever opened the file says which file it was."""


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where the next thing begins."""
    value = 0
    for count in range(_LONGEST_VARINT):
        if place + count >= len(data):
            raise Malformed("a number is cut short")
        byte = data[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + count + 1
    raise Malformed("a number has more than 64 bits")


def write_varint(value: int) -> bytes:
    """The same number as bytes."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in their order: number and value, a whole number or bytes."""
    place = 0
    while place < len(data):
        key, place = read_varint(data, place)
        kind, number = key & 7, key >> 3
        if kind == _VARINT:
            value, place = read_varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = read_varint(data, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise Malformed(f"a field has the wire type {kind}")
        content = data[place : place + size]
        if len(content) != size:
            raise Malformed("a field is cut short")
        place += size
        yield number, content if kind == _BYTES else int.from_bytes(content, "little")


def signed(value: int | bytes) -> int:
    """What an int32 or int64 field says."""
    if not isinstance(value, int):
        raise Malformed("bytes stand where a number should")
    return value - (1 << 64) if value >= 1 << 63 else value


def nested(value: int | bytes) -> bytes:
    """The bytes of a message in a message."""
    if not isinstance(value, bytes):
        raise Malformed("a number stands where a message should")
    return value


def varint_field(number: int, value: int) -> bytes:
    """A field with a number; nothing where it is zero, which is what an absent one means."""
    return write_varint(number << 3 | _VARINT) + write_varint(value) if value else b""


def bytes_field(number: int, content: bytes) -> bytes:
    """A field with a message or bytes."""
    return write_varint(number << 3 | _BYTES) + write_varint(len(content)) + content


def fixed32_field(number: int, value: int) -> bytes:
    """A field with four bytes."""
    return write_varint(number << 3 | _FIXED32) + value.to_bytes(4, "little") if value else b""
