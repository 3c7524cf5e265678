"""One process at work on a bulk job: claims parts, has their rows computed, and writes what is done.

A batch is said to be tried before it is begun, and its results are written when they are there: a kill
costs a batch for each worker at most. Rows of a batch that came to nothing are tried again alone, so that
the one that is to blame is found; after three tries it is an error, and the job goes on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from pegasus.cli.bulk.claims import Claim, Claims
from pegasus.cli.bulk.compute import Ends, Texts
from pegasus.cli.bulk.job import Job, unit_of
from pegasus.cli.bulk.pace import Pace
from pegasus.cli.bulk.part import TRIES, Part, Record
from pegasus.cli.formats import origin_of
from pegasus.cli.inputs import Input, Item
from pegasus.data.workers import Failed, Workers
from pegasus.errors import BadSetting, NotOffered, PegasusError

#: So many rows one after the other that fail three times each are not to blame themselves.
_FAILURES = 10
_POLL = 1.0
_MOST_NAMED = 20
_GONE = "the process that computed it was gone"


@dataclass(frozen=True)
class _Open:
    """A part under way.

    Attributes:
        number: of the part.
        part: its results.
        items: its rows.
    """

    number: int
    part: Part
    items: Sequence[Item]

    def batches(self, size: int) -> Iterator[list[int]]:
        """Yield rows that are computed together: alone those that were tried before, then by length."""
        rows = [row for row in self.part.left if isinstance(self.items[row].text, str)]
        yield from ([row] for row in rows if self.part.tries[row])
        fresh = [row for row in rows if not self.part.tries[row]]
        fresh.sort(key=lambda row: -len(str(self.items[row].text)))
        yield from (fresh[first : first + size] for first in range(0, len(fresh), size))

    def texts(self, rows: Sequence[int]) -> Texts:
        """Return their texts."""
        return [str(self.items[row].text) for row in rows]

    def hopeless(self) -> dict[int, Record]:
        """Return the records of rows that there is no (further) try for."""
        records: dict[int, Record] = {}
        for row in self.part.idle:
            item, tries = self.items[row], self.part.tries[row]
            if isinstance(item.text, PegasusError):
                records[row] = {**origin_of(item), "error": str(item.text)}
            elif tries >= TRIES:
                why = f"tried {tries} times without a result: {self.part.why.get(row, _GONE)}"
                records[row] = {**origin_of(item), "error": why, "tries": tries}
        return records


class BulkRun:
    """A process at work on a job.

    Args:
        job: the job.
        inputs: what it reads.
        claims: of this process.
        workers: what computes.
        batch_size: rows that are computed together.
        mine: numbers of the parts that it may take.
        pace: is told how far it is.
        say: takes lines for people.
    """

    def __init__(
        self,
        job: Job,
        inputs: Sequence[Input],
        claims: Claims,
        workers: Workers[Texts, Ends],
        *,
        batch_size: int,
        mine: range,
        pace: Pace,
        say: Callable[[str], None],
    ) -> None:
        self.job, self.inputs, self.claims, self.workers = job, inputs, claims, workers
        self.batch_size, self.mine, self.pace, self._say = batch_size, mine, pace, say
        self._open: dict[int, _Open] = {}
        self._flying: dict[int, tuple[_Open, list[int]]] = {}
        self._again: deque[tuple[_Open, list[int]]] = deque()
        self._taken: dict[int, Claim] = {}
        self._numbers = count()
        self._failures = self._named = 0
        self._last_why = ""

    def run(self) -> None:
        """Work until every part is done that it may take.

        Raises:
            PegasusError: nothing can be computed, read or written; what is done is kept.
        """
        left = [number for number in self.mine if not self.job.is_done(number)]
        try:
            while left:
                self._pass()
                left = self._wait(left)
        finally:
            for opened in self._open.values():
                opened.part.close()

    def _wait(self, left: list[int]) -> list[int]:
        """Wait for parts that others have; return those that are not done as soon as there is one to do."""
        waiting = False
        while left := [number for number in left if not self.job.is_done(number)]:
            for number in left:
                claim = self.claims.take(unit_of(number))
                if claim is not None:
                    self._taken[number] = claim
            if self._taken:
                return left
            if not waiting:
                parts = "part" if len(left) == 1 else "parts"
                self._say(
                    f"others are at the last {len(left):,} {parts}: waiting, to take over what they leave"
                )
            waiting = True
            self._check_job()
            time.sleep(_POLL)
        return left

    def _pass(self) -> None:
        """Read the input once, and compute the parts that nobody else has."""
        for opened in self._claimed():
            self._settle(opened)
            for rows in opened.batches(self.batch_size):
                self._make_room()
                if opened.number in self._open:
                    self._submit(opened, rows)
        while self._flying or self._again:
            self._make_room(to_the_end=True)

    def _claimed(self) -> Iterator[_Open]:
        for number, items in self.job.parts(self.inputs):
            if number not in self.mine or self.job.is_done(number):
                continue
            claim = self._taken.pop(number, None) or self.claims.take(unit_of(number))
            if claim is None:
                continue
            if self.job.is_done(number):  # between the two looks
                self.claims.release(claim)
                continue
            opened = _Open(number, Part(self.job.folder, claim, len(items)), items)
            self._open[number] = opened
            yield opened

    def _make_room(self, to_the_end: bool = False) -> None:
        """Give what is to be tried again, and take what comes, until there is room for more."""
        while self._again or self.workers.full or (to_the_end and self._flying):
            if self._again and not self.workers.full:
                opened, rows = self._again.popleft()
                if opened.number in self._open:
                    self._submit(opened, rows)
            elif (end := self.workers.next()) is not None:
                self._take(*end)

    def _submit(self, opened: _Open, rows: list[int]) -> None:
        if opened.part.claim.is_lost():
            self._leave(opened)
            return
        opened.part.begin(rows)
        number = next(self._numbers)
        self._flying[number] = (opened, rows)
        self.workers.submit(number, opened.texts(rows))

    def _take(self, number: int, end: Ends | Failed) -> None:
        opened, rows = self._flying.pop(number)
        if opened.number not in self._open:
            return  # another has it now
        if isinstance(end, Failed):
            self._fail(opened, rows, end.why)
        else:
            self._failures = 0
            records = {row: {**origin_of(opened.items[row]), **facts} for row, facts in zip(rows, end)}
            opened.part.add(records)
            self._name(opened, records)
        self._settle(opened)
        self.pace.tell({number: len(each.part.records) for number, each in self._open.items()})

    def _fail(self, opened: _Open, rows: Sequence[int], why: str) -> None:
        opened.part.fail(rows, why)
        for row in rows:
            if opened.part.tries[row] < TRIES:
                self._again.append((opened, [row]))
            else:
                self._failures += 1
                self._last_why = why

    def _settle(self, opened: _Open) -> None:
        """Write what is certain; finish a part that has nothing left."""
        records = opened.hopeless()
        if records:
            opened.part.add(records)
            self._name(opened, records)
        if not opened.part.left:
            self._check_job()
            if not opened.part.claim.is_lost():
                opened.part.finish()
            self._leave(opened)
        if self._failures >= _FAILURES:
            raise NotOffered(
                f"{_FAILURES} rows one after the other came to nothing in {TRIES} tries each "
                f"({self._last_why}): the fault is hardly theirs. Mend it and give the same command; these "
                "rows are errors."
            )

    def _name(self, opened: _Open, records: Mapping[int, Record]) -> None:
        for row, record in records.items():
            if "error" not in record:
                continue
            self._named += 1
            name, said = opened.items[row].name, str(record["error"])
            if self._named <= _MOST_NAMED:
                self._say(said if said.startswith(name) else f"{name}: {said}")
            elif self._named == _MOST_NAMED + 1:
                self._say("more rows have no summary; they stand in errors-*.jsonl")

    def _check_job(self) -> None:
        if not self.job.is_there():
            raise BadSetting(f"{self.job.folder} belongs to another job now: this one has stopped.")

    def _leave(self, opened: _Open) -> None:
        del self._open[opened.number]
        opened.part.close()
        self.claims.release(opened.part.claim)
