"""What a run says of itself: a line of JSON for every event, curves for TensorBoard, a line for people."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pegasus.errors import BackendMissing

#: Takes a line for people; it is told whether the next line may replace it.
Report = Callable[[str, bool], None]


def silent(line: str, passing: bool) -> None:
    """Say nothing."""


class Journal:
    """Writes events as they come; of a resumed run, what was written after its checkpoint is dropped.

    Args:
        file: JSON lines, one an event: its ``step``, ``event``, ``time`` (seconds since 1970) and numbers.
        step: where the run begins or goes on.
        report: is given a line for people.
        tensorboard: a folder for event files of TensorBoard, or None.

    Raises:
        BackendMissing: TensorBoard is asked for and not installed.
    """

    def __init__(
        self, file: Path, step: int = 0, report: Report = silent, tensorboard: Path | None = None
    ) -> None:
        self.file, self.report = file, report
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        _drop_later(file, step)
        self._curves = None if tensorboard is None else _Curves(tensorboard)

    def write(self, event: str, step: int, numbers: Mapping[str, Any]) -> None:
        """Add an event."""
        now = time.time()
        record = {"step": step, "event": event, "time": round(now, 3), **_finite(numbers)}
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(record) + "\n")
        if self._curves is not None:
            self._curves.write(event, step, numbers, now)

    def close(self) -> None:
        """Finish the curves."""
        if self._curves is not None:
            self._curves.close()


def read_journal(file: Path) -> list[dict[str, Any]]:
    """All events; a last line that a killed process left half written is not one."""
    events = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def progress_line(step: int, steps: int | None, numbers: Mapping[str, float], seconds_left: float) -> str:
    """One line that tells how a run goes; where a deadline ends it, no number of steps is known."""
    of = "" if steps is None else f"/{steps:,}"
    return (
        f"step {step:,}{of}  loss {numbers['loss']:.4f}  "
        f"{numbers['tokens_per_second']:,.0f} tokens/s  {numbers['memory'] / 2**30:.2f} GiB  "
        f"{duration(seconds_left)} left"
    )


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 45 s, 12:34, 3:25:45."""
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def _drop_later(file: Path, step: int) -> None:
    kept = [json.dumps(event) + "\n" for event in read_journal(file) if event["step"] <= step]
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text("".join(kept), encoding="utf-8")
    draft.replace(file)


def _finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }


class _Curves:
    """Scalars in the event files of TensorBoard, written by its own package, which needs no framework."""

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise BackendMissing(
                "TensorBoard curves need tensorboard, which is not installed: "
                "pip install 'pegasus-summarizer[train]', or set tensorboard = false"
            )
        writers = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        self._events = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summaries = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        self._writer = writers.EventFileWriter(str(folder))

    def write(self, event: str, step: int, numbers: Mapping[str, Any], now: float) -> None:
        values = [
            self._summaries.Summary.Value(tag=f"{event}/{name}", simple_value=value)
            for name, value in numbers.items()
            if isinstance(value, int | float)
        ]
        summary = self._summaries.Summary(value=values)
        self._writer.add_event(self._events.Event(wall_time=now, step=step, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
