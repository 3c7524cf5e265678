"""LevelDB's table of sorted keys and values, as far as the index of a TensorFlow checkpoint uses it.

A file is blocks and a footer. The footer names the index block, whose values name the blocks of data. In a
block each key gives only what differs from the key before. Every block carries its CRC32C. TensorFlow never
compresses this file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pegasus.checkpoint.bundle.checksum import Crc32c, masked
from pegasus.checkpoint.bundle.protobuf import Malformed, read_varint, write_varint

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER, _TRAILER = 48, 5
_BLOCK_SIZE = 4096  # bytes after which the writer begins a new block
#: A key is the name of a variable: a thousand letters are more than any has.
_LONGEST_KEY, _MOST_KEYS = 1024, 1 << 17


def read_table(data: bytes, crc: Crc32c) -> dict[str, bytes]:
    """The keys and values of a whole file.

    Raises:
        Malformed: it is damaged, no such table, or compressed.
    """
    if len(data) < _FOOTER or data[-8:] != _MAGIC:
        raise Malformed("it does not end as a table does: it is cut short or something else")
    footer = data[-_FOOTER:]
    place = _handle(footer, 0)[2]  # of the block of filters, which TensorFlow leaves empty
    start, size, _ = _handle(footer, place)
    found: dict[str, bytes] = {}
    last, end = b"", 0
    for _, value in _entries(_block(data, start, size, crc)):
        start, size, _ = _handle(value, 0)
        if start < end:  # blocks follow each other: a file cannot name one a thousand times
            raise Malformed("its blocks overlap")
        end = start + size
        for key, content in _entries(_block(data, start, size, crc)):
            if found and key <= last:
                raise Malformed("its keys are not in order")
            last = key
            found[_text(key)] = content
            if len(found) > _MOST_KEYS:
                raise Malformed(f"it has more than {_MOST_KEYS:,} keys")
    return found


def write_table(rows: Mapping[str, bytes], crc: Crc32c) -> bytes:
    """A whole file of these keys and values."""
    out = bytearray()
    index: list[tuple[bytes, bytes]] = []
    waiting: list[tuple[bytes, bytes]] = []
    for key, value in sorted((key.encode(), value) for key, value in rows.items()):
        waiting.append((key, value))
        if sum(len(one) + len(other) for one, other in waiting) >= _BLOCK_SIZE:
            index.append((key, _append(out, waiting, crc)))
            waiting = []
    if waiting:
        index.append((waiting[-1][0], _append(out, waiting, crc)))
    handles = _append(out, [], crc) + _append(out, index, crc)
    return bytes(out) + handles.ljust(_FOOTER - 8, b"\0") + _MAGIC


def _handle(data: bytes, place: int) -> tuple[int, int, int]:
    start, place = read_varint(data, place)
    size, place = read_varint(data, place)
    return start, size, place


def _block(data: bytes, start: int, size: int, crc: Crc32c) -> bytes:
    if start + size + _TRAILER > len(data) - _FOOTER:
        raise Malformed("a block lies beyond its end")
    content, trailer = data[start : start + size], data[start + size : start + size + _TRAILER]
    if masked(crc(crc(0, content), trailer[:1])) != int.from_bytes(trailer[1:], "little"):
        raise Malformed(f"the block at byte {start:,} does not have its checksum")
    if trailer[0]:
        raise Malformed("it is compressed, which TensorFlow does not do with checkpoints")
    return content


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if len(block) < 4 or end < 0:
        raise Malformed("a block is cut short")
    place, key = 0, b""
    while place < end:
        shared, place = read_varint(block, place)
        fresh, place = read_varint(block, place)
        size, place = read_varint(block, place)
        if shared > len(key) or shared + fresh > _LONGEST_KEY or place + fresh + size > end:
            raise Malformed("an entry does not fit into its block")
        key = key[:shared] + block[place : place + fresh]
        yield key, block[place + fresh : place + fresh + size]
        place += fresh + size


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:  # a slice of a variable that was spread over machines
        return key.decode("latin-1")


def _append(out: bytearray, rows: list[tuple[bytes, bytes]], crc: Crc32c) -> bytes:
    """Writes a block, each key in full, and returns its handle."""
    block, starts = bytearray(), [] if rows else [0]
    for key, value in rows:
        starts.append(len(block))
        block += b"\0" + write_varint(len(key)) + write_varint(len(value)) + key + value
    block += b"".join(start.to_bytes(4, "little") for start in [*starts, len(starts)])
    handle = write_varint(len(out)) + write_varint(len(block))
    checksum = masked(crc(crc(0, bytes(block)), b"\0"))
    out += block + b"\0" + checksum.to_bytes(4, "little")
    return handle
