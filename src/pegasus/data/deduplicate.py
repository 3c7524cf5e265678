"""Which documents were there already: a set of fingerprints in little memory."""

from __future__ import annotations

import hashlib
from array import array


class Seen:
    """A set of texts by 64 bits of their hash, 11 to 22 bytes a text.

    That two different texts are taken for one happens with n² / 2⁶⁵ of n texts: of a hundred million, in
    one corpus of four thousand.
    """

    def __init__(self) -> None:
        self._bits = 12
        self._table = array("Q", bytes(8 << self._bits))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: str) -> bool:
        """Remember a text; return whether it is new."""
        return self._put(fingerprint(text) or 1)  # 0 marks a free place

    def _put(self, number: int) -> bool:
        last = (1 << self._bits) - 1
        place = number & last
        while self._table[place]:
            if self._table[place] == number:
                return False
            place = (place + 1) & last
        self._table[place] = number
        self._count += 1
        if self._count * 4 > 3 << self._bits:
            self._grow()
        return True

    def _grow(self) -> None:
        before = self._table
        self._bits += 1
        self._table = array("Q", bytes(8 << self._bits))
        self._count = 0
        for number in before:
            if number:
                self._put(number)


def fingerprint(text: str) -> int:
    """Return 64 bits of the hash of a text."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
