"""Batches without end, in an order that a few numbers name exactly.

The order is a function of the seed and of a position; nothing of it is stored:

1. Epoch after epoch, every row comes once, shuffled by (seed, epoch).
2. This stream falls into pools. A pool is sorted by length and cut into the rows of one update each, so
that
   rows in a batch are of like length; then the updates of a pool are shuffled.
3. Each update's rows are dealt out to micro-batches and ranks.

Steps 1 and 2 know nothing of ranks: with the same `update_rows`, a run that goes on with another number of
processes sees the same rows in the same updates.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from pegasus.data.collate import collate
from pegasus.data.permutation import permuted
from pegasus.data.sources import Source
from pegasus.errors import BadSetting
from pegasus.spec.batch import Batch

Ints = npt.NDArray[np.int64]
#: (epoch, row) of each example of a batch.
Places = list[tuple[int, int]]

_POOL_ROWS = 16_384
_POOL_UPDATES = 64
_GROUP_ROWS = 32
_AHEAD = 2  # batches that each worker makes in advance


class Loader:
    """The batches of one rank.

    Args:
        source: the examples.
        batch_size: rows of one batch of this rank.
        update_rows: rows of one update, over all ranks and micro-batches; None: `batch_size` of every rank.
        seed: settles the order.
        shuffle: False keeps the order of the source, lengths and all.
        rank: the number of this process.
        world: how many processes there are.
        workers: processes that make batches in advance; 0 makes each when it is asked for.
        multiple: lengths are rounded up to a multiple of this.

    Raises:
        BadSetting: the rows of an update cannot be dealt out evenly.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        update_rows: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        multiple: int = 1,
    ) -> None:
        together = batch_size * world
        self.update_rows = together if update_rows is None else update_rows
        if batch_size < 1 or self.update_rows < 1 or self.update_rows % together:
            raise BadSetting(
                f"An update of {self.update_rows} rows cannot be dealt out to {world} processes in batches "
                f"of {batch_size}: it must be a multiple of {together}."
            )
        self.source, self.batch_size, self.seed, self.shuffle = source, batch_size, seed, shuffle
        self.rank, self.world, self._multiple = rank, world, multiple
        pool_updates = max(_POOL_UPDATES, _POOL_ROWS // self.update_rows) if shuffle else 1
        # Within an epoch, where that is possible: a row and itself are of like length too.
        pool_updates = max(min(pool_updates, len(source) // self.update_rows), 1)
        self._pool_rows = pool_updates * self.update_rows
        self._pool: tuple[int, Ints, Ints] | None = None
        self._taken = 0  # rows that all ranks together have taken
        if workers > (most := max(8, 4 * (os.cpu_count() or 1))):
            raise BadSetting(
                f"{workers:,} worker processes are more than this machine can use, with its "
                f"{os.cpu_count()} processors: set {most} at most, or 0 for none."
            )
        self._makers = _Makers(source, multiple, workers) if workers else None

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Batch:
        if self._makers is None:
            batch = make_batch(self.source, self._places(self._taken), self._multiple)
        else:
            batch = self._makers.take(self._taken, self._places, self.batch_size * self.world)
        self._taken += self.batch_size * self.world
        return batch

    def state(self) -> dict[str, Any]:
        """Return where it stands, as JSON can hold it; the same on all ranks.

        `rows` decides; `epoch` and `position` say the same for readers.
        """
        epoch, position = divmod(self._taken, len(self.source))
        return {"rows": self._taken, "epoch": epoch, "position": position, **self._identity()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a state says.

        Raises:
            BadSetting: the state is of another order: other data, another seed or another size of update.
        """
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise BadSetting(
                    f"The run was begun with {name} {state.get(name)!r} and would go on with {value!r}: "
                    "another order of rows. Go on with the same data and settings, or begin a new run."
                )
        if int(state["rows"]) % (self.batch_size * self.world):
            raise BadSetting(
                f"{state['rows']} rows are no whole number of batches of {self.batch_size} on {self.world} "
                "processes. Go on with the batch size and the processes it was begun with."
            )
        self._taken = int(state["rows"])
        if self._makers is not None:
            self._makers.forget()

    def close(self) -> None:
        """End the worker processes."""
        if self._makers is not None:
            self._makers.close()

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "size": len(self.source),
            "update_rows": self.update_rows,
            "shuffle": self.shuffle,
        }

    def _places(self, taken: int) -> Places:
        """The rows of this rank's batch after so many rows were taken by all."""
        pool, inside = divmod(taken, self._pool_rows)
        if self._pool is None or self._pool[0] != pool:
            self._pool = (pool, *self._order(pool))
        _, epochs, rows = self._pool
        mine = slice(inside + self.rank * self.batch_size, inside + (self.rank + 1) * self.batch_size)
        return list(zip(epochs[mine].tolist(), rows[mine].tolist()))

    def _order(self, pool: int) -> tuple[Ints, Ints]:
        """The epochs and rows of one pool, in order."""
        size = len(self.source)
        epochs, places = np.divmod(np.arange(pool * self._pool_rows, (pool + 1) * self._pool_rows), size)
        if not self.shuffle:
            return epochs, places
        rows = self._shuffled(epochs, places)
        updates = self._by_length(rows).reshape(-1, self.update_rows)
        order = np.random.default_rng([self.seed, pool]).permutation(updates).reshape(-1)
        return epochs[order], rows[order]

    def _shuffled(self, epochs: Ints, places: Ints) -> Ints:
        """The rows at these places of their epochs."""
        rows = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = permuted(places[here], len(self.source), (self.seed, int(epoch)))
        return rows

    def _by_length(self, rows: Ints) -> Ints:
        inputs, labels = self.source.sizes(rows)
        order = np.lexsort((labels, inputs))
        groups = np.arange(len(rows)) // (2 * min(self.update_rows, _GROUP_ROWS))
        by_length: Ints = order[np.lexsort((labels[order], groups))]
        return by_length


class TokenLoader(Loader):
    """Batches of as many rows as have about so many tokens, sources and targets together.

    A pool is sorted by length and cut into updates of equally many tokens, and each of them into as many
    batches as it has micro-batches and ranks. What ``Loader`` counts as a row is here a batch.

    Args:
        source: the examples.
        batch_tokens: tokens of one batch.
        update_batches: batches of one update, over all ranks and micro-batches.
        seed: settles the order.
        rank: the number of this process.
        world: how many processes there are.
        workers: as in ``Loader``.
        multiple: lengths are rounded up to a multiple of this.

    Raises:
        BadSetting: an update has fewer rows than batches, or cannot be dealt out evenly.
    """

    def __init__(
        self,
        source: Source,
        batch_tokens: int,
        *,
        update_batches: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        multiple: int = 1,
    ) -> None:
        given = {"seed": seed, "rank": rank, "world": world, "workers": workers, "multiple": multiple}
        super().__init__(source, 1, update_rows=update_batches, **given)  # type: ignore[arg-type]
        self._rows = min(_POOL_ROWS, len(source))
        if self._rows < update_batches:
            raise BadSetting(
                f"an update has {update_batches} batches and there are {len(source)} rows to learn from: "
                "lower run.accumulate, or take fewer processes"
            )
        self._update_tokens = batch_tokens * update_batches
        some = np.linspace(0, len(source) - 1, self._rows).astype(np.int64)
        tokens = float(np.add(*source.sizes(some)).sum())
        self._updates = int(np.clip(round(tokens / self._update_tokens), 1, self._rows // update_batches))
        self._pool_rows = self._updates * update_batches
        self._batches: tuple[int, list[Places]] | None = None

    def state(self) -> dict[str, Any]:
        """Return where it stands; ``rows`` counts batches, of which each pool has equally many."""
        epoch, position = divmod(self._taken * self._rows // self._pool_rows, len(self.source))
        return {"rows": self._taken, "epoch": epoch, "position": position, **self._identity()}

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "update_tokens": self._update_tokens}

    def _places(self, taken: int) -> Places:
        pool, inside = divmod(taken, self._pool_rows)
        if self._batches is None or self._batches[0] != pool:
            self._batches = pool, self._cut(pool)
        return self._batches[1][inside + self.rank]

    def _cut(self, pool: int) -> list[Places]:
        """The batches of a pool, in order."""
        numbers = np.arange(pool * self._rows, (pool + 1) * self._rows)
        epochs, places = np.divmod(numbers, len(self.source))
        rows = self._shuffled(epochs, places)
        inputs, labels = self.source.sizes(rows)
        order = np.lexsort((labels, inputs))
        ends = self._borders(np.cumsum((inputs + labels)[order]))
        chance = np.random.default_rng([self.seed, pool])
        batches: list[Places] = []
        for number in chance.permutation(self._updates):
            mine = order[ends[number] : ends[number + 1]]
            for first in range(self.update_rows):  # rows of like length go to different batches
                some = mine[first :: self.update_rows]
                batches.append(list(zip(epochs[some].tolist(), rows[some].tolist())))
        return batches

    def _borders(self, summed: Ints) -> list[int]:
        """Where updates of equally many tokens begin and end, each with a row for every batch at least."""
        least, borders = self.update_rows, [0]
        for number in range(1, self._updates):
            wanted = int(np.searchsorted(summed, summed[-1] * number / self._updates))
            most = len(summed) - (self._updates - number) * least
            borders.append(min(max(wanted, borders[-1] + least), most))
        return [*borders, len(summed)]


def once(source: Source, batch_size: int, *, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """Yield every row of this rank once, sorted by length; the last batch may be smaller."""
    inputs, labels = source.sizes(np.arange(len(source)))
    rows = np.lexsort((labels, inputs))[rank::world]
    for start in range(0, len(rows), batch_size):
        yield make_batch(source, [(0, int(row)) for row in rows[start : start + batch_size]])


def make_batch(source: Source, places: Places, multiple: int = 1) -> Batch:
    """Make one batch from its rows."""
    return collate([source.example(row, epoch) for epoch, row in places], source.pad, multiple)


def padding_share(batch: Batch) -> float:
    """Return the share of a batch that is padding, inputs and labels together."""
    filled = int((batch["labels"] != -100).sum()) + int(batch.get("attention_mask", np.zeros(0)).sum())
    places = batch["labels"].size + (batch["input_ids"].size if "input_ids" in batch else 0)
    return 1 - filled / places


class _Makers:
    """Worker processes that make batches in advance; what comes out is what one process would have made."""

    def __init__(self, source: Source, multiple: int, workers: int) -> None:
        # A started interpreter, not a copy of this one: a copy would share what other threads hold locked.
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), _begin_worker, (source, multiple)
        )
        self._ahead = workers * _AHEAD
        self._waiting: deque[tuple[int, Future[Batch]]] = deque()

    def take(self, taken: int, places: Any, step: int) -> Batch:
        """Return the batch after so many rows, and order the following ones."""
        nearest = self._waiting[-1][0] + step if self._waiting else taken
        while len(self._waiting) <= self._ahead:
            self._waiting.append((nearest, self._pool.submit(_work, places(nearest))))
            nearest += step
        place, batch = self._waiting.popleft()
        assert place == taken
        return batch.result()

    def forget(self) -> None:
        """Drop what was made for another place."""
        while self._waiting:
            self._waiting.popleft()[1].cancel()

    def close(self) -> None:
        """End the processes."""
        self.forget()
        self._pool.shutdown(cancel_futures=True)


_worker: tuple[Source, int] | None = None


def _begin_worker(source: Source, multiple: int) -> None:
    global _worker
    _worker = (source, multiple)


def _work(places: Places) -> Batch:
    assert _worker is not None
    return make_batch(_worker[0], places, _worker[1])
