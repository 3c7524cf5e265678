"""A corpus → shards: documents cut into sentences, encoded and scored once, for every pre-training after.

One process reads, drops documents that were there already and deals the others out in portions of text;
each portion becomes one file, made by whichever process is free (`pegasus.data.shard_workers`). A file is a
function of
its texts and of the settings, so a run that was killed is simply started again: portions whose file is
there are passed over.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pegasus.checkpoint.writing import Staging
from pegasus.data.deduplicate import Seen, fingerprint
from pegasus.data.gap import GapSettings
from pegasus.data.read import OnBad, Reading, Unit, read_documents
from pegasus.data.records import Document
from pegasus.data.sentences import Splitter, find_splitter
from pegasus.data.shard_workers import (
    Job,
    Made,
    Passages,
    Portion,
    Sent,
    ShardWorkers,
    made_by_workers,
    made_in_order,
    shard_maker,
)
from pegasus.data.shards import MANIFEST, TOKENIZER, Manifest, ShardRecord, sha256_of
from pegasus.errors import BadData, BadSetting

#: Given what each worker is made with, returns workers that make shards.
Engine = Callable[[Callable[[], Callable[[Portion], Sent]]], ShardWorkers]


@dataclass(frozen=True)
class PrepareSettings:
    """How a corpus is prepared. The ratio and the noise of `gap` are the pre-training's business, not ours.

    Attributes:
        gap: what sentences are scored by; strategies without scores store none.
        splitter: the sentence rule: "authors", "careful", or a function of a module that every process can
            import.
        max_words: read the first so many words of a document only; 0 for all.
        shard_bytes: text that goes into a file, in bytes of UTF-8.
        passage_tokens: cut documents into passages of whole sentences of so many tokens at most, each of
            which is a document from then on; a longer sentence is left out. 0: they stay whole.
        passage_sentences: leave out passages of fewer sentences.
        deduplicate: leave out documents that are equal to an earlier one, character by character.
        column: the column of the text; None finds it.
        unit: what a document is in plain text files: "file", "line" or "block".
        format: what every file holds, such as "csv"; None finds it by content and name.
        encoding: what text is in, such as "windows-1252"; None finds UTF-8, UTF-16 and UTF-32.
    """

    gap: GapSettings = field(default_factory=GapSettings)
    splitter: str | Splitter = "authors"
    max_words: int = 0
    shard_bytes: int = 16_000_000
    passage_tokens: int = 0
    passage_sentences: int = 1
    deduplicate: bool = True
    column: str | None = None
    unit: Unit = "file"
    format: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        Reading(self.unit, self.format, self.encoding)  # checks them
        find_splitter(self.splitter)
        if self.shard_bytes < 1:
            raise BadSetting(f"A shard takes at least one byte of text; found {self.shard_bytes}.")
        if self.passage_tokens < 0 or self.passage_sentences < 1:
            raise BadSetting(
                "A passage has at least one token and one sentence (0 tokens: documents stay whole); found "
                f"passage_tokens={self.passage_tokens}, passage_sentences={self.passage_sentences}."
            )
        if self.gap.kind == "continuous":
            raise BadSetting(
                f"Strategy {self.gap.strategy!r} gives no score to a sentence, so it cannot be prepared. "
                "Use one of ind- or seq-."
            )

    def of_shards(self) -> dict[str, Any]:
        """Return the part that decides what is in a shard, as JSON can hold it."""
        scored = ("strategy", "metric", "ngram", "precision", "candidates", "words")
        gap = {name: getattr(self.gap, name) for name in scored if self.gap.needs_scores}
        strategy = "ind-orig" if self.gap.kind == "hybrid" else self.gap.strategy
        rule = self.splitter
        if not isinstance(rule, str):
            rule = f"{getattr(rule, '__module__', '')}.{getattr(rule, '__qualname__', repr(rule))}"
        passages = {"passage_tokens": self.passage_tokens, "passage_sentences": self.passage_sentences}
        return {
            **gap,
            "strategy": strategy,
            "splitter": rule,
            "max_words": self.max_words,
            **(passages if self.passage_tokens else {}),  # else as older corpora say it
        }


@dataclass
class Progress:
    """How far a preparation is.

    Attributes:
        read: documents read, bad rows left out.
        bad: rows that could not be used.
        duplicates: documents left out because they were there already.
        documents: documents in finished shards.
        text_bytes: their text.
        tokens: their tokens.
        shards: finished shards, those found finished included.
        found: shards that were there already.
        seconds: since the start.
        scoring: seconds of all processes together that went into sentences, counting and scores.
        encoding: seconds of all processes together that went into tokens.
    """

    read: int = 0
    bad: int = 0
    duplicates: int = 0
    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0
    shards: int = 0
    found: int = 0
    seconds: float = 0.0
    scoring: float = 0.0
    encoding: float = 0.0

    def count(self, made: Made) -> None:
        """Add a finished shard."""
        self.documents += made.record.documents
        self.text_bytes += made.record.text_bytes
        self.tokens += made.record.tokens
        self.shards += 1
        self.found += made.found
        self.scoring += made.scoring
        self.encoding += made.encoding


def prepare(
    sources: Sequence[str | Path],
    tokenizer: Any,
    output: str | Path,
    settings: PrepareSettings | None = None,
    *,
    processes: int = 1,
    engine: Engine | None = None,
    bad: OnBad | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[Manifest, Progress]:
    """Prepare a corpus, or finish preparing one that was begun.

    Args:
        sources: files, folders and hub data sets (`pegasus.data.read`).
        tokenizer: turns sentences into ids; a copy of it is kept with the shards.
        output: the folder of the shards.
        settings: how.
        processes: how many make shards; 1 makes them in this one.
        engine: returns workers that make shards in the place of processes, given what each is made with.
        bad: gets each row that cannot be used; None raises the first.
        report: is told how far it is, after every shard.

    Returns:
        the manifest and how it went.

    Raises:
        BadData: there is nothing to read, or a row cannot be used and `bad` is None.
    """
    settings, output = settings or PrepareSettings(), Path(output)
    output.mkdir(parents=True, exist_ok=True)
    progress, began = Progress(), time.perf_counter()
    known = _known(output)
    (output / MANIFEST).unlink(missing_ok=True)  # until all is well again, nothing here counts as finished
    tokenizer.save_pretrained(str(output / TOKENIZER))
    common = json.dumps([settings.of_shards(), _folder_hash(output / TOKENIZER)], sort_keys=True)
    documents = read_documents(
        sources,
        column=settings.column,
        unit=settings.unit,
        format=settings.format,
        encoding=settings.encoding,
        bad=_counting(bad, progress),
    )
    portions = _portions(documents, settings, common, progress)
    records = []
    passages = Passages(settings.passage_tokens, settings.passage_sentences)
    job = Job(output, settings.gap, settings.splitter, settings.max_words, passages)
    with _all_made(portions, known, job, tokenizer, processes, engine) as shards:
        for made in shards:
            records.append(made.record)
            _remember(output, made)
            progress.seconds = time.perf_counter() - began
            progress.count(made)
            if report is not None:
                report(progress)
    if not records:
        raise BadData("There is no document in the corpus.", str(sources[0]) if sources else None)
    return _close(output, settings, records, progress), progress


@contextmanager
def _all_made(
    portions: Iterable[Portion],
    known: Mapping[str, ShardRecord],
    job: Job,
    tokenizer: Any,
    processes: int,
    engine: Engine | None,
) -> Iterator[Iterator[Made]]:
    """The shards, in order, by whoever makes them."""
    if engine is None:
        yield made_in_order(portions, known, job, tokenizer, processes)
        return
    workers = engine(shard_maker(job, tokenizer))
    try:
        yield made_by_workers(portions, known, job, workers)
    finally:
        workers.close()


def _portions(
    documents: Iterable[Document], settings: PrepareSettings, common: str, progress: Progress
) -> Iterator[Portion]:
    """Deal documents out to shards by their text."""
    seen = Seen()
    texts: list[str] = []
    size, number = 0, 0
    digest = hashlib.sha256(common.encode())
    for document in documents:
        progress.read += 1
        if settings.deduplicate and not seen.add(document.text):
            progress.duplicates += 1
            continue
        texts.append(document.text)
        size += len(document.text.encode("utf-8", "surrogatepass"))
        digest.update(fingerprint(document.text).to_bytes(8, "little"))
        if size >= settings.shard_bytes:
            yield Portion(number, texts, size, digest.hexdigest())
            texts, size, number = [], 0, number + 1
            digest = hashlib.sha256(common.encode())
    if texts:
        yield Portion(number, texts, size, digest.hexdigest())


def _counting(bad: OnBad | None, progress: Progress) -> OnBad | None:
    if bad is None:
        return None

    def count(fault: BadData) -> None:
        progress.bad += 1
        bad(fault)

    return count


def _folder_hash(folder: Path) -> str:
    lines = (f"{file.name} {sha256_of(file)}" for file in sorted(folder.iterdir()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


# --- what is there from a run before ----------------------------------------------------------------------


def _note(output: Path, record: ShardRecord) -> Path:
    return output / f"{Path(record.file).stem}.json"


def _remember(output: Path, made: Made) -> None:
    """Write beside a new shard what it was made from, for a run that goes on after this one was killed."""
    if not made.found or not _note(output, made.record).exists():
        with Staging(output) as staging:
            staging.add_text(_note(output, made.record).name, json.dumps(asdict(made.record)) + "\n")


def _known(output: Path) -> dict[str, ShardRecord]:
    """The shards of a run before, by what they were made from; only those whose file is whole."""
    records: list[ShardRecord] = []
    with suppress(BadData):
        records += Manifest.read(output).shards
    for note in sorted(output.glob("[0-9]*.json")):
        with suppress(ValueError, TypeError):
            records.append(ShardRecord(**json.loads(note.read_text("utf-8"))))
    whole = (r for r in records if (output / r.file).is_file() and sha256_of(output / r.file) == r.sha256)
    return {record.made_from: record for record in whole}


def _close(
    output: Path, settings: PrepareSettings, records: Sequence[ShardRecord], progress: Progress
) -> Manifest:
    """Write the manifest, then take away what belongs to no finished corpus."""
    statistics = {
        "documents_read": progress.read,
        "bad_rows": progress.bad,
        "duplicates": progress.duplicates,
        **{
            name: sum(getattr(record, name) for record in records)
            for name in ("documents", "sentences", "tokens", "text_bytes", "one_sentence")
        },
        "longest": max(record.longest for record in records),
    }
    manifest = Manifest(settings.of_shards(), statistics, records)
    with Staging(output) as staging:
        staging.add_text(MANIFEST, manifest.to_json())
    kept = {record.file for record in records}
    for file in output.iterdir():
        stale = file.suffix == ".safetensors" and file.name not in kept
        if stale or file.name.endswith(".partial") or (file.suffix == ".json" and file.stem.isdigit()):
            file.unlink()
    return manifest
