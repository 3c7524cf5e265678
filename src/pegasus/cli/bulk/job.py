"""A bulk job's folder: what it was begun with, and how its input falls into parts.

::

    out/
    ├── job.json             what results depend on; how many rows there are; what each part is made of
    ├── part-00000.jsonl     finished parts, a line for each row; in turn they are the input's order
    ├── part-00001.jsonl
    ├── errors-00001.jsonl   those of its rows again that have no summary, where there are any
    └── .pegasus/            claims and unfinished parts, until all is done (`claims`, `part`)

A row is known by its place in the input, not by its id: rows with equal ids have a line each.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pegasus.cli.bulk.claims import Claim, Claims
from pegasus.cli.bulk.options import JOB
from pegasus.cli.bulk.part import WORK, part_file
from pegasus.cli.inputs import Input, Item, read_items
from pegasus.cli.log import differences
from pegasus.cli.replacement import replacing
from pegasus.cli.streams import naming
from pegasus.data.deduplicate import Seen
from pegasus.errors import BadData, BadSetting

#: Rows of a part: so few that one is soon done, so many that texts of like length are found among them.
PART_ROWS = 1000
_FORMAT = 1
_PLAN = "job"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A job that was begun.

    Attributes:
        folder: where its results go.
        run: what they depend on, by the names that a person knows it by.
        part_rows: rows of each part but the last.
        rows: of all of them.
        digests: of what each part is made of.
    """

    folder: Path
    run: Mapping[str, Any]
    part_rows: int
    rows: int
    digests: tuple[str, ...]

    def parts(self, inputs: Sequence[Input]) -> Iterator[tuple[int, list[Item]]]:
        """Read the input and yield each part's number and rows.

        Raises:
            BadSetting: the input is not what it was when the job was begun.
        """
        number = -1
        for number, (items, digest) in enumerate(_cut(inputs, self.part_rows)):
            if number >= len(self.digests) or digest != self.digests[number]:
                raise self._changed(f"{items[0].name} to {items[-1].name}")
            yield number, items
        if number + 1 != len(self.digests):
            raise self._changed(f"row {(number + 1) * self.part_rows + 1:,} and on")

    def _changed(self, what: str) -> BadSetting:
        return BadSetting(
            f"The input has changed since {self.folder / JOB} was made ({what}): give the input as it was, "
            "name another folder, or add --overwrite to begin anew."
        )

    @property
    def units(self) -> list[str]:
        """The names of all parts."""
        return [unit_of(number) for number in range(len(self.digests))]

    def rows_of(self, number: int) -> int:
        """How many rows a part has."""
        return min(self.part_rows, self.rows - number * self.part_rows)

    def is_done(self, number: int) -> bool:
        """Whether a part stands in its place."""
        return part_file(self.folder, unit_of(number)).exists()

    def is_there(self) -> bool:
        """Whether the folder still belongs to it."""
        found = _read(self.folder)
        return found is not None and found == self


def unit_of(number: int) -> str:
    """Return the name of a part."""
    return f"{number:05d}"


def open_job(
    folder: Path,
    inputs: Sequence[Input],
    run: Mapping[str, Any],
    claims: Claims,
    *,
    part_rows: int | None = None,
    overwrite: bool = False,
    report: Report,
) -> Job:
    """Open the job of a folder, or begin it: one of those who come together counts the rows.

    Args:
        folder: of the job.
        inputs: what is read.
        run: what results depend on.
        claims: of this process, in the folder's `.pegasus`.
        part_rows: rows of a part; None takes those of the job.
        overwrite: whether another job's results may be thrown away.
        report: is told what a person should know.

    Raises:
        BadSetting: it belongs to another job, or holds parts of an unknown one.
    """
    run = {"inputs": [each.name for each in inputs], **run}
    if (job := _mine(folder, run, part_rows, overwrite)) is not None:
        return job
    waiting = False
    while (claim := claims.take(_PLAN)) is None:
        if (job := _mine(folder, run, part_rows, overwrite)) is not None:
            return job
        if not waiting:
            report("another process counts the rows: waiting for it")
        waiting = True
        time.sleep(0.2)
    try:
        # Another may have begun it between the two looks.
        return _mine(folder, run, part_rows, overwrite) or _begin(
            folder, inputs, run, part_rows or PART_ROWS, claim, report
        )
    finally:
        claims.release(claim)


def _mine(folder: Path, run: Mapping[str, Any], part_rows: int | None, overwrite: bool) -> Job | None:
    """The folder's job where it is this one; None where there is none, or it is to be thrown away."""
    job = _read(folder)
    if job is None:
        if not overwrite and ((folder / JOB).exists() or any(folder.glob("part-*.jsonl"))):
            raise BadSetting(
                f"{folder} holds parts, and no {JOB} that says what of: name another folder, or add "
                "--overwrite to throw them away."
            )
        return None
    found = "; ".join(differences(job.run, run))
    if not found and part_rows not in (None, job.part_rows):
        found = f"--part-rows was {job.part_rows} and is {part_rows}"
    if not found:
        return job
    if overwrite:
        return None
    raise BadSetting(
        f"{folder} holds results of another job ({found}): give the same command to go on with it, name "
        "another folder, or add --overwrite to throw them away."
    )


