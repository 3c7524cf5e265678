"""What fine-tuning and pre-training share: opening the model, running the loop, keeping what came of it."""

from __future__ import annotations

import difflib
import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pegasus.backends import load_learning_backend
from pegasus.backends.contract import Batch
from pegasus.backends.contract.learning import Engine, LearningBackend, Ranks
from pegasus.data.loader import Loader, TokenLoader, once
from pegasus.data.sources import Source
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig
from pegasus.tokenization.auto import AutoTokenizer
from pegasus.training.checkpoints import Checkpoints, recover_folder, replace_folder
from pegasus.training.jobs import Job
from pegasus.training.journal import Journal, Report, silent
from pegasus.training.loop import Ending, Evaluation, Plan, Run, is_over, learn, resume
from pegasus.training.presets import FAMILY, SIZES
from pegasus.training.resume import check_begun, check_finished, keep_job, make_output
from pegasus.training.sections import ModelSection
from pegasus.training.signals import StopSignals

log = logging.getLogger(__name__)

#: An update may have more rows than there are, each more than once, as long as it has no more than these.
USUAL_ROWS = 256


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        ending: "done", "early" (it got no better) or "stopped" (a signal came; it can go on).
        step: updates done.
        model: the folder of the last model; None when it was stopped.
        best: the folder of the best model; None when none was measured.
    """

    ending: Ending
    step: int
    model: Path | None
    best: Path | None


class TrainingSetup:
    """The backend, the processes, the tokenizer and the model of one job.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        check_begun(job)
        self.job, self.output = job, Path(job.output)
        self.backend = load_learning_backend(job.backend)
        self.ranks: Ranks = self.backend.join(job.placement)
        if self.ranks.rank == 0:
            make_output(job)
        section = self.beginning()
        self.tokenizer = open_tokenizer(section)
        self.model = open_model(self.backend, section, self.tokenizer, job.run.seed)

    def beginning(self) -> ModelSection:
        """What is trained, made first where it must be; all processes call it."""
        return self.job.model

    def loader(self, source: Source) -> Loader:
        """The training batches of this process."""
        run = self.job.run
        if run.batch_tokens is not None:
            return TokenLoader(
                source,
                run.batch_tokens,
                update_batches=run.accumulate * self.ranks.count,
                seed=run.seed,
                rank=self.ranks.rank,
                world=self.ranks.count,
                workers=run.workers,
                multiple=run.round_lengths,
            )
        update_rows = run.batch * run.accumulate * self.ranks.count
        if update_rows > max(len(source), USUAL_ROWS):
            raise BadSetting(
                f"an update has {update_rows:,} rows (run.batch {run.batch:,} × run.accumulate "
                f"{run.accumulate:,} × {self.ranks.count} processes) and there are {len(source):,} to "
                "learn from: lower run.batch or run.accumulate"
            )
        return Loader(
            source,
            run.batch,
            update_rows=update_rows,
            seed=run.seed,
            rank=self.ranks.rank,
            world=self.ranks.count,
            workers=run.workers,
            multiple=run.round_lengths,
        )

    def held_out(self, source: Source) -> Callable[[], Iterable[Batch]]:
        """The validation batches of this process, every row once."""
        return lambda: once(source, self.job.run.batch, rank=self.ranks.rank, world=self.ranks.count)

    def engine(self) -> Engine:
        """An engine for the job; what the job leaves open is taken from the run."""
        job = self.job
        optim = replace(job.optim, steps=job.optim.steps or job.run.steps)
        objective = replace(job.objective, seed=job.objective.seed or job.run.seed)
        given = (self.model, optim, objective, job.placement, self.ranks)
        teacher = self.teacher()
        return self.backend.engine(*given) if teacher is None else self.backend.engine(*given, teacher)

    def teacher(self) -> Any:
        """The model that the objective compares with; None where it compares with none."""
        return None

    def export(self, engine: Engine, name: str) -> Path:
        """Put the model as it is now, with its tokenizer, into a folder of the output; all processes do."""
        place = self.output / name
        draft = self.output / f".{name}.partial"
        if self.ranks.rank == 0:
            shutil.rmtree(draft, ignore_errors=True)
        self.ranks.wait()
        engine.export(draft)
        if self.ranks.rank == 0:
            self.tokenizer.save_pretrained(draft)
            replace_folder(draft, place)
        self.ranks.wait()
        return place


