"""The msgpack format over a mapped file: a tree whose bytes stay where they are.

The msgpack package copies all it reads, which for the weights of a model is their size once more. A tree of
arrays needs a handful of kinds of values; numbers beside them (a step) are read too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pegasus.checkpoint.raw import Bytes

_DEEPEST = 64
_MOST_VALUES = 1 << 20  # of all kinds: a large model with its optimizer has some thousands
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
#: First byte → kind of what follows, and how many bytes its size has.
_SIZED = {
    0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4),
    0xC7: ("extension", 1), 0xC8: ("extension", 2), 0xC9: ("extension", 4),
    0xD9: ("text", 1), 0xDA: ("text", 2), 0xDB: ("text", 4),
    0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
}  # fmt: skip
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


@dataclass(frozen=True)
class Extension:
    """A value of a kind of its own.

    Attributes:
        kind: its number.
        data: its bytes, a view.
    """

    kind: int
    data: Bytes


def read_tree(data: Bytes) -> Any:
    """The one value that fills the data: dictionaries, lists, numbers, text, views of bytes, ``Extension``.

    Raises:
        ValueError: it is no such value, is cut short, or something follows.
    """
    reader = _Reader(data)
    value = reader.value(0)
    if reader.place != data.nbytes:
        raise ValueError(f"{data.nbytes - reader.place:,} bytes follow its end")
    return value


class _Reader:
    def __init__(self, data: Bytes) -> None:
        self.data, self.place, self.count = data, 0, 0

    def take(self, count: int) -> Bytes:
        end = self.place + count
        if end > self.data.nbytes:
            raise ValueError("it is cut short")
        view = self.data[self.place : end]
        self.place = end
        return view

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count).tobytes(), "big")

    def value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        self.count += 1
        if self.count > _MOST_VALUES:
            raise ValueError(f"it holds more than {_MOST_VALUES:,} values")
        first = self.number(1)
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 0x100
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            return struct.unpack(_NUMBERS[first], self.take(struct.calcsize(_NUMBERS[first])).tobytes())[0]
        kind, size = self._sized(first)
        match kind:
            case "text":
                return self.take(size).tobytes().decode()
            case "bytes":
                return self.take(size)
            case "list":
                return [self.value(depth + 1) for _ in range(size)]
            case "map":
                return dict(self._pairs(size, depth + 1))
        number = self.number(1)
        return Extension(number if number < 0x80 else number - 0x100, self.take(size))

    def _sized(self, first: int) -> tuple[str, int]:
        if first < 0x90:
            return "map", first & 0x0F
        if first < 0xA0:
            return "list", first & 0x0F
        if first < 0xC0:
            return "text", first & 0x1F
        if first in _FIXED_EXTENSIONS:
            return "extension", _FIXED_EXTENSIONS[first]
        if first not in _SIZED:
            raise ValueError(f"no value begins with the byte {first:#x}")
        kind, width = _SIZED[first]
        return kind, self.number(width)

    def _pairs(self, count: int, depth: int) -> Iterator[tuple[Any, Any]]:
        for _ in range(count):
            key = self.value(depth)
            if not isinstance(key, str | int):
                raise ValueError(f"a key is a {type(key).__name__}")
            yield key, self.value(depth)
