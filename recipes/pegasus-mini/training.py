"""The stages that learn: pre-training, fine-tuning, the teacher's targets, distillation."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pseudo
import torch
from examples import Example, Make, batches, gap_example, mixture, shuffled
from feeding import Feed, ahead, as_batch, hide, symbols
from job import Job
from learn import fresh_model, train
from lessons import Distilled, Lesson, Plain
from pairs import Pairs
from passages import Passages
from results import write_folder
from scales import Settings, finetuning, pretraining, section

from pegasus import PegasusForConditionalGeneration, Summarizer
from pegasus.training.checkpoints import sha256

log = logging.getLogger(__name__)


def pretrain(job: Job, teacher: bool = False) -> None:
    """Learn to find, copy and write sentences: one part of the recipe after the other.

    Parts before one that has begun are over, whether their states are still there or not.
    """
    parts = pretraining(job.recipe, teacher)
    names = [f"{_whose(teacher)}pretrain-{number}" for number in range(len(parts))]
    later = f"{_whose(teacher)}finetune" if teacher or "distill" not in job.recipe else "distill"
    if not job.again and job.begun(later):
        return
    first = max((number for number, name in enumerate(names) if job.begun(name)), default=0)
    passages = job.passages()
    for number in range(first, len(parts)):
        settings, seed = parts[number], job.seed + number
        model = _model(job, settings, teacher)
        if number and not job.begun(names[number]):
            job.take(model, names[number - 1])
        feed = _gaps(job, passages, settings, seed)
        lesson = Plain(model, settings)
        _train(job, lesson, feed, settings, names[number], job.facts(seed, "passages"))


def _gaps(job: Job, passages: Passages, settings: Settings, seed: int) -> Feed:
    def make(index: int, rng: np.random.Generator) -> Example:
        return gap_example(passages.sentences(index), settings, rng)

    feed = _feed(lambda: (make, shuffled(len(passages), seed)), settings, seed)
    return hide(feed, settings, symbols(job.pieces), seed) if settings.get("word_ratio") else feed


def finetune(job: Job, teacher: bool = False) -> None:
    """Learn to write one or two sentences of whole texts, from pre-trained weights or from fresh ones."""
    settings = finetuning(job.recipe, f"{_whose(teacher)}finetune")
    model = _model(job, settings, teacher)
    name = f"{_whose(teacher)}finetune-fresh" if job.fresh else f"{_whose(teacher)}finetune"
    if not job.fresh and not job.begun(name):
        job.take(model, _pretrained(job, teacher))
    feed = _mixture(job, settings, _pairs(job, settings))
    _train(job, Plain(model, settings), feed, settings, name, job.facts(job.seed, "pairs"))


def teach_teacher(job: Job) -> None:
    """Fine-tune the teacher, and write it as a folder that ``Summarizer`` reads."""
    finetune(job, teacher=True)
    write_folder(job, "teacher-finetune", job.work / "teacher", teacher=True)


def write_targets(job: Job) -> None:
    """Let the teacher write what the smaller model is to learn.

    Raises:
        SystemExit: the time was over first; the next call goes on.
    """
    settings = {**job.recipe["pairs"], **section(job.recipe, "pseudo")}
    author, pieces = _author(job), job.pieces
    folder, teacher = job.work / "pseudo", None
    for sources in _sources(job):
        for part, numbers in sources.parts(settings["part"]):
            target = pseudo.file_of(folder, sources.name, part, author)
            if target.exists():
                continue
            job.stop_if_late(f"part {part} of {sources.name}")
            teacher = teacher or _summarizer(job, job.work / "teacher", settings)
            begin = time.time()
            made = pseudo.write(sources, numbers, teacher, pieces, settings)
            with job.put(target) as partial:
                made.save(partial)
            numbers_of = {"set": sources.name, "part": part, "sources": len(numbers), "kept": len(made)}
            job.note("pseudo-part", {**numbers_of, "seconds": round(time.time() - begin, 1)})
            log.info("%s, part %d: %d of %d targets kept", sources.name, part, len(made), len(numbers))


def _summarizer(job: Job, folder: Path, settings: Settings) -> pseudo.Write:
    summarizer = Summarizer.from_pretrained(
        folder,
        device=job.device,
        threads=torch.get_num_threads(),
        long="truncate",
        check=False,
        num_beams=settings["num_beams"],
        batch_size=settings["batch"],
        batch_tokens=settings["batch_tokens"],
    )
    return summarizer.__call__


def _sources(job: Job) -> list[pseudo.Sources]:
    settings = section(job.recipe, "pseudo")
    pairs = _load_pairs(job, settings["sets"])
    sets = [pseudo.of_pairs(name, some) for name, some in pairs.items()]
    return [*sets, pseudo.of_passages(job.passages(), settings["passages"], job.seed)]


def _author(job: Job) -> str:
    """The hash of the teacher's weights."""
    return sha256(job.work / "teacher" / "model.safetensors")


