"""The stages of the recipe in their order: from raw text to the folder that is bundled, and its figures.

Each one leaves its result in the work folder and can be run again alone; those that take long go on from
where they were stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from corpus import learn_vocabulary, prepare_pairs, prepare_passages
from job import Job
from results import evaluate, export
from scales import Recipe

from training import distill, finetune, pretrain, teach_teacher, write_targets

log = logging.getLogger(__name__)

STAGES: dict[str, Callable[[Job], None]] = {
    "vocabulary": learn_vocabulary,
    "prepare": prepare_passages,
    "pairs": prepare_pairs,
    "teacher-pretrain": lambda job: pretrain(job, teacher=True),
    "teacher-finetune": teach_teacher,
    "pretrain": pretrain,
    "pseudo": write_targets,
    "finetune": finetune,
    "distill": distill,
    "export": export,
    "evaluate": evaluate,
}
"""In the order in which they are run."""

MADE = {
    "vocabulary": ("spiece.model",),
    "prepare": ("passages/*.npz",),
    "pairs": ("pairs/*.npz",),
    "teacher-finetune": ("teacher/*.safetensors",),
    "pseudo": ("pseudo/*.npz",),
}
"""What stages leave, whose hashes are noted; training has journals of its own."""


def everything(recipe: Recipe) -> list[str]:
    """The stages of a recipe: with a teacher its pupil is distilled, without one it is fine-tuned."""
    if "teacher" in recipe:
        return [name for name in STAGES if name != "finetune"]
    return [name for name in STAGES if not name.startswith("teacher") and name not in ("pseudo", "distill")]


def run(job: Job, stages: list[str]) -> None:
    """Run stages in their order.

    Raises:
        SystemExit: the time was over before the last one, and the status is ``GO_ON``.
    """
    for name in (name for name in STAGES if name in stages):
        job.stop_if_late(f"stage {name}")
        log.info("stage %s", name)
        begin = time.time()
        STAGES[name](job)
        seconds = round(time.time() - begin, 1)
        job.note(name, {"data": job.hashes(*MADE.get(name, ())), "seconds": seconds})