def read_job(folder: Path) -> Job:
    """Return the job of a folder.

    Raises:
        BadSetting: it holds none.
    """
    job = _read(folder)
    if job is None:
        raise BadSetting(f"{folder} is no folder of a bulk job: {JOB} is missing there, or damaged.")
    return job


def _read(folder: Path) -> Job | None:
    try:
        found = json.loads((folder / JOB).read_bytes())
        if found.pop("format") != _FORMAT:
            return None
        found["digests"] = tuple(found["digests"])
        return Job(folder, **found)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _begin(
    folder: Path,
    inputs: Sequence[Input],
    run: Mapping[str, Any],
    part_rows: int,
    claim: Claim,
    report: Report,
) -> Job:
    """Count the rows, and throw away what another job has left."""
    with naming(folder):
        _clear(folder, claim)
    report("counting the rows")
    repeated = _Repeated()
    rows, digests = 0, []
    for items, digest in _cut(inputs, part_rows):
        repeated.look(items)
        rows += len(items)
        digests.append(digest)
    if repeated.count:
        report(repeated.line())
    job = Job(folder, run, part_rows, rows, tuple(digests))
    told = {"format": _FORMAT, "run": run, "part_rows": part_rows, "rows": rows, "digests": digests}
    with replacing(folder / JOB) as write:
        write(f"{json.dumps(told)}\n".encode())
    loaded = _read(folder)
    return job if loaded is None else loaded


def _clear(folder: Path, claim: Claim) -> None:
    (folder / JOB).unlink(missing_ok=True)
    stale = [*folder.glob("part-*.jsonl"), *folder.glob("errors-*.jsonl"), *(folder / WORK).iterdir()]
    for path in stale:
        if not path.name.startswith(f"{claim.unit}."):
            path.unlink(missing_ok=True)


class _Repeated:
    """Ids that come more than once in a file."""

    def __init__(self) -> None:
        self.count, self.first = 0, ""
        self._seen = Seen()

    def look(self, items: Sequence[Item]) -> None:
        for item in items:
            # 1 and "1" are two ids, as JSON tells them apart.
            key = json.dumps([item.file, item.id], default=str)
            if item.line is not None and not self._seen.add(key):
                self.count += 1
                self.first = self.first or f"{item.id!r} of {item.name}"

    def line(self) -> str:
        rows = "row has" if self.count == 1 else "rows have"
        return (
            f"{self.count:,} {rows} an id that an earlier row has too (first {self.first}): each row keeps "
            "its own line, and `file` and `line` tell them apart"
        )


def _cut(inputs: Sequence[Input], part_rows: int) -> Iterator[tuple[list[Item], str]]:
    """Yield the rows of each part, and what they are known by."""
    items = read_items(inputs)
    while part := list(islice(items, part_rows)):
        known = hashlib.sha256()
        for item in part:
            known.update(json.dumps([item.file, item.line, item.id, str(item.text)], default=str).encode())
        yield part, known.hexdigest()[:16]


def check_inputs(inputs: Sequence[Input]) -> None:
    """Refuse what cannot be read twice.

    Raises:
        BadSetting: standard input, or a pipe.
    """
    for each in inputs:
        path = each.path
        if each.name == "-" or (path is not None and path.exists() and not path.is_file()):
            name = "stdin" if each.name == "-" else each.name
            raise BadSetting(
                f"A bulk job reads its input more than once, and {name} can be read once only: write it to "
                "a file first."
            )


def make_job_folder(target: str, read: Sequence[str]) -> Path:
    """Make the folder of a job.

    Args:
        target: its name.
        read: what is read, as it was named.

    Raises:
        BadSetting: the output is no folder, or lies in one that is read.
        WriteFailed: it cannot be made.
    """
    folder = Path(target)
    if target in ("", "-") or (folder.exists() and not folder.is_dir()):
        shown = "stdout" if target in ("", "-") else target
        raise BadSetting(f"A bulk job writes a folder, and {shown} is none: give one with -o DIR/.")
    for name in read:
        if Path(name).is_dir() and folder.resolve().is_relative_to(Path(name).resolve()):
            raise BadSetting(
                f"{target} lies in {name}, which is read: its results would be read too. Name a folder "
                "elsewhere."
            )
    with naming(target):
        os.makedirs(folder / WORK, exist_ok=True)
    return folder


def check_found(inputs: Sequence[Input]) -> None:
    """Refuse a job that would consist of a name that stands for nothing.

    Raises:
        BadData: not one of the inputs can be read.
    """
    faults = [each.source for each in inputs if isinstance(each.source, BadData)]
    if faults and len(faults) == len(inputs):
        raise faults[0]