def distill(job: Job) -> None:
    """Learn from people's targets, from the teacher's, and from how sure the teacher is of each word."""
    settings = finetuning(job.recipe, "distill")
    written = pseudo.read(
        job.work / "pseudo", _sources(job), section(job.recipe, "pseudo")["part"], _author(job)
    )
    teacher = _model(job, {}, teacher=True)
    job.take(teacher, "teacher-finetune")
    model = _model(job, settings)
    if not job.begun("distill"):
        job.take(model, _pretrained(job))
    feed = _mixture(job, settings, {**_pairs(job, settings), **written})
    facts = {**job.facts(job.seed, "pairs", "pseudo"), "teacher": _author(job)[:32]}
    lesson = Distilled(model, teacher, settings)
    _train(job, lesson, feed, settings, "distill", facts)


def _whose(teacher: bool) -> str:
    return "teacher-" if teacher else ""


def _pretrained(job: Job, teacher: bool = False) -> str:
    return f"{_whose(teacher)}pretrain-{len(job.recipe['pretrain']) - 1}"


def _model(job: Job, settings: Settings, teacher: bool = False) -> PegasusForConditionalGeneration:
    model = fresh_model(job.config(settings.get("dropout", 0.0), teacher), job.seed)
    model.to(job.device)
    return model


def _pairs(job: Job, settings: Settings) -> dict[str, Pairs]:
    """The pairs that people wrote the targets of, of the sets that a mixture names."""
    return _load_pairs(job, [name for name in settings["share"] if not name.startswith(pseudo.PREFIX)])


def _load_pairs(job: Job, names: list[str]) -> dict[str, Pairs]:
    files = {name: job.need(f"pairs/{name}.npz", "pairs")[0] for name in names}
    return {name: Pairs.load(file) for name, file in files.items()}


def _mixture(job: Job, settings: Settings, pairs: Mapping[str, Pairs]) -> Feed:
    """Batches of pairs and passages; what a set without pairs would have had goes to the passages."""
    passages = job.passages()
    share = {name: share for name, share in settings["share"].items() if len(pairs[name])}
    shared = {**settings, "share": share}
    return _feed(lambda: mixture(passages, pairs, shared, job.seed), settings, job.seed)


def _feed(start: Callable[[], tuple[Make, Iterator[int]]], settings: Settings, seed: int) -> Feed:
    def feed(first: int) -> Iterator[dict[str, np.ndarray]]:
        make, order = start()
        return (as_batch(*both) for both in batches(make, order, settings, seed, first))

    return feed


def _train(
    job: Job, lesson: Lesson, feed: Feed, settings: Settings, name: str, facts: Mapping[str, Any]
) -> None:
    # On a CPU another process would take what the training needs.
    made = feed if job.device == "cpu" else ahead(feed)
    train(lesson, made, settings, job.work / name, facts, job.late)
