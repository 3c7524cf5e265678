"""How the work of a step is cut into programs: sizes of blocks, by reasoning until a GPU has been asked.

A card has some 130 processors, a kernel in a recorded graph begins some two microseconds after the one
before, and a processor draws some 40 bytes a nanosecond when 32 KB are on their way to it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """Sizes of blocks and limits between ways.

    Attributes:
        few_rows: up to so many rows the products are the kernels of ``products``; above PyTorch's.
        norm_rows: up to so many rows each program of a product normalizes all rows itself; above the norm
            is written once. At 16 rows of 1,024 numbers a program reads 64 KB more, from the card's cache.
        norm_width: the most numbers a row of which a program holds all at once, in its registers.
        columns: of a product a program computes. 16: 192 programs for queries, keys and values of
            pegasus-large, 64 for what is added to the residual.
        wide_columns: the same where the norm is written once.
        depth: of a product that is taken in a turn of its loop.
        splits: parts that the depth of a product for the residual is cut into, above ``norm_rows``.
        places: of a memory that are looked at in a turn.
        places_whole: places up to which one program looks at them all.
        source: places of a source that are looked at in a turn.
        programs: so many programs of cross-attention are wanted; with fewer the source is cut into parts.
        vocabulary_depth: as ``depth``, for the output layer.
    """

    few_rows: int = 64
    norm_rows: int = 16
    norm_width: int = 1024
    columns: int = 16
    wide_columns: int = 32
    depth: int = 256
    splits: int = 4
    places: int = 64
    places_whole: int = 256
    source: int = 64
    programs: int = 128
    vocabulary_depth: int = 128
