"""`pegasus summarize` as a bulk job: its options → a job, workers, and what is said at the end."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pegasus.cli.bulk.claims import Claims
from pegasus.cli.bulk.compute import Ends, Opening, Texts
from pegasus.cli.bulk.job import Job, check_found, check_inputs, make_job_folder, open_job
from pegasus.cli.bulk.pace import Pace
from pegasus.cli.bulk.part import WORK, Counts
from pegasus.cli.bulk.run import BulkRun
from pegasus.cli.exits import FAILED, OK, PARTLY, say
from pegasus.cli.inputs import Input
from pegasus.data.workers import Here, Workers
from pegasus.errors import BadSetting


def run_bulk(
    arguments: argparse.Namespace,
    inputs: Sequence[Input],
    identity: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> int:
    """Do this process's share of a bulk job, and return the exit code.

    Args:
        arguments: of the command.
        inputs: what is read.
        identity: what results depend on.
        settings: of each summary.
    """
    if arguments.format not in (None, "jsonl"):
        raise BadSetting("A bulk job writes JSON lines: leave out --format.")
    if arguments.part_rows is not None and arguments.part_rows < 1:
        raise BadSetting(f"--part-rows must be at least 1; found {arguments.part_rows}.")
    shard = _shard(arguments.shard)
    check_inputs(inputs)
    check_found(inputs)
    if arguments.engine is not None:
        from pegasus.data.cluster import import_ray

        import_ray()  # before millions of rows are counted
    folder = make_job_folder(arguments.output, arguments.files)
    report: Callable[[str], None] = _silence if arguments.quiet else say
    claims = Claims(folder / WORK)
    workers: Workers[Texts, Ends] | None = None
    try:
        job = open_job(
            folder,
            inputs,
            identity,
            claims,
            part_rows=arguments.part_rows,
            overwrite=arguments.overwrite,
            report=report,
        )
        mine = range(len(job.digests))[shard[0] - 1 :: shard[1]]
        pace = Pace(job, mine, report)
        _say_before(job, mine, pace.look(), report)
        if pace.look().rows < sum(map(job.rows_of, mine)):
            workers = _workers(arguments, identity, settings, report)
            size = settings["batch_size"]
            run = BulkRun(job, inputs, claims, workers, batch_size=size, mine=mine, pace=pace, say=say)
            run.run()
        counts = pace.look()
    finally:
        if workers is not None:
            workers.close()
        claims.close()
    _tidy(job)
    _say_after(job, pace, counts, report)
    return OK if not counts.errors else FAILED if counts.errors == counts.rows else PARTLY


def _silence(message: str) -> None:
    """Takes the place of `say` for those who want quiet."""


def _shard(given: str | None) -> tuple[int, int]:
    """Return which, and of how many."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", given or "1/1")
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise BadSetting(f"--shard is I/N, such as 1/8 to 8/8; found {given}.")
    return int(match[1]), int(match[2])


def _workers(
    arguments: argparse.Namespace,
    identity: Mapping[str, Any],
    settings: Mapping[str, Any],
    report: Callable[[str], None],
) -> Workers[Texts, Ends]:
    opening = Opening(
        model=arguments.model,
        weights=identity["its weights"],
        backend=arguments.backend,
        device=arguments.device,
        dtype=arguments.dtype,
        threads=arguments.threads,
        settings=settings,
    )
    if arguments.engine is None:
        return Here(opening)
    from pegasus.data.cluster import Actors, RayPool

    # Several actors share a machine: each computes on the cores that are set aside for it.
    actors = Actors(arguments.ray_actors, cpus=arguments.threads or 1, device=arguments.device)
    return RayPool(opening.from_elsewhere(arguments.threads or 1), actors, arguments.ray_address, report)


def _say_before(job: Job, mine: range, done: Counts, report: Callable[[str], None]) -> None:
    rows = sum(map(job.rows_of, mine))
    if not job.rows:
        report("there is no row in the input")
    elif not mine:
        report(f"this shard has no part: the job has {len(job.digests):,}")
    elif done.rows:
        report(f"{done.rows:,} of {rows:,} rows were done already: going on")


def _say_after(job: Job, pace: Pace, counts: Counts, report: Callable[[str], None]) -> None:
    parts = "1 part" if len(pace.mine) == 1 else f"{len(pace.mine):,} parts"
    again = counts.tries - counts.rows
    rows = "1 row" if counts.rows == 1 else f"{counts.rows:,} rows"
    told = f"{rows} in {parts} of {job.folder}"
    told += f", {counts.errors:,} without a summary (errors-*.jsonl)" if counts.errors else ""
    report(told + (f", {again:,} begun again" if again > 0 else "") + pace.line())


def _tidy(job: Job) -> None:
    """Take claims and logs away where all parts are done, of this shard and all others."""
    if not all(map(job.is_done, range(len(job.digests)))):
        return
    for ending in ("claim", "log", "draft"):
        for path in Path(job.folder / WORK).glob(f"*.{ending}"):
            with contextlib.suppress(OSError):
                path.unlink()
