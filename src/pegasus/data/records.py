"""What flows through this room: documents, pairs, examples; a batch is that of ``spec/batch.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Document:
    """A text to learn from.

    Attributes:
        text: the text.
        id: what its source calls it, else the number of its row.
        file: where it was found.
        line: the 1-based line or row there.
    """

    text: str
    id: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Pair:
    """A text and what was written about it.

    Attributes:
        document: the text.
        summaries: one reference or more, the main one first.
        id: what its source calls it, else the number of its row.
        file: where it was found.
        line: the 1-based line or row there.
    """

    document: str
    summaries: tuple[str, ...]
    id: str = ""
    file: str = ""
    line: int = 0

    @property
    def summary(self) -> str:
        """The main reference."""
        return self.summaries[0]


@dataclass(frozen=True)
class Example:
    """What one row of a batch is made from.

    Attributes:
        input_ids: [S] the source, end of sequence included unless it was cut off; None for a model that
            only continues texts.
        labels: [T] the target, likewise.
        mlm_labels: [S] the id that was hidden at each place of the source, -100 elsewhere; None without
            MLM.
    """

    input_ids: Ids | None
    labels: Ids
    mlm_labels: Ids | None = None


class Rows(Sequence[Ids]):
    """Many sequences of ids end to end in one array: four bytes an id and eight a row.

    Args:
        flat: all ids.
        ends: [rows] where each row ends in it.
    """

    def __init__(self, flat: Ids, ends: npt.NDArray[np.int64]) -> None:
        self.flat, self.ends = flat, ends

    @classmethod
    def join(cls, rows: Sequence[Sequence[int] | Ids]) -> Rows:
        """Copy sequences into one array."""
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        flat = np.empty(int(sizes.sum()), np.int32)
        ends = np.cumsum(sizes)
        for row, end in zip(rows, ends):
            flat[end - len(row) : end] = row
        return cls(flat, ends)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """[rows] ids in each row."""
        return np.diff(self.ends, prepend=0)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Ids:  # type: ignore[override]
        if not 0 <= index < len(self.ends):
            raise IndexError(f"row {index} of {len(self.ends)}")
        return self.flat[self.ends[index - 1] if index else 0 : self.ends[index]]

    def __iter__(self) -> Iterator[Ids]:
        return (self[index] for index in range(len(self)))
