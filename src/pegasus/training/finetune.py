"""Fine-tuning on pairs of texts, or of a decoder alone on running text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from pegasus.backends.contract.learning import Engine
from pegasus.data.sources import Source
from pegasus.errors import BadSetting, PegasusError
from pegasus.evaluation.rouge import KINDS, score_rows, warn_of_unseen
from pegasus.summarizer.summarizer import Summarizer
from pegasus.training.assembly import Outcome, TrainingSetup, run_job
from pegasus.training.examples import Examples
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
    check_evaluation(job)
    shop = TrainingSetup(job)
    return run_on(shop, job, Examples(shop, job, report), report)


def check_evaluation(job: FinetuneJob) -> None:
    """Refuse an evaluation of nothing.

    Raises:
        BadSetting: the job has nothing that its texts could be compared with.
    """
    if job.run.evaluate_every and (job.model.kind == "causal" or not job.data.validation):
        raise BadSetting("run.evaluate_every needs pairs in data.validation: name some, or set it to 0")


def run_on(
    shop: TrainingSetup, job: FinetuneJob, examples: Examples, report: Report, train: Source | None = None
) -> Outcome:
    """Run a job on its examples.

    Args:
        shop: its setup.
        job: what to do.
        examples: what it names.
        report: see ``finetune``.
        train: what is learned from; None: what the job names.
    """
    _say_how_to_generate(shop, job)
    train = examples.training() if train is None else train
    evaluation = _evaluation(shop, job, examples) if job.run.evaluate_every else None
    return run_job(shop, train, examples.validation(), report, evaluation)


def _say_how_to_generate(shop: TrainingSetup, job: FinetuneJob) -> None:
    """Let the exported model write as the job evaluates it: that is what it was trained for."""
    generation = getattr(shop.model, "generation_config", None)
    if generation is not None and job.model.kind == "conditional":
        generation.max_length = job.data.max_target
        generation.num_beams = job.evaluation.num_beams
        generation.length_penalty = job.evaluation.length_penalty


def _evaluation(
    shop: TrainingSetup, job: FinetuneJob, examples: Examples
) -> Callable[[Engine], Callable[[], Mapping[str, float]]]:
    """The third moment: the first process writes summaries and scores them, all get the scores."""

    def of(engine: Engine) -> Callable[[], Mapping[str, float]]:
        def scores() -> dict[str, float]:
            folder = shop.export(engine, "evaluated")
            found = [0.0] * len(KINDS)
            if shop.ranks.rank == 0:
                found = _rouge(folder, job, examples)
            return dict(zip(KINDS, shop.ranks.total(found)))

        return scores

    return of


def _rouge(folder: Path, job: FinetuneJob, examples: Examples) -> list[float]:
    """Mean F1 × 100 of the first validation rows' summaries; of several references the best counts."""
    pairs = list(islice(examples.read(job.data.validation), job.evaluation.rows))
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
