"""Pre-training by gap sentences: prepared shards → a model that fills in what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pegasus.data.sources import ShardSource
from pegasus.training.assembly import Outcome, TrainingSetup, run_job
from pegasus.training.jobs import PretrainJob, make_job, merge, raw_job
from pegasus.training.journal import Report, silent
from pegasus.training.presets import of_pretraining


def read_pretrain_job(file: Path, changes: Sequence[str] = ()) -> PretrainJob:
    """Read a job file, over what its preset says.

    Raises:
        BadSetting: the file, a key or a value cannot be used.
    """
    values = raw_job(file, changes)
    return make_job(PretrainJob, merge(of_pretraining(values.get("preset")), values), str(file))


def pretrain(job: PretrainJob, report: Report = silent) -> Outcome:
    """Carry out a job; in a folder where it was begun, go on with it.

    Args:
        job: what to do.
        report: is given lines for people; the second argument says whether the next line may replace it.

    Raises:
        BadSetting: the shards have no scores for the strategy, or the job does not fit what was begun.
    """
    shop = TrainingSetup(job)
    train = ShardSource(job.data.shards, job.example, seed=job.run.seed)
    validation = None
    if job.data.validation is not None:
        limit = job.data.validation_limit
        validation = ShardSource(job.data.validation, job.example, seed=job.run.seed, limit=limit)
    return run_job(shop, train, validation, report)
