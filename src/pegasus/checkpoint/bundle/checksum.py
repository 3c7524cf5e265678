"""CRC32C, with the mask that TensorFlow and LevelDB put over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pegasus.checkpoint.strangers import needing

#: The sum of data so far, and what follows them (bytes, or an array of them) → the sum of both.
Crc32c = Callable[[int, Any], int]

_MASK = 0xA282EAD8


def crc32c() -> Crc32c:
    """The function ``(sum so far, bytes) -> sum``.

    Raises:
        BackendMissing: the google-crc32c package is not installed.
    """
    with needing("TensorFlow's checkpoints carry checksums of google-crc32c"):
        import google_crc32c
    return google_crc32c.extend  # type: ignore[no-any-return]


def masked(value: int) -> int:
    """A sum as it is stored: a sum over data that hold sums would be weak otherwise."""
    return ((value >> 15 | value << 17) + _MASK) & 0xFFFF_FFFF
