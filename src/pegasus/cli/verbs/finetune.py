"""Fine-tune a model on pairs of texts, as a job file says.

A job that was begun goes on from its newest whole checkpoint. SIGTERM or Ctrl-C saves and ends it.
Several processes: `torchrun --nproc-per-node 2 -m pegasus finetune JOB.toml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pegasus.cli.jobs import declare_job, run_job

_EXAMPLES = """\
examples:
  pegasus finetune job.toml
  pegasus finetune job.toml --set run.steps=200 --set optim.rate=5e-4 --set output=runs/try
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    declare_job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the job and return the exit code."""

    def begin(report: object) -> tuple[object, int]:
        from pegasus.training.finetune import finetune, read_finetune_job

        job = read_finetune_job(Path(arguments.job), arguments.set)
        return finetune(job, report), job.run.exit_when_stopped  # type: ignore[arg-type]

    return run_job(begin, arguments)
