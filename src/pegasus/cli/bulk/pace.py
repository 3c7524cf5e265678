"""How fast a bulk job goes, and how long it still takes, on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pegasus.cli.bulk.job import Job, unit_of
from pegasus.cli.bulk.part import Counts, read_counts

#: Seconds between two lines.
EVERY = 10.0


class Pace:
    """Says from time to time how far a job is, all of its workers together.

    Args:
        job: the job.
        mine: the parts that are looked at.
        say: takes a line.
        clock: seconds.
    """

    def __init__(
        self, job: Job, mine: range, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.job, self.mine, self._say, self._clock = job, mine, say, clock
        self._done: dict[int, Counts] = {}
        self._total = sum(job.rows_of(number) for number in mine)
        self._began = self._told = clock()
        self._before: int | None = None

    def look(self) -> Counts:
        """Return what the finished parts hold."""
        for number in self.mine:
            if number not in self._done:
                counts = read_counts(self.job.folder, unit_of(number))
                if counts is not None:
                    self._done[number] = counts
        return sum(self._done.values(), Counts())

    def line(self) -> str:
        """Return in words how fast it went from the first batch on; "" where nothing was computed."""
        done, seconds = self.look().rows - (self._before or 0), self._clock() - self._began
        return "" if self._before is None or done < 1 else f", {done / max(seconds, 1e-9):.1f} rows/s"

    def tell(self, under_way: Mapping[int, int]) -> None:
        """Say it, if it was not said just now.

        Args:
            under_way: rows that are done of the parts that this process is at.
        """
        now = self._clock()
        if self._before is not None and now - self._told < EVERY:
            return
        done = self.look().rows + sum(
            rows for number, rows in under_way.items() if number not in self._done
        )
        if self._before is None:  # the rate is of what is done from here on
            self._before, self._began, self._told = done, now, now
            return
        self._told = now
        rate = (done - self._before) / max(now - self._began, 1e-9)
        left = f", {in_words((self._total - done) / rate)} left" if rate > 0 else ""
        self._say(f"{done:,} of {self._total:,} rows, {rate:.1f} rows/s{left}")


def in_words(seconds: float) -> str:
    """Return a time as one reads it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