def open_tokenizer(section: ModelSection) -> Any:
    """The tokenizer of a job.

    Raises:
        BadSetting: nothing says which.
    """
    name = section.tokenizer or section.start
    if name is None:
        raise BadSetting("a fresh model needs a tokenizer: set model.tokenizer to a folder or a hub name")
    revision: dict[str, Any] = {} if section.revision is None else {"revision": section.revision}
    return AutoTokenizer.from_pretrained(name, **revision)


def open_model(backend: LearningBackend, section: ModelSection, tokenizer: Any, seed: int) -> Any:
    """The model of a job in float32: that of ``start``, or a fresh one.

    Raises:
        BadSetting: the vocabulary has more tokens than the model knows.
    """
    if unknown := sorted(section.config.keys() - PegasusConfig.field_names()):
        near = difflib.get_close_matches(unknown[0], PegasusConfig.field_names(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "docs/checkpoints.md says which there are"
        raise BadSetting(f"unknown key model.config.{unknown[0]}: {hint}")
    if section.start is None:
        fields = {**FAMILY, **SIZES[section.size], "vocab_size": len(tokenizer), **section.config}
        model = backend.fresh(section.kind, PegasusConfig(**fields), section.initial, seed)
    else:
        revision = {} if section.revision is None else {"revision": section.revision}
        model = backend.models[section.kind].from_pretrained(
            section.start, dtype="float32", **revision, **section.config
        )
    if len(tokenizer) > model.config.vocab_size:
        raise BadSetting(
            f"the tokenizer has {len(tokenizer):,} tokens and the model knows {model.config.vocab_size:,}: "
            "take the tokenizer that belongs to the model"
        )
    return model


def run_job(
    shop: TrainingSetup,
    train: Source,
    validation: Source | None,
    report: Report = silent,
    evaluation: Callable[[Engine], Evaluation] | None = None,
) -> Outcome:
    """Run a job from its beginning or from its newest whole checkpoint, and export what came of it.

    Args:
        shop: the job's setup; its processes part at the end.
        train: the examples to learn from.
        validation: the examples to measure, or None.
        report: is given lines for people, in the first process only.
        evaluation: makes the third moment of an engine, or None.
    """
    job, output, first = shop.job, shop.output, shop.ranks.rank == 0
    if first:
        recover_folder(output / "best")
    engine, stream = shop.engine(), shop.loader(train)
    with StopSignals() as signals:
        run = Run(
            engine=engine,
            stream=stream,
            ranks=shop.ranks,
            plan=_plan(job),
            checkpoints=Checkpoints(output / "checkpoints", shop.ranks, job.run.keep),
            validation=None if validation is None else shop.held_out(validation),
            evaluation=None if evaluation is None else evaluation(engine),
            keep_best=lambda: shop.export(engine, "best"),
            asked_to_stop=lambda: signals.asked,
        )
        resumed = resume(run)
        if resumed and is_over(run):
            check_finished(job, run.train_state.step)
        if first:
            keep_job(job)
            curves = output / "tensorboard" if job.run.tensorboard else None
            run.journal = Journal(output / "journal.jsonl", run.train_state.step, report, curves)
            if resumed:
                report(f"going on from step {run.train_state.step:,}", False)
        ending = learn(run)
    stream.close()
    if run.journal is not None:
        run.journal.close()
    model = None if ending == "stopped" else shop.export(engine, "model")
    best = output / "best" if run.train_state.best is not None else None
    shop.ranks.leave()
    return Outcome(ending, run.train_state.step, model, best)


def _plan(job: Job) -> Plan:
    run = job.run
    return Plan(
        steps=run.steps,
        seconds=None if run.minutes is None else 60 * run.minutes,
        accumulate=run.accumulate,
        log_every=run.log_every,
        measure_every=run.measure_every,
        evaluate_every=run.evaluate_every,
        save_every=run.save_every,
        best=run.best,
        patience=run.patience,
    )
