"""Fine-tuning on pairs of texts, or of a decoder alone on running text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from pegasus.backends.contract import Engine
from pegasus.data.columns import Columns
from pegasus.data.read import read_documents, read_pairs
from pegasus.data.records import Pair
from pegasus.data.sources import BlockSource, PairSource, Source
from pegasus.errors import BadSetting, PegasusError
from pegasus.evaluation.rouge import KINDS, score_rows, warn_of_unseen
from pegasus.summarizer.characters import Characters, UnknownTally
from pegasus.summarizer.summarizer import Summarizer
from pegasus.training.assembly import Outcome, TrainingSetup, run_job
from pegasus.training.jobs import FinetuneJob, make_job, merge, raw_job
from pegasus.training.journal import Report, silent
from pegasus.training.presets import of_task


def read_finetune_job(file: Path, changes: Sequence[str] = ()) -> FinetuneJob:
    """Read a job file, over what its task says.

    Raises:
        BadSetting: the file, a key or a value cannot be used.
    """
    values = raw_job(file, changes)
    return make_job(FinetuneJob, merge(of_task(values.get("task")), values), str(file))


def finetune(job: FinetuneJob, report: Report = silent) -> Outcome:
    """Carry out a job; in a folder where it was begun, go on with it.

    Args:
        job: what to do.
        report: is given lines for people; the second argument says whether the next line may replace it.

    Raises:
        BadSetting: the job makes no sense, or does not fit what was begun.
        BadData: a row cannot be used; names file and line.
    """
    if job.run.evaluate_every and (job.model.kind == "causal" or not job.data.validation):
        raise BadSetting("run.evaluate_every needs pairs in data.validation: name some, or set it to 0")
    shop = TrainingSetup(job)
    _say_how_to_generate(shop, job)
    train = _source(shop, job, job.data.train, job.data.limit, report)
    validation = None
    if job.data.validation:
        validation = _source(
            shop, job, job.data.validation, job.data.validation_limit, report, "validation "
        )
    evaluation = _evaluation(shop, job) if job.run.evaluate_every else None
    return run_job(shop, train, validation, report, evaluation)


def _source(
    shop: TrainingSetup,
    job: FinetuneJob,
    files: Sequence[str],
    limit: int | None,
    report: Report,
    kind: str = "",
) -> Source:
    data = job.data
    characters = Characters(shop.tokenizer)
    inputs, targets = UnknownTally(), UnknownTally()
    if job.model.kind == "causal":
        found = read_documents(files, column=data.source, format=data.format, encoding=data.encoding)
        documents = islice(found, limit)
        texts = (_seen(document.text, characters, inputs) for document in documents)
        source: Source = BlockSource.encode(texts, shop.tokenizer, data.max_target)
        _report_unknown(shop, report, {f"{kind}texts": inputs})
        return source
    source = PairSource.encode(
        _seen_pairs(islice(_pairs(job, files), limit), characters, inputs, targets),
        shop.tokenizer,
        data.max_source,
        data.max_target,
        keep_eos=data.keep_eos,
    )
    _report_unknown(shop, report, {f"{kind}sources": inputs, f"{kind}targets": targets})
    return source


def _seen(text: str, characters: Characters, tally: UnknownTally) -> str:
    tally.add(characters.find_unknown(text), text)
    return text


def _seen_pairs(
    pairs: Iterable[Pair], characters: Characters, sources: UnknownTally, targets: UnknownTally
) -> Iterator[Pair]:
    for pair in pairs:
        _seen(pair.document, characters, sources)
        _seen(pair.summary, characters, targets)
        yield pair


def _report_unknown(shop: TrainingSetup, report: Report, tallies: Mapping[str, UnknownTally]) -> None:
    """Say what the model will not be able to read or to write; in the first process only."""
    for what, tally in tallies.items():
        if tally.holding and shop.ranks.rank == 0:
            report(tally.line(what), False)


def _pairs(job: FinetuneJob, files: Sequence[str]) -> Iterator[Pair]:
    data = job.data
    columns = Columns(data.source, data.target)
    return read_pairs(files, columns=columns, format=data.format, encoding=data.encoding)


def _say_how_to_generate(shop: TrainingSetup, job: FinetuneJob) -> None:
    """Let the exported model write as the job evaluates it: that is what it was trained for."""
    generation = getattr(shop.model, "generation_config", None)
    if generation is not None and job.model.kind == "conditional":
        generation.max_length = job.data.max_target
        generation.num_beams = job.evaluation.num_beams
        generation.length_penalty = job.evaluation.length_penalty


def _evaluation(
    shop: TrainingSetup, job: FinetuneJob
) -> Callable[[Engine], Callable[[], Mapping[str, float]]]:
    """The third moment: the first process writes summaries and scores them, all get the scores."""

    def of(engine: Engine) -> Callable[[], Mapping[str, float]]:
        def scores() -> dict[str, float]:
            folder = shop.export(engine, "evaluated")
            found = [0.0] * len(KINDS)
            if shop.ranks.rank == 0:
                found = _rouge(folder, job)
            return dict(zip(KINDS, shop.ranks.total(found)))

        return scores

    return of


def _rouge(folder: Path, job: FinetuneJob) -> list[float]:
    """Mean F1 × 100 of the first validation rows' summaries; of several references the best counts."""
    pairs = list(islice(_pairs(job, job.data.validation), job.evaluation.rows))
    summarizer = Summarizer.from_pretrained(
        folder,
        device=job.placement.device,
        long="truncate",
        check=False,
        unknown="ignore",
        batch_size=job.evaluation.batch,
    )
    ends = summarizer.attempt([pair.document for pair in pairs], max_input_tokens=job.data.max_source)
    written = ["" if isinstance(end, PegasusError) else end.text for end in ends]
    references = [pair.summaries for pair in pairs]
    warn_of_unseen(references, job.evaluation.words)
    rows = list(score_rows(written, references, words=job.evaluation.words))
    return [100 * sum(row[name] for row in rows) / max(1, len(rows)) for name in KINDS]
