"""Distil a model into a smaller one, as a job file says: docs/distillation.md describes every key.

The student is cut out of its teacher, and learns from pairs, from what the teacher writes, and from its
logits, hidden states and attentions, in any mix. A job that was begun goes on from its newest whole
checkpoint. SIGTERM or Ctrl-C saves and ends it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pegasus.cli.jobs import declare_job, run_job

_EXAMPLES = """\
examples:
  pegasus distill job.toml
  pegasus distill job.toml --set student.decoder_layers=4 --set objective.distillation.logits=0.8
  pegasus inspect runs/student/model --against google/pegasus-xsum
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    declare_job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Carry out the job and return the exit code."""

    def begin(report: object) -> tuple[object, int]:
        from pegasus.training.distill import distill, read_distill_job

        job = read_distill_job(Path(arguments.job), arguments.set)
        return distill(job, report), job.run.exit_when_stopped  # type: ignore[arg-type]

    return run_job(begin, arguments)
