"""Distillation: a student cut out of a teacher, which learns from people's targets and from the teacher.

Three ways, and any mix of them: shrink and fine-tune (the student alone), pseudo-labels (targets that the
teacher writes), and comparison (logits, hidden states, attentions; ``objective.distillation``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pegasus.checkpoint.shrink import shrink
from pegasus.data.mixture import MixtureSource
from pegasus.data.records import Pair
from pegasus.data.sources import Source
from pegasus.errors import BadData
from pegasus.hub import HubOptions, locate
from pegasus.spec.files import write_whole
from pegasus.tokenization.auto import AutoTokenizer
from pegasus.training.assembly import Outcome, TrainingSetup
from pegasus.training.checkpoints import replace_folder
from pegasus.training.examples import Examples
from pegasus.training.finetune import check_evaluation, run_on
from pegasus.training.jobs import DistillJob, make_job, merge, raw_job
from pegasus.training.journal import Report, silent
from pegasus.training.presets import of_student, of_task
from pegasus.training.pseudo_labels import PseudoLabels
from pegasus.training.sections import ModelSection
from pegasus.training.signals import StopSignals


def read_distill_job(file: Path, changes: Sequence[str] = ()) -> DistillJob:
    """Read a job file, over what its task and its student's preset say.

    Raises:
        BadSetting: the file, a key or a value cannot be used.
    """
    values = raw_job(file, changes)
    student = values.get("student")
    preset = of_student(student.get("preset") if isinstance(student, dict) else None)
    return make_job(DistillJob, merge(merge(of_task(values.get("task")), preset), values), str(file))


def distill(job: DistillJob, report: Report = silent) -> Outcome:
    """Carry out a job; in a folder where it was begun, go on with it.

    Args:
        job: what to do.
        report: is given lines for people; the second argument says whether the next line may replace it.

    Raises:
        BadSetting: the job makes no sense, or does not fit what was begun.
        BadData: a row cannot be used, or the filters left nothing that the teacher wrote.
    """
    check_evaluation(job)
    shop = _Setup(job)
    examples = Examples(shop, job, report)
    if job.pseudo is None:
        return run_on(shop, job, examples, report)
    labels = PseudoLabels(
        job.pseudo,
        shop.teacher_folder,
        Path(job.pseudo.cache or shop.output / "pseudo"),
        job.data.max_source,
        job.placement.device,
    )
    ranks, tell = shop.ranks, report if shop.ranks.rank == 0 else silent
    with StopSignals() as signals:
        whole = labels.write(
            _documents(job, examples), ranks.rank, ranks.count, lambda: signals.asked, tell
        )
    if shop.ranks.any(not whole):
        shop.ranks.leave()
        return Outcome("stopped", 0, None, None)
    return run_on(shop, job, examples, report, _learned(job, shop, examples, labels))


def _learned(job: DistillJob, shop: TrainingSetup, examples: Examples, labels: PseudoLabels) -> Source:
    """The teacher's targets, and people's beside them as often as the job says."""
    assert job.pseudo is not None
    written = labels.targets(_documents(job, examples), shop.tokenizer, job.data.max_target)
    try:
        theirs: Source = examples.told(examples.encoded(written, "pseudo "))
    except BadData:
        raise BadData(
            "of what the teacher wrote the filters of [pseudo] left nothing: widen them", labels.folder
        ) from None
    if job.pseudo.share == 1:
        return theirs
    return MixtureSource([theirs, examples.training()], [job.pseudo.share, 1 - job.pseudo.share])


def _documents(job: DistillJob, examples: Examples) -> Iterator[Pair]:
    """What the teacher writes of: documents of the job, else the sources that are learned from."""
    assert job.pseudo is not None
    if job.pseudo.documents:
        return examples.documents(job.pseudo.documents)
    return examples.of_files(job.data.train, job.data.targets, job.data.limit)


class _Setup(TrainingSetup):
    """The setup of a distillation: the student is cut out of its teacher first."""

    job: DistillJob

    def beginning(self) -> ModelSection:
        """The student's section; its folder lies in the output from then on."""
        section, student = self.job.model, self.output / "student"
        where = self.job.teacher
        self.teacher_folder = locate(where.model, HubOptions(revision=where.revision))
        if section.start is not None:
            return section
        if self.ranks.rank == 0:
            self._cut_out(student, section)
        self.ranks.wait()
        return section.model_copy(update={"start": str(student)})

    def _cut_out(self, student: Path, section: ModelSection) -> None:
        """Make the student, unless it is there already, of the same teacher and shape."""
        note = student.with_name(".student.json")
        made_from = json.dumps([self.job.teacher.model_dump(), self.job.student.model_dump()])
        if student.is_dir() and note.is_file() and note.read_text(encoding="utf-8") == made_from:
            return
        draft = student.with_name(".student.partial")
        shutil.rmtree(draft, ignore_errors=True)
        shrink(self.teacher_folder, draft, self.job.student.shape)
        AutoTokenizer.from_pretrained(section.tokenizer or self.teacher_folder).save_pretrained(draft)
        replace_folder(draft, student)
        write_whole(note, made_from.encode("utf-8"))

    def teacher(self) -> Any:
        """The teacher in float32, where the objective compares with one."""
        if self.job.objective.distillation is None:
            return None
        return self.backend.models["conditional"].from_pretrained(self.teacher_folder, dtype="float32")
