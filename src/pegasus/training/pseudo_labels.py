"""What a teacher writes of many documents, as targets for its student: kept in files, filtered when read.

The files of one teacher and one way of searching lie in a folder of their own, ``CACHE/KEY``, some hundred
documents in each, named by a fingerprint of those. What is there is not written again, so a run that is
stopped goes on, and jobs may share the folder. Filters decide nothing of what is kept there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pegasus.checkpoint.formats import open_checkpoint
from pegasus.data.records import Pair
from pegasus.data.targets import TargetMaker, TargetSettings
from pegasus.errors import BadData, PegasusError
from pegasus.spec.files import write_whole
from pegasus.summarizer.records import Summary
from pegasus.summarizer.repetition import measure_repetition
from pegasus.summarizer.summarizer import Summarizer
from pegasus.training.checkpoints import sha256
from pegasus.training.sections import PseudoSection

#: A row of a file: the text, its score, its tokens with EOS, and how it ended; or why there is none.
Row = dict[str, Any]
_KEPT = ("text", "score", "summary_tokens", "finish_reason")


class PseudoLabels:
    """The targets of one teacher.

    Args:
        section: how they are written and filtered.
        teacher: its folder.
        cache: where they are kept.
        max_source: tokens of a document that are read.
        device: what writes.
    """

    def __init__(
        self, section: PseudoSection, teacher: Path, cache: Path, max_source: int, device: str
    ) -> None:
        self.section, self.teacher, self.max_source, self.device = section, teacher, max_source, device
        self.search: dict[str, Any] = {
            "num_beams": section.num_beams,
            "length_penalty": section.length_penalty,
            "generate": {} if section.max_length is None else {"max_length": section.max_length},
            "max_input_tokens": max_source,
        }
        weights = [sha256(file) for file in open_checkpoint(teacher).files]
        self.folder = cache / _fingerprint([weights, self.search])
        self._summarizer: Summarizer | None = None

    def write(
        self,
        documents: Iterable[Pair],
        rank: int = 0,
        count: int = 1,
        stop: Callable[[], bool] = bool,
        report: Callable[[str, bool], object] = lambda line, passing: None,
    ) -> bool:
        """Write what is not there yet; with several processes every one writes some of the parts.

        Args:
            documents: all of them, in every process.
            rank: the number of this process.
            count: how many there are.
            stop: asked before each part.
            report: is told how far it is.

        Returns:
            whether it came to the end; else the next call goes on.
        """
        for number, part in enumerate(self._parts(documents)):
            file = self._file(part)
            if number % count != rank or file.exists():
                continue
            if stop():
                return False
            self.folder.mkdir(parents=True, exist_ok=True)
            rows = [json.dumps(row, ensure_ascii=False) for row in self._written(part)]
            write_whole(file, ("\n".join(rows) + "\n").encode("utf-8"))
            report(f"the teacher has written of {number * self.section.part + len(part):,} documents", True)
        return True

    def read(self, documents: Iterable[Pair]) -> Iterator[tuple[Pair, Row]]:
        """Each document and what was written of it, the rows without a text left out.

        Raises:
            BadData: a file is not there, or is no such file.
        """
        for part in self._parts(documents):
            file = self._file(part)
            try:
                rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            except (OSError, ValueError) as problem:
                raise BadData(
                    f"pseudo-labels cannot be read ({problem}): remove the file, and it is made anew", file
                ) from None
            yield from ((pair, row) for pair, row in zip(part, rows, strict=True) if "text" in row)

    def targets(
        self, documents: Iterable[Pair], tokenizer: Any, max_target: int, splitter: str = "careful"
    ) -> Iterator[Pair]:
        """The pairs that the filters leave."""
        section, maker = self.section, None
        if section.coverage is not None:
            settings = TargetSettings(sentences=1000, coverage=section.coverage, splitter=splitter)
            maker = TargetMaker(settings, tokenizer, self.max_source, max_target)
        most = max_target if section.max_tokens is None else section.max_tokens
        for pair, row in self.read(documents):
            ended = section.unfinished or row["finish_reason"] != "length"
            liked = section.min_score is None or row["score"] >= section.min_score
            fits = section.min_tokens <= row["summary_tokens"] <= most
            if not (ended and liked and fits) or not row["text"].strip():
                continue
            if not section.repetitive and measure_repetition(row["text"]).found:
                continue
            text = row["text"] if maker is None else maker.borne_out(row["text"], pair.document)
            if text:
                yield replace(pair, summaries=(text,))

    def _parts(self, documents: Iterable[Pair]) -> Iterator[list[Pair]]:
        rest = islice(documents, self.section.limit)
        while part := list(islice(rest, self.section.part)):
            yield part

    def _file(self, part: Sequence[Pair]) -> Path:
        return self.folder / f"{_fingerprint([pair.document for pair in part])}.jsonl"

    def _written(self, part: Sequence[Pair]) -> Iterator[Row]:
        if self._summarizer is None:
            self._summarizer = Summarizer.from_pretrained(
                self.teacher,
                device=self.device,
                long="truncate",
                check=False,
                unknown="ignore",
                batch_size=self.section.batch,
                **self.search,
            )
        for end in self._summarizer.attempt([pair.document for pair in part]):
            if isinstance(end, Summary):
                yield {name: getattr(end, name) for name in _KEPT}
            else:
                assert isinstance(end, PegasusError)
                yield {"error": str(end)}


def _fingerprint(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode("utf-8")).hexdigest()[:24]
