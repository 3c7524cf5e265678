"""What the verbs that carry out a job file share: their options, the progress line, the last words."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

from pegasus.cli.exits import OK, say, visible

#: Carries out a job, given what says lines to people; returns its outcome and the exit code of a stop.
Begin = Callable[[Callable[[str, bool], None]], tuple[Any, int]]


def declare_job(parser: argparse.ArgumentParser) -> None:
    """Declare the job file and changes to it."""
    parser.add_argument("job", metavar="JOB.toml", help="the job file; docs/ describes every key")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="change a value of the job; may be given again",
    )


def run_job(begin: Begin, arguments: argparse.Namespace) -> int:
    """Carry out a job and say how it ended."""
    from pegasus.errors import BackendMissing

    if importlib.util.find_spec("pydantic") is None:
        raise BackendMissing(
            "Job files need pydantic, which is not installed: pip install 'pegasus-summarizer[train]'"
        )
    line = ProgressLine(quiet=arguments.quiet)
    try:
        outcome, exit_when_stopped = begin(line.report)
    finally:
        line.end()
    others_speak = os.environ.get("RANK", "0") != "0"  # torchrun numbers its processes
    if outcome.ending == "stopped":
        if not others_speak:
            say(f"stopped and saved after step {outcome.step:,}; the same command goes on from there")
        return exit_when_stopped
    if not (arguments.quiet or others_speak):
        reason = "" if outcome.ending == "done" else ", for it got no better"
        best = "" if outcome.best is None else f"; the best is in {outcome.best}"
        say(f"ended after step {outcome.step:,}{reason}: the model is in {outcome.model}{best}")
    return OK


class ProgressLine:
    """Lines on stderr; on a terminal a passing line is replaced by the next one.

    Args:
        quiet: say nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._open = False

    def report(self, text: str, passing: bool) -> None:
        """Say a line."""
        if self._quiet:
            return
        start = "\r\x1b[K" if self._open else ""
        self._open = passing and self._live
        print(start + visible(text), end="" if self._open else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the last line standing."""
        if self._open:
            print(file=sys.stderr)
            self._open = False
