"""Grade a model on pairs, beside baselines on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Protocol

from pegasus.data.records import Pair
from pegasus.data.sentences import Splitter
from pegasus.errors import BadData, PegasusError
from pegasus.evaluation.baselines import BASELINES, extract
from pegasus.evaluation.measures import means, measure
from pegasus.evaluation.rouge import Interval, RowScores, Words, intervals, score_rows, warn_of_unseen
from pegasus.summarizer.characters import UnknownTally

#: Is told what is being done, and how many rows of how many are done.
Report = Callable[[str, int, int], None]


class Writer(Protocol):
    """What is graded: anything that summarizes texts, such as `pegasus.summarizer.Summarizer`."""

    def attempt(self, texts: Sequence[str], *, progress: Any = None, **settings: Any) -> Sequence[Any]:
        """Return for each text something with a `text`, or the error it ended in."""
        ...


@dataclass(frozen=True)
class Graded:
    """What one system wrote, and how it was graded.

    Attributes:
        texts: one for each row; "" where the model ended in an error.
        rows: the F1 of each row by kind of ROUGE.
        scores: of all rows, F1 times 100 with intervals.
        measures: means of everything in `pegasus.evaluation.measures`.
        failed: rows that ended in an error, with what was said.
    """

    texts: Sequence[str]
    rows: Sequence[RowScores]
    scores: Mapping[str, Interval]
    measures: Mapping[str, float]
    failed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """A model and baselines on the same rows.

    Attributes:
        model: its name; "" where only baselines were graded.
        data: where the rows came from.
        pairs: the rows.
        systems: "model" and the baselines, each graded.
        reference_words: words of a reference on average, to which baselines were cut.
        references: measures of the main references themselves.
        unknown: what of the documents the model's vocabulary cannot represent.
    """

    model: str
    data: str
    pairs: Sequence[Pair]
    systems: Mapping[str, Graded]
    reference_words: float
    references: Mapping[str, float]
    unknown: UnknownTally = field(default_factory=UnknownTally)

    @property
    def several(self) -> int:
        """How many rows have more than one reference."""
        return sum(len(pair.summaries) > 1 for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values, in the form that `pegasus evaluate --json` prints."""
        scores = {
            system: {kind: asdict(interval) for kind, interval in graded.scores.items()}
            for system, graded in self.systems.items()
        }
        found = {"model": self.model, "data": self.data, "rows": len(self.pairs), "scores": scores}
        return {**found, "unknown": self.unknown.to_dict()} if self.unknown.texts else found


def evaluate(
    pairs: Iterable[Pair],
    writer: Writer | None = None,
    *,
    model: str = "",
    data: str = "",
    limit: int | None = None,
    baselines: Sequence[str] = tuple(BASELINES),
    splitter: str | Splitter = "careful",
    seed: int = 0,
    words: Words = "ascii",
    report: Report | None = None,
    **settings: Any,
) -> Evaluation:
    """Grade a model and baselines.

    Every row is graded, the last ones too: nothing is dropped to fill batches.

    Args:
        pairs: the rows.
        writer: the model; None grades the baselines alone.
        model: its name in the results.
        data: the name of the rows in the results.
        limit: use the first so many rows.
        baselines: which ones, by name.
        splitter: the sentence rule of the baselines.
        seed: of the bootstrap.
        words: what ROUGE takes for words (`pegasus.evaluation.rouge.score_rows`).
        report: is told how far it is.
        settings: how the model summarizes (`pegasus.summarizer.settings.Settings`).

    Raises:
        BadData: there is no row.
        BackendMissing: rouge-score or sumy is not installed.
    """
    rows = list(islice(pairs, limit))
    if not rows:
        raise BadData("There is no row to grade. Check the file and the limit.", data or None)
    warn_of_unseen((pair.summaries for pair in rows), words)
    length = _reference_words(rows)
    systems: dict[str, Graded] = {}
    unknown = UnknownTally()
    if writer is not None:
        texts, failed = _written(rows, writer, report, settings, unknown)
        systems["model"] = grade(texts, rows, seed, failed, words)
    for number, name in enumerate(baselines):
        if report is not None:
            report("grading baselines", number, len(baselines))
        extracts = [extract(pair.document, name, max(round(length), 1), splitter) for pair in rows]
        systems[name] = grade(extracts, rows, seed, words=words)
    references = means(measure(pair.document, pair.summary) for pair in rows)
    return Evaluation(model, data, rows, systems, length, references, unknown)


def grade(
    texts: Sequence[str],
    pairs: Sequence[Pair],
    seed: int = 0,
    failed: Mapping[int, str] | None = None,
    words: Words = "ascii",
) -> Graded:
    """Grade texts against the references of pairs."""
    rows = list(score_rows(texts, [pair.summaries for pair in pairs], words=words))
    measures = means(measure(pair.document, text) for pair, text in zip(pairs, texts))
    return Graded(texts, rows, intervals(rows, seed), measures, failed or {})


def _reference_words(pairs: Sequence[Pair]) -> float:
    lengths = [len(summary.split()) for pair in pairs for summary in pair.summaries]
    return sum(lengths) / len(lengths)


def _written(
    pairs: Sequence[Pair],
    writer: Writer,
    report: Report | None,
    settings: Mapping[str, Any],
    unknown: UnknownTally,
) -> tuple[list[str], dict[int, str]]:
    def advance(done: int, total: int) -> None:
        if report is not None:
            report("summarizing", done, total)

    ends = writer.attempt([pair.document for pair in pairs], progress=advance, **settings)
    failed = {row: str(end) for row, end in enumerate(ends) if isinstance(end, PegasusError)}
    for pair, end in zip(pairs, ends):
        if (found := getattr(end, "unknown", None)) is not None:
            unknown.add(found, pair.document)
    return ["" if row in failed else end.text for row, end in enumerate(ends)], failed
