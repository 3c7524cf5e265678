"""Weights that are no numbers: found while a checkpoint is read, before a model answers with them.

Infinity and NaN are the numbers with all bits of the exponent set. As whole numbers they are the greatest
ones: as signed those that are positive, as unsigned those that are negative. So two maxima find them, of a
block at a time, which the second finds in the processor's cache.

Looking at all of a checkpoint would take a fifth of the time of its load. A training that fails leaves
whole tensors behind that are no numbers, so a load looks at a part of each, and at all of the small ones;
the rest is looked at when an answer was no number (``check_weights``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import CheckpointCorrupt

#: The width in bytes of a type, and the bits of its exponent.
_EXPONENTS = {
    "F16": (2, 0x7C00),
    "BF16": (2, 0x7F80),
    "F32": (4, 0x7F80_0000),
    "F64": (8, 0x7FF0_0000_0000_0000),
}
_BLOCK = 1 << 17  # bytes


def check_weights(folder: Path) -> None:
    """Look at every number of a checkpoint.

    Raises:
        CheckpointCorrupt: names the first tensor that holds NaN or infinity.
    """
    for name, raw in open_checkpoint(folder).tensors.items():
        refuse_not_finite(name, raw, every=1)
        raw.release()


def refuse_not_finite(name: str, raw: RawTensor, every: int = 16) -> None:
    """Refuse a tensor that holds NaN or infinity.

    Args:
        name: what to call it.
        raw: its bytes. Types that have no such values pass unread.
        every: look at the first block of 128 KiB, at each so many further ones, and at the last; 1: at all.

    Raises:
        CheckpointCorrupt: says how many of its numbers are none.
    """
    if raw.dtype not in _EXPONENTS:
        return
    width, exponent = _EXPONENTS[raw.dtype]
    data = raw.data  # of a matrix that has to be turned it is made anew each time
    signed, unsigned = data.view(f"<i{width}"), data.view(f"<u{width}")
    negative = exponent | 1 << (8 * width - 1)
    step = _BLOCK // width
    starts = range(0, len(signed), step)
    for start in (*starts[::every], *starts[-1:]):
        here = slice(start, start + step)
        if signed[here].max() >= exponent or unsigned[here].max() >= negative:
            break
    else:
        return
    wrong = int(np.count_nonzero((unsigned & unsigned.dtype.type(exponent)) == exponent))
    raise CheckpointCorrupt(
        f"{wrong:,} of the {len(signed):,} numbers of {name} are NaN or infinite, and so would every "
        "answer be: the training that made this checkpoint failed, or it is damaged. Take an earlier one."
    )
