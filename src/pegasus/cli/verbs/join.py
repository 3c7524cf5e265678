"""Join the parts of a bulk job into one file, in the order of its input.

DIR is the folder that `pegasus summarize --bulk -o DIR` wrote; several are the folders of shards that were
computed apart. Parts that are missing are named, and nothing is written.
"""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pegasus.cli.exits import OK, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pegasus.cli.bulk.job import Job

_EXAMPLES = """\
examples:
  pegasus join summaries/ -o summaries.jsonl
  pegasus join shard-1/ shard-2/ -o summaries.jsonl
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of one bulk job")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the file of all rows; - is stdout"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def run(arguments: argparse.Namespace) -> int:
    """Join the parts and return the exit code."""
    from pegasus.cli.bulk.job import read_job
    from pegasus.errors import BadSetting

    jobs = [read_job(Path(folder)) for folder in arguments.folders]
    for job in jobs[1:]:
        if (job.run, job.digests) != (jobs[0].run, jobs[0].digests):
            raise BadSetting(
                f"{jobs[0].folder} and {job.folder} belong to different jobs: join each alone."
            )
    parts = _parts(jobs)
    with _output(arguments.output, parts, overwrite=arguments.overwrite) as write:
        for number, part in enumerate(parts):
            _copy(part, jobs[0].rows_of(number), write)
    if not arguments.quiet:
        say(f"{jobs[0].rows:,} rows of {len(parts):,} parts in {_named(arguments.output)}")
    return OK


def _named(output: str) -> str:
    return "stdout" if output == "-" else output


@contextmanager
def _output(output: str, parts: Sequence[Path], *, overwrite: bool) -> Iterator[Callable[[bytes], None]]:
    """Yield what takes the lines.

    Raises:
        BadSetting: a file is there already, or cannot be one.
    """
    from pegasus.cli.replacement import replacing, resolved
    from pegasus.cli.streams import speak_utf8, write_out
    from pegasus.errors import BadSetting

    if output == "-":
        speak_utf8()
        yield lambda line: write_out(line.decode("utf-8"))
        return
    place = resolved(Path(output))
    if place.is_dir():
        raise BadSetting(f"{place} is a folder: name a file.")
    if any(place.exists() and place.samefile(part) for part in parts):
        raise BadSetting(f"{place} is one of the parts: name another file.")
    if place.exists() and not overwrite:
        raise BadSetting(f"{place} exists already: add --overwrite to replace it.")
    with replacing(place) as write:
        yield write


def _copy(part: Path, rows: int, write: Callable[[bytes], None]) -> None:
    """Copy a part.

    Raises:
        BadSetting: it was changed since it was made.
    """
    from pegasus.errors import BadSetting

    with part.open("rb") as stream:
        for line in stream:
            write(line)
            rows -= 1
    if rows:
        raise BadSetting(
            f"{part} does not hold a line for each of its rows: delete it, and give the command of the job "
            "again."
        )


def _parts(jobs: list[Job]) -> list[Path]:
    """Return the file of each part.

    Raises:
        BadSetting: some are not there.
    """
    from pegasus.cli.bulk.part import part_file
    from pegasus.errors import BadSetting

    found: list[Path] = []
    missing: list[str] = []
    for unit in jobs[0].units:
        there = [path for job in jobs if (path := part_file(job.folder, unit)).exists()]
        found += there[:1]
        missing += [] if there else [unit]
    if missing:
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5:,} more" if len(missing) > 5 else "")
        folders = ", ".join(str(job.folder) for job in jobs)
        raise BadSetting(
            f"{len(missing):,} of {len(jobs[0].units):,} parts are not there ({named}): give the command "
            f"of the job again, which goes on, or name the folders that hold them beside {folders}."
        )
    return found
