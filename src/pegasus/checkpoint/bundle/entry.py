"""What the index of a TensorFlow checkpoint says of it as a whole, and of each variable."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pegasus.checkpoint.bundle.protobuf import (
    Malformed,
    bytes_field,
    fixed32_field,
    nested,
    read_fields,
    signed,
    varint_field,
)
from pegasus.checkpoint.raw import ITEM_SIZES

#: TensorFlow's numbers of types → their names here; the others (text, complex numbers) are no weights.
TYPES = {
    1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 9: "I64", 10: "BOOL", 14: "BF16",
    17: "U16", 19: "F16", 22: "U32", 23: "U64",
}  # fmt: skip
_NUMBERS = {name: number for number, name in TYPES.items()}
_MOST_AXES = 16


@dataclass(frozen=True)
class Header:
    """What is said under the empty key.

    Attributes:
        shards: how many files of data there are.
        big_endian: whether numbers lie highest byte first.
    """

    shards: int = 1
    big_endian: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Out of the bytes of the message."""
        fields = dict(read_fields(data))
        return cls(signed(fields.get(1, 0)), bool(signed(fields.get(2, 0))))

    def serialized(self) -> bytes:
        """The bytes of the message."""
        return varint_field(1, self.shards) + bytes_field(3, varint_field(1, 1))  # version: producer 1


@dataclass(frozen=True)
class Entry:
    """Where a variable lies and what it is.

    Attributes:
        dtype: TensorFlow's number of the type.
        shape: the sizes.
        shard: the number of the file.
        offset: its first byte there.
        size: its bytes.
        crc: their masked CRC32C.
        cut: whether it is one of several slices of a variable.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    cut: bool = field(default=False)

    @property
    def name(self) -> str | None:
        """The type's name here; None where it is no number."""
        return TYPES.get(self.dtype)

    @classmethod
    def parse(cls, data: bytes) -> Entry:
        """Out of the bytes of the message.

        Raises:
            Malformed: it is none, or its numbers contradict each other.
        """
        values: dict[int, int] = {}
        shape: tuple[int, ...] = ()
        cut = False
        for number, value in read_fields(data):
            if number == 2:
                shape = _shape(nested(value))
            elif number == 7:
                cut = True
            else:
                values[number] = signed(value)
        entry = cls(
            dtype=values.get(1, 0),
            shape=shape,
            shard=values.get(3, 0),
            offset=values.get(4, 0),
            size=values.get(5, 0),
            crc=values.get(6, 0),
            cut=cut,
        )
        entry._check()
        return entry

    def _check(self) -> None:
        if min((self.shard, self.offset, self.size, *self.shape)) < 0:
            raise Malformed("a size or a place is negative")
        name = self.name
        if name is not None and not self.cut and self.size != math.prod(self.shape) * ITEM_SIZES[name]:
            raise Malformed(f"{self.size:,} bytes cannot be {name} of shape {list(self.shape)}")

    def serialized(self) -> bytes:
        """The bytes of the message."""
        axes = b"".join(bytes_field(2, varint_field(1, size)) for size in self.shape)
        return (
            varint_field(1, self.dtype)
            + bytes_field(2, axes)
            + varint_field(3, self.shard)
            + varint_field(4, self.offset)
            + varint_field(5, self.size)
            + fixed32_field(6, self.crc)
        )


def number_of(dtype: str) -> int:
    """TensorFlow's number of a type."""
    return _NUMBERS[dtype]


def _shape(data: bytes) -> tuple[int, ...]:
    axes = [dict(read_fields(nested(value))) for number, value in read_fields(data) if number == 2]
    if len(axes) > _MOST_AXES:
        raise Malformed(f"a shape has {len(axes)} axes")
    return tuple(signed(axis.get(1, 0)) for axis in axes)
