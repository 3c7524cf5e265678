"""One part of a bulk job while it is computed: what is done, and what is being tried.

Beside the finished parts, in `.pegasus/`, stands a log a turn (`00003.0.log`; see `claims`) of JSON lines:

- `{"try": [5, 9]}`: these rows are being computed; it is there before they are begun, so that a row which
  kills the process has been counted;
- `{"failed": [5, 9], "why": "..."}`: nothing came of that;
- `{"row": 5, "record": {...}}`: what came of it.

Whoever has the part next reads the logs of all turns. Whole lines are true, half a line is none. A try
without an end counts where its process did not release the part: then it was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pegasus.cli.bulk.claims import Claim, is_released
from pegasus.cli.formats import to_line
from pegasus.cli.log import append_whole
from pegasus.cli.replacement import write_all
from pegasus.cli.streams import naming

#: How often a row is tried: the first time among others, then alone.
TRIES = 3
WORK = ".pegasus"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """What came of rows.

    Attributes:
        rows: how many they are.
        errors: those without a summary.
        tries: how often one was begun; above `rows` where something was computed again.
    """

    rows: int = 0
    errors: int = 0
    tries: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.rows + other.rows, self.errors + other.errors, self.tries + other.tries)


class Part:
    """A part that this process has claimed.

    Args:
        folder: of the job.
        claim: on it.
        rows: how many it has.

    Attributes:
        records: what came out, by row (numbered from 0 within the part).
        tries: how often each row was begun to no end.
        why: what became of those tries, where it is known.
        begun: how often any row was begun.

    Raises:
        WriteFailed: its log cannot be made.
    """

    def __init__(self, folder: Path, claim: Claim, rows: int) -> None:
        self.folder, self.claim, self.rows = folder, claim, rows
        self.records: dict[int, Record] = {}
        self.tries: Counter[int] = Counter()
        self.why: dict[int, str] = {}
        self.begun = 0
        self._under_way: set[int] = set()
        for turn in range(claim.turn + 1):
            self._read(turn)
        self._path = self._log(claim.turn)
        with naming(self._path):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)

    def _log(self, turn: int) -> Path:
        return self.folder / WORK / f"{self.claim.unit}.{turn}.log"

    def _read(self, turn: int) -> None:
        begun: Counter[int] = Counter()
        failed: Counter[int] = Counter()
        for line in _whole_lines(self._log(turn)):
            begun.update(line.get("try", ()))
            failed.update(line.get("failed", ()))
            self.why.update(dict.fromkeys(line.get("failed", ()), str(line.get("why"))))
            if "row" in line:
                self.records.setdefault(line["row"], line["record"])
        self.begun += begun.total()
        self.tries += failed if is_released(self.claim.folder, self.claim.unit, turn) else begun

    @property
    def left(self) -> list[int]:
        """The rows that nothing has come of."""
        return [row for row in range(self.rows) if row not in self.records]

    @property
    def idle(self) -> list[int]:
        """Those of them that are not being computed."""
        return [row for row in self.left if row not in self._under_way]

    def begin(self, rows: Sequence[int]) -> None:
        """Say that these are being computed.

        Raises:
            WriteFailed: that cannot be written.
        """
        self._add({"try": list(rows)})
        self.begun += len(rows)
        self.tries.update(rows)
        self._under_way.update(rows)

    def fail(self, rows: Sequence[int], why: str) -> None:
        """Say that nothing came of these."""
        self._add({"failed": list(rows), "why": why})
        self.why.update(dict.fromkeys(rows, why))
        self._under_way.difference_update(rows)

    def add(self, records: Mapping[int, Record]) -> None:
        """Take what came out, all of it or nothing.

        Raises:
            WriteFailed: it cannot be written.
        """
        self._add(*({"row": row, "record": record} for row, record in records.items()))
        self.records.update(records)
        self._under_way.difference_update(records)

    def _add(self, *entries: Record) -> None:
        with naming(self._path, "What was done before is kept: the same command goes on from there."):
            append_whole(self._descriptor, "".join(f"{to_line(entry)}\n" for entry in entries).encode())

    def finish(self) -> Counts:
        """Write the part where it belongs, and take its logs away.

        The part's own file comes last: a part that has one is done.
        """
        assert not self.left
        records = [self.records[row] for row in range(self.rows)]
        errors = [record for record in records if "error" in record]
        counts = Counts(self.rows, len(errors), self.begun)
        if errors:
            self._place(errors_file(self.folder, self.claim.unit), errors)
        self._place(counts_file(self.folder, self.claim.unit), [vars(counts)])
        self._place(part_file(self.folder, self.claim.unit), records)
        self.close()
        for turn in range(self.claim.turn + 1):
            self._log(turn).unlink(missing_ok=True)
        return counts

    def _place(self, place: Path, records: Sequence[Record]) -> None:
        # Of this turn alone: one who has lost the part may be writing the same at this moment.
        draft = self.folder / WORK / f"{place.name}.{self.claim.turn}.draft"
        with naming(place, "What was done before is kept: the same command goes on from there."):
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                write_all(descriptor, "".join(f"{to_line(record)}\n" for record in records).encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            draft.replace(place)

    def close(self) -> None:
        """Leave it as it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def part_file(folder: Path, unit: str) -> Path:
    """Where a part stands when it is done."""
    return folder / f"part-{unit}.jsonl"


def errors_file(folder: Path, unit: str) -> Path:
    """Where those of its rows stand once more that have no summary."""
    return folder / f"errors-{unit}.jsonl"


def counts_file(folder: Path, unit: str) -> Path:
    """Where its counts are."""
    return folder / WORK / f"{unit}.done"


def read_counts(folder: Path, unit: str) -> Counts | None:
    """Return what came of a part; None where it is not done."""
    if not part_file(folder, unit).exists():
        return None
    with contextlib.suppress(StopIteration, TypeError):
        return Counts(**next(_whole_lines(counts_file(folder, unit))))
    records = list(_whole_lines(part_file(folder, unit)))  # somebody has tidied up
    return Counts(len(records), sum("error" in record for record in records), len(records))


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                yield found
