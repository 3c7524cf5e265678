"""Pre-train a model by gap sentences, as a job file says; `pegasus prepare` makes what it reads.

A job that was begun goes on from its newest whole checkpoint. SIGTERM or Ctrl-C saves and ends it.
Several processes: `torchrun --nproc-per-node 2 -m pegasus pretrain JOB.toml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pegasus.cli.jobs import declare_job, run_job

_EXAMPLES = """\
examples:
  pegasus prepare corpus.jsonl --tokenizer google/pegasus-large --output shards
  pegasus pretrain job.toml --set data.shards=shards
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    declare_job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the job and return the exit code."""

    def begin(report: object) -> tuple[object, int]:
        from pegasus.training.pretrain import pretrain, read_pretrain_job

        job = read_pretrain_job(Path(arguments.job), arguments.set)
        return pretrain(job, report), job.run.exit_when_stopped  # type: ignore[arg-type]

    return run_job(begin, arguments)
