"""Holding many conversations at once: everybody's jobs of a round go into common batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from pegasus.errors import PegasusError
from pegasus.summarizer.batches import pack
from pegasus.summarizer.document import Conversation
from pegasus.summarizer.records import Summary
from pegasus.summarizer.settings import Settings
from pegasus.summarizer.writer import Draft, Job, Writer

logger = logging.getLogger(__name__)

#: Is told how many jobs of a round are done, and of how many.
Progress = Callable[[int, int], None]


def hold(
    conversations: Sequence[Conversation],
    writer: Writer,
    settings: Settings,
    progress: Progress | None = None,
) -> list[Summary | PegasusError]:
    """Hold conversations to their ends, in step, and return how each ended: a summary or its error."""
    ends: list[Summary | PegasusError | None] = [None] * len(conversations)
    heard: Mapping[int, list[Draft] | None] = dict.fromkeys(range(len(conversations)))
    while heard:
        asked: dict[int, list[Job]] = {}
        for index, drafts in heard.items():
            try:
                asked[index] = (
                    next(conversations[index]) if drafts is None else conversations[index].send(drafts)
                )
            except StopIteration as end:
                ends[index] = end.value
            except PegasusError as error:
                ends[index] = error
        jobs = [job for each in asked.values() for job in each]
        done = iter(write_jobs(jobs, writer, settings, progress))
        heard = {index: [next(done) for _ in jobs] for index, jobs in asked.items()}
    return [end for end in ends if end is not None]


def write_jobs(
    jobs: Sequence[Job], writer: Writer, settings: Settings, progress: Progress | None = None
) -> list[Draft]:
    """Have jobs done in batches of like length and equal settings; drafts come back in the jobs' order."""
    drafts: dict[int, Draft] = {}
    batches = _batches(jobs, settings)
    for number, batch in enumerate(batches, 1):
        begin = time.perf_counter()
        written = writer.write([jobs[index] for index in batch], settings.for_generate())
        share = (time.perf_counter() - begin) / len(batch)
        drafts.update((index, replace(draft, seconds=share)) for index, draft in zip(batch, written))
        tokens = sum(len(jobs[index].tokens) for index in batch)
        logger.info(
            "batch %d of %d: %d texts, %d tokens, %.2f s",
            number,
            len(batches),
            len(batch),
            tokens,
            share * len(batch),
        )
        if progress is not None:
            progress(len(drafts), len(jobs))
    return [drafts[index] for index in range(len(jobs))]


def _batches(jobs: Sequence[Job], settings: Settings) -> list[list[int]]:
    """Return batches of job numbers; only jobs with equal limits can be computed together."""

    def limits(index: int) -> tuple[Any, ...]:
        budget = jobs[index].budget
        return (budget is None or (budget.least, budget.most), jobs[index].no_repeat_ngram_size or 0)

    batches = []
    for _, group in groupby(sorted(range(len(jobs)), key=lambda i: str(limits(i))), key=limits):
        own = list(group)
        packed = pack(
            [len(jobs[index].tokens) for index in own], settings.batch_size, settings.batch_tokens
        )
        batches += [[own[place] for place in batch] for batch in packed]
    return sorted(batches, key=lambda batch: -len(jobs[batch[0]].tokens))
