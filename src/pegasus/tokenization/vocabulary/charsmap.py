"""Which characters sentencepiece's table of replacements looks at together.

The table is a trie over UTF-8 ("double array" of the darts-clone library): a node's child for a byte
stands at the node's base, xor that byte, and bears the byte as its label. It begins with its size in
bytes; the replacements follow, each ended by a zero byte.
"""

from __future__ import annotations

import struct

import numpy as np

_BLANK = 0x20
_HEADER = struct.Struct("<I")


def leaves_words_alone(charsmap: bytes, marker: str) -> bool:
    """Whether normalizing a text is normalizing each of its words between blanks.

    It is unless a replacement looks at a blank and its neighbours together, or writes the space marker.
    """
    if not charsmap:
        return True
    (size,) = _HEADER.unpack_from(charsmap)
    units = np.frombuffer(charsmap, "<u4", size // 4, _HEADER.size)
    return marker.encode() not in charsmap[_HEADER.size + size :] and not _joins_blanks(units)


def _joins_blanks(units: np.ndarray) -> bool:
    """Whether a key of the trie has a blank and something else."""
    bases = np.arange(len(units), dtype=np.uint32) ^ ((units >> 10) << ((units & 512) >> 6))
    labels = units & 0x800000FF
    blanks = np.flatnonzero(labels == _BLANK)
    alone = bases[0] ^ _BLANK
    if alone in blanks:
        others = np.arange(1, 256)
        if np.any(labels[bases[alone] ^ others] == others):
            return True
    return _reached(blanks[blanks != alone], bases, labels)


def _reached(nodes: np.ndarray, bases: np.ndarray, labels: np.ndarray) -> bool:
    """Whether any of these units can be walked to from the root; unused ones look like nodes."""
    seen = np.zeros(len(bases), bool)
    while len(nodes):
        parents = np.isin(bases, nodes ^ labels[nodes]) & ~seen
        if parents[0]:
            return True
        seen |= parents
        nodes = np.flatnonzero(parents & (labels < 256))
    return False
