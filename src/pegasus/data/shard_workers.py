"""One portion of a corpus → one shard, here or in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.checkpoint.writing import Staging
from pegasus.data.gap import GapSettings, score_sentences
from pegasus.data.pretraining import cut_words, encode_sentences
from pegasus.data.records import Ids
from pegasus.data.sentences import Splitter, find_splitter
from pegasus.data.shards import ShardRecord, ShardWriter, sha256_of
from pegasus.data.workers import Failed, Workers
from pegasus.errors import NotOffered

_TEXT_AT_ONCE = 1 << 17  # characters that are counted and encoded together
_NOTHING = np.zeros(0, np.int32)
_TRIES = 3


@dataclass(frozen=True)
class Passages:
    """Documents as passages of whole sentences, each of which is a document of its own from then on.

    Attributes:
        tokens: of a passage at most; a longer sentence is left out. 0: documents stay whole.
        sentences: of a passage at least; what is less is left out.
    """

    tokens: int = 0
    sentences: int = 1


@dataclass(frozen=True)
class Job:
    """How shards are made.

    Attributes:
        output: where they go.
        gap: what sentences are scored by.
        splitter: the sentence rule.
        max_words: how many words of a document are read; 0: all.
        passages: what documents are cut into.
    """

    output: Path
    gap: GapSettings
    splitter: str | Splitter
    max_words: int
    passages: Passages = Passages()


@dataclass(frozen=True)
class Portion:
    """The texts of one shard.

    Attributes:
        number: of the shard.
        texts: in order.
        text_bytes: of them as UTF-8.
        made_from: a fingerprint of the texts and of every setting.
    """

    number: int
    texts: list[str]
    text_bytes: int
    made_from: str

    @property
    def file(self) -> str:
        """The name of the shard's file."""
        return f"{self.number:05d}.safetensors"


@dataclass(frozen=True)
class Made:
    """A finished shard.

    Attributes:
        record: what it holds.
        found: it was there already.
        scoring: seconds of the processor that went into sentences, counting and scores.
        encoding: and into tokens.
    """

    record: ShardRecord
    found: bool = False
    scoring: float = 0.0
    encoding: float = 0.0


def make_shard(portion: Portion, job: Job, tokenizer: Any) -> Made:
    """Make the file of one portion."""
    gap, splitter = job.gap, find_splitter(job.splitter)
    writer = ShardWriter(len(tokenizer))
    scoring = encoding = 0.0
    for texts in _some(portion.texts):
        began = time.process_time()
        documents = [splitter(cut_words(text, job.max_words)) for text in texts]
        split = time.process_time()
        rows = encode_sentences([sentence for document in documents for sentence in document], tokenizer)
        encoded = time.process_time()
        if job.passages.tokens:
            documents, rows = cut_passages(documents, rows, job.passages)
        scores = score_sentences(gap.count_many(documents), gap) if gap.needs_scores else None
        encoding += encoded - split
        scoring += time.process_time() - encoded + split - began
        _add(writer, documents, rows, scores)
    writer.write(job.output, portion.file)
    path = job.output / portion.file
    record = ShardRecord(
        file=portion.file,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        text_bytes=portion.text_bytes,
        made_from=portion.made_from,
        **writer.counts,
    )
    return Made(record, scoring=scoring, encoding=encoding)


def cut_passages(
    documents: Sequence[Sequence[str]], rows: Sequence[Ids], passages: Passages
) -> tuple[list[list[str]], list[Ids]]:
    """Cut documents into passages.

    Args:
        documents: the sentences of each.
        rows: the ids of each sentence of all of them.
        passages: how.

    Returns:
        the sentences of each passage, and the ids of each sentence of all passages.
    """
    made: list[list[str]] = []
    kept: list[Ids] = []
    first = 0
    for document in documents:
        sizes = [len(row) for row in rows[first : first + len(document)]]
        for start, stop in _runs(sizes, passages.tokens):
            if stop - start >= passages.sentences:
                made.append(list(document[start:stop]))
                kept += rows[first + start : first + stop]
        first += len(document)
    return made, kept


