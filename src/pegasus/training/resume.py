"""A folder in which a run was begun: what it was begun with, and whether a job may go on there.

A run goes on when the same job is given again. Everything that decides what is learned must then be what it
was; how often something is written, how far the run goes and where it is computed may change. So the
comparison comes before anything in the folder is touched.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pegasus.errors import BadSetting
from pegasus.spec.files import write_whole
from pegasus.spec.kinds import shown
from pegasus.training.jobs import Job, make_job
from pegasus.training.sections import MOST_UPDATES
from pegasus.training.toml import to_toml

log = logging.getLogger(__name__)

FILE = "job.toml"

#: What may change while a run is under way. Of ``run`` the rest decides which rows an update sees.
_FREE = {
    "evaluation.batch",
    "pseudo.batch",
    "pseudo.cache",
    "pseudo.part",
    "placement.device",
    "placement.spread",
    "placement.gradient_checkpointing",
    "placement.packing",
    "placement.compile",
    *(
        f"run.{key}"
        for key in (
            "steps", "minutes", "workers", "log_every", "measure_every", "evaluate_every", "save_every",
            "keep", "patience", "tensorboard", "exit_when_stopped",
        )
    ),
}  # fmt: skip


def check_begun(job: Job) -> None:
    """Refuse a job that would go on with a run that was begun with other settings.

    Raises:
        BadSetting: the folder cannot be used, or holds a run of other settings; each is named.
    """
    differing = list(differences(job))
    ruling = [line for name, line in differing if name not in _FREE]
    if ruling:
        raise BadSetting(
            f"{job.output} holds a run that was begun with other settings: {'; '.join(ruling)}. Go on with "
            "those it was begun with, or give the new run an output of its own. Nothing was changed."
        )


def check_finished(job: Job, step: int) -> None:
    """Refuse to carry out a job that differs from the one that is done, where nothing is left to be done.

    Raises:
        BadSetting: names what differs.
    """
    if differing := [line for _, line in differences(job)]:
        ends = {"run.minutes": job.run.minutes is not None, "run.steps": job.run.steps < MOST_UPDATES}
        raise BadSetting(
            f"the run in {job.output} ended after step {step:,} and has nothing left to do, but the job "
            f"differs from the one it was: {'; '.join(differing)}. Raise "
            f"{' and '.join(name for name, rules in ends.items() if rules)} to go on, or give the new run "
            "an output of its own. Nothing was changed."
        )


def keep_job(job: Job) -> None:
    """Write the job beside its results."""
    write_whole(Path(job.output) / FILE, to_toml(job.model_dump()).encode("utf-8"))


def make_output(job: Job) -> Path:
    """The folder of the run, made where it is not there.

    Raises:
        BadSetting: it cannot be made or written into.
    """
    place = Path(job.output)
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe = place / f".{FILE}.probe"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as problem:
        raise BadSetting(
            f"output {job.output} cannot be written ({problem.strerror or problem}): name a folder that can"
        ) from None
    return place


def differences(job: Job) -> Iterator[tuple[str, str]]:
    """Each key that a run in the job's folder was begun with another value of, and the two in words."""
    earlier = _earlier(job)
    if earlier is None:
        return
    before, now = _flat(earlier.model_dump()), _flat(job.model_dump())
    for name in sorted(before.keys() | now.keys()):
        if name != "output" and before.get(name) != now.get(name):
            yield name, f"{name} was {shown(before.get(name))} and is {shown(now.get(name))}"


def _earlier(job: Job) -> Job | None:
    """The job of the folder; None where nothing came of one yet."""
    place = Path(job.output)
    try:
        if not (place / FILE).is_file() or not _left_something(place):
            return None
        values = tomllib.loads((place / FILE).read_text(encoding="utf-8"))
    except OSError as problem:
        raise BadSetting(
            f"output {job.output} cannot be read ({problem.strerror}): name another folder"
        ) from None
    except ValueError:
        log.warning("%s is no TOML, so the job is not compared with it", place / FILE)
        return None
    try:
        return make_job(type(job), values, str(place / FILE))
    except BadSetting as problem:
        raise BadSetting(
            f"{place} holds a run of another kind of job ({problem}): give this one an output of its own"
        ) from None


def _left_something(place: Path) -> bool:
    return any((place / name).is_dir() for name in ("model", "best")) or any(
        (place / "checkpoints").glob("step-*")
    )


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Tables as one, keys joined by dots; lists and tuples are the same, as in a file."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            found |= _flat(value, f"{name}.")
        elif value is not None:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found
