"""Several sources of examples as one, each as often as its share says; and sources that say a length.

An epoch of a mixture is as long as that the source which lasts longest at its share is read once; the
others are read again and again in it. So it is numbered like any source, and a run goes on exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pegasus.data.records import Example
from pegasus.data.sources import Source
from pegasus.errors import BadSetting

Ints = npt.NDArray[np.int64]
_MOST_ROWS = 2**40


class MixtureSource:
    """Examples of several sources.

    Args:
        sources: theirs.
        shares: how often each is taken; they need not add up to 1.

    Raises:
        BadSetting: a share is not above 0.
    """

    def __init__(self, sources: Sequence[Source], shares: Sequence[float]) -> None:
        if not sources or not min(shares) > 0:
            raise BadSetting(f"shares of a mixture are above 0; found {list(shares)}")
        self.sources, self.pad = tuple(sources), sources[0].pad
        sizes = np.array([len(source) for source in sources], np.int64)
        portions = np.array(shares, np.float64) / np.sum(shares)
        rows = np.max(sizes / portions)
        if rows > _MOST_ROWS:
            raise BadSetting(f"shares of a mixture are {list(shares)}: one is too small to be met")
        self.slots = np.maximum(np.rint(portions * rows).astype(np.int64), 1)
        self.slots[np.argmax(sizes / portions)] = sizes[np.argmax(sizes / portions)]
        self._ends, self._sizes = np.cumsum(self.slots), sizes
        #: How often each is read in an epoch, begun rounds included.
        self._rounds = -(-self.slots // sizes)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def sizes(self, indices: Ints) -> tuple[Ints, Ints]:
        """Return the lengths of inputs and of targets."""
        which, _, rows = self._places(np.asarray(indices, np.int64))
        inputs, labels = np.zeros(len(which), np.int64), np.zeros(len(which), np.int64)
        for number, source in enumerate(self.sources):
            mine = which == number
            if mine.any():
                inputs[mine], labels[mine] = source.sizes(rows[mine])
        return inputs, labels

    def example(self, index: int, epoch: int) -> Example:
        """Return one example; a row that comes again in an epoch is drawn anew where it is drawn."""
        which, turns, rows = (int(one[0]) for one in self._places(np.array([index], np.int64)))
        return self.sources[which].example(rows, epoch * int(self._rounds[which]) + turns)

    def _places(self, indices: Ints) -> tuple[Ints, Ints, Ints]:
        """The source of each slot, how often it was read before, and the row."""
        which = np.searchsorted(self._ends, indices, side="right")
        turns, rows = np.divmod(indices - (self._ends - self.slots)[which], self._sizes[which])
        return which, turns, rows


@dataclass(frozen=True)
class LengthTokens:
    """A token before the source that says how long its target is, so that a length can be asked for.

    Attributes:
        limits: tokens of a target, EOS included, up to which each token stands; one more stands for all
            that is longer.
        first: the id of the first; the others follow it. The ids 4 to 104 are reserved for such uses.
        share: of the examples that are told.
    """

    limits: tuple[int, ...] = (18, 36, 60)
    first: int = 4
    share: float = 0.5

    def __post_init__(self) -> None:
        if list(self.limits) != sorted(set(self.limits)) or not self.limits or self.limits[0] < 1:
            raise BadSetting(f"limits of lengths must ascend from 1; found {list(self.limits)}")
        if not 4 <= self.first <= 104 - len(self.limits):
            raise BadSetting(f"the tokens of lengths are among the ids 4 to 104; found first={self.first}")
        if not 0 < self.share <= 1:
            raise BadSetting(
                f"the share that is told a length is above 0 and at most 1; found {self.share}"
            )


class ToldSource:
    """The examples of a source, some of which say how long their target is.

    Args:
        source: theirs.
        lengths: which tokens say what.
        max_source: ids of an input at most: the token costs one that is cut the one before its EOS.
        seed: with epoch and number it settles who is told.
    """

    def __init__(self, source: Source, lengths: LengthTokens, max_source: int, seed: int) -> None:
        self.source, self.lengths, self.max_source, self.seed = source, lengths, max_source, seed
        self.pad = source.pad

    def __len__(self) -> int:
        return len(self.source)

    def sizes(self, indices: Ints) -> tuple[Ints, Ints]:
        """Return the lengths of inputs and of targets."""
        inputs, labels = self.source.sizes(indices)
        return np.minimum(inputs + 1, self.max_source), labels

    def example(self, index: int, epoch: int) -> Example:
        """Return one example; whether it is told is drawn anew each epoch."""
        found = self.source.example(index, epoch)
        drawn = np.random.default_rng([self.seed, epoch, index, 1]).random()
        if found.input_ids is None or drawn >= self.lengths.share:
            return found
        which = int(np.searchsorted(self.lengths.limits, len(found.labels)))
        token = np.array([self.lengths.first + which], np.int32)
        ids = found.input_ids
        if len(ids) >= self.max_source:
            ids = np.delete(ids, self.max_source - 2)[: self.max_source - 1]
        hidden = found.mlm_labels
        if hidden is not None:
            hidden = np.concatenate([np.full(1, -100, np.int32), hidden])[: len(ids) + 1]
        return Example(np.concatenate([token, ids]), found.labels, hidden)