def _runs(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Runs of whole sentences of at most ``limit`` tokens; a longer sentence is left out."""
    start = total = 0
    for place, size in enumerate(sizes):
        if total + size <= limit:
            total += size
            continue
        if total:
            yield start, place
        start, total = (place, size) if size <= limit else (place + 1, 0)
    if total:
        yield start, len(sizes)


def made_in_order(
    portions: Iterable[Portion], known: Mapping[str, ShardRecord], job: Job, tokenizer: Any, processes: int
) -> Iterator[Made]:
    """Make all shards, a few at a time, and yield them in order.

    Args:
        portions: what goes into each.
        known: shards that are there, by what they were made from; they are not made again.
        job: how.
        tokenizer: turns sentences into ids.
        processes: how many work; 1 works here.
    """
    if processes < 2:
        for portion in portions:
            yield _there(portion, known) or make_shard(portion, job, tokenizer)
        return
    # A started interpreter, not a copy of this one: a copy would share what other threads hold locked.
    context = multiprocessing.get_context("spawn")
    waiting: deque[Callable[[], Made]] = deque()
    with ProcessPoolExecutor(processes, context, _begin_worker, (job, tokenizer)) as pool:
        try:
            for portion in portions:
                there = _there(portion, known)
                waiting.append(_given(there) if there else pool.submit(_work, portion).result)
                # One portion more than there are processes: texts in memory do not grow with the corpus.
                while len(waiting) > processes + 1:
                    yield waiting.popleft()()
            while waiting:
                yield waiting.popleft()()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


# --- by workers that need not see the folder --------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A finished shard that is on its way.

    Attributes:
        made: what it holds.
        content: its file.
    """

    made: Made
    content: bytes


#: Makes a shard and returns its file, wherever it runs.
ShardWorkers = Workers[Portion, Sent]


def shard_maker(job: Job, tokenizer: Any) -> Callable[[], Callable[[Portion], Sent]]:
    """Return what such a worker is made with; it can be sent to another machine."""
    return partial(_sending, job, tokenizer)


def _sending(job: Job, tokenizer: Any) -> Callable[[Portion], Sent]:
    return lambda portion: _send_shard(portion, job, tokenizer)


def _send_shard(portion: Portion, job: Job, tokenizer: Any) -> Sent:
    with tempfile.TemporaryDirectory() as folder:
        made = make_shard(portion, replace(job, output=Path(folder)), tokenizer)
        return Sent(made, (Path(folder) / portion.file).read_bytes())


def made_by_workers(
    portions: Iterable[Portion], known: Mapping[str, ShardRecord], job: Job, workers: ShardWorkers
) -> Iterator[Made]:
    """Have all shards made, and write and yield them in order.

    Args:
        portions: what goes into each.
        known: shards that are there, by what they were made from; they are not made again.
        job: how.
        workers: who makes them.

    Raises:
        NotOffered: a shard came to nothing three times.
    """
    dealer = _Dealer(workers, job.output)
    for portion in portions:
        there = _there(portion, known)
        if there is None:
            dealer.give(portion)
        else:
            dealer.done[portion.number] = there
        yield from dealer.in_order()
    while dealer.busy:
        dealer.take()
        yield from dealer.in_order()


class _Dealer:
    """Gives portions to workers, and puts what comes back into order.

    Attributes:
        done: shards that wait for those before them; their files are written.
    """

    def __init__(self, workers: ShardWorkers, output: Path) -> None:
        self.done: dict[int, Made] = {}
        self._workers, self._output = workers, output
        self._flying: dict[int, tuple[Portion, int]] = {}
        self._next = 0

    @property
    def busy(self) -> bool:
        """Whether shards are being made."""
        return bool(self._flying)

    def give(self, portion: Portion, tries: int = 1) -> None:
        """Give a portion as soon as somebody is free."""
        while self._workers.full:
            self.take()
        self._flying[portion.number] = (portion, tries)
        self._workers.submit(portion.number, portion)

    def take(self) -> None:
        """Wait for something to happen, and write a shard if it was that."""
        end = self._workers.next()
        if end is None:
            return
        number, sent = end
        portion, tries = self._flying.pop(number)
        if not isinstance(sent, Failed):
            with Staging(self._output) as staging:
                staging.add_bytes(portion.file, sent.content)
            self.done[number] = sent.made
        elif tries < _TRIES:
            self.give(portion, tries + 1)
        else:
            raise NotOffered(f"Shard {portion.file} came to nothing {tries} times: {sent.why}.")

    def in_order(self) -> Iterator[Made]:
        """Yield the shards whose turn it is."""
        while self._next in self.done:
            yield self.done.pop(self._next)
            self._next += 1


def _given(made: Made) -> Callable[[], Made]:
    return lambda: made


def _there(portion: Portion, known: Mapping[str, ShardRecord]) -> Made | None:
    record = known.get(portion.made_from)
    return Made(record, found=True) if record is not None and record.file == portion.file else None


def _some(texts: Sequence[str]) -> Iterator[list[str]]:
    """Groups of texts small enough for the processor's cache, in order."""
    some: list[str] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size > _TEXT_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _add(writer: ShardWriter, documents: Sequence[Sequence[str]], rows: Sequence[Ids], scores: Any) -> None:
    place = 0
    for document in documents:
        own = slice(place, place + len(document))
        sizes = np.fromiter(map(len, rows[own]), np.int64, len(document))
        ids = np.concatenate([_NOTHING, *rows[own]])
        writer.add(ids, sizes, None if scores is None else scores[own])
        place += len(document)


_worker: tuple[Job, Any] | None = None


def _begin_worker(job: Job, tokenizer: Any) -> None:
    global _worker
    _worker = (job, tokenizer)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: Any) -> None:
    """End this process when the one that started it is gone, however it went."""
    wait([sentinel])
    os._exit(1)


def _work(portion: Portion) -> Made:
    assert _worker is not None
    return make_shard(portion, *_worker)
