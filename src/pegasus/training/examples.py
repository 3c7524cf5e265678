"""The examples of a fine-tuning: pairs from files, filtered as the job says, and mixtures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from pegasus.data.columns import Columns
from pegasus.data.mixture import MixtureSource, ToldSource
from pegasus.data.read import read_documents, read_pairs
from pegasus.data.records import Pair
from pegasus.data.sources import BlockSource, PairSource, ShardSource, Source
from pegasus.data.targets import TargetMaker, TargetSettings
from pegasus.errors import BadData
from pegasus.summarizer.characters import Characters, UnknownTally
from pegasus.training.assembly import TrainingSetup
from pegasus.training.jobs import FinetuneJob
from pegasus.training.journal import Report
from pegasus.training.sections import MixSection


class Examples:
    """Reads what a job names.

    Args:
        shop: the tokenizer and the processes.
        job: what is read, and how.
        report: is told what the model will not be able to read or to write.
    """

    def __init__(self, shop: TrainingSetup, job: FinetuneJob, report: Report) -> None:
        self.shop, self.job, self.report = shop, job, report
        self._characters = Characters(shop.tokenizer)

    def training(self) -> Source:
        """What is learned from."""
        data = self.job.data
        if self.job.model.kind == "causal":
            return self.blocks(data.train, data.limit)
        if not data.mix:
            return self.told(self.encoded(self.of_files(data.train, data.targets, data.limit)))
        parts = [self._of_mix(entry) for entry in data.mix]
        return self.told(MixtureSource(parts, [entry.share for entry in data.mix]))

    def validation(self) -> Source | None:
        """What is measured on: the rows as they are."""
        data = self.job.data
        if not data.validation:
            return None
        if self.job.model.kind == "causal":
            return self.blocks(data.validation, data.validation_limit, "validation ")
        pairs = self.read(data.validation)
        return self.encoded(islice(pairs, data.validation_limit), "validation ")

    def read(
        self, files: Sequence[str], source: str | None = None, target: str | None = None
    ) -> Iterator[Pair]:
        """The pairs of files, in columns of the job where none are named."""
        data = self.job.data
        columns = Columns(source or data.source, target or data.target)
        return read_pairs(files, columns=columns, format=data.format, encoding=data.encoding)

    def documents(self, files: Sequence[str], column: str | None = None) -> Iterator[Pair]:
        """The documents of files, as pairs without a summary."""
        data = self.job.data
        reading = {"column": column or data.source, "format": data.format, "encoding": data.encoding}
        for one in read_documents(files, **reading):  # type: ignore[arg-type]
            yield Pair(one.text, (), one.id, one.file, one.line)

    def of_files(
        self,
        files: Sequence[str],
        targets: TargetSettings | None,
        limit: int | None,
        source: str | None = None,
        target: str | None = None,
        ids: str | None = None,
    ) -> Iterator[Pair]:
        """The pairs of files with the targets that are learned."""
        opens = targets is not None and targets.kind == "opening"
        found = self.documents(files, source) if opens else self.read(files, source, target)
        pairs = islice((one for one in found if ids is None or re.search(ids, str(one.id))), limit)
        if targets is None:
            return pairs
        data = self.job.data
        held = (pair.summary for pair in self.read(data.held_out)) if opens and data.held_out else ()
        # Of a target that is chosen, EOS is within the limit: it is never cut.
        maker = TargetMaker(targets, self.shop.tokenizer, data.max_source, data.max_target, held)
        return maker.make(pairs)

    def encoded(self, pairs: Iterable[Pair], kind: str = "") -> PairSource:
        """Pairs as ids; the report is told of characters that the vocabulary lacks."""
        data = self.job.data
        inputs, targets = UnknownTally(), UnknownTally()
        source = PairSource.encode(
            self._seen_pairs(pairs, inputs, targets),
            self.shop.tokenizer,
            data.max_source,
            data.max_target,
            keep_eos=data.keep_eos,
        )
        self._report({f"{kind}sources": inputs, f"{kind}targets": targets})
        return source

    def told(self, source: Source) -> Source:
        """The same examples, some of which say how long their target is, where the job wants that."""
        data = self.job.data
        if data.lengths is None:
            return source
        return ToldSource(source, data.lengths, data.max_source, self.job.run.seed)

    def blocks(self, files: Sequence[str], limit: int | None, kind: str = "") -> Source:
        """Running text in blocks, for a model that continues texts."""
        tally = UnknownTally()
        texts = (self._seen(pair.document, tally) for pair in islice(self.documents(files), limit))
        source = BlockSource.encode(texts, self.shop.tokenizer, self.job.data.max_target)
        self._report({f"{kind}texts": tally})
        return source

    def _of_mix(self, entry: MixSection) -> Source:
        if entry.shards is not None:
            return ShardSource(entry.shards, entry.example, seed=self.job.run.seed, limit=entry.limit)
        targets = entry.targets or self.job.data.targets
        pairs = self.of_files(entry.train, targets, entry.limit, entry.source, entry.target, entry.ids)
        try:
            return self.encoded(pairs)
        except BadData as problem:
            raise BadData(f"an entry of data.mix, {entry.train[0]} and so on: {problem}") from None

    def _seen_pairs(
        self, pairs: Iterable[Pair], sources: UnknownTally, targets: UnknownTally
    ) -> Iterator[Pair]:
        for pair in pairs:
            self._seen(pair.document, sources)
            self._seen(pair.summary, targets)
            yield pair

    def _seen(self, text: str, tally: UnknownTally) -> str:
        tally.add(self._characters.find_unknown(text), text)
        return text

    def _report(self, tallies: Mapping[str, UnknownTally]) -> None:
        """Say what the model will not be able to read or to write; in the first process only."""
        for what, tally in tallies.items():
            if tally.holding and self.shop.ranks.rank == 0:
                self.report(tally.line(what), False)
