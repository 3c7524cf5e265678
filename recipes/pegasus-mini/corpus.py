"""The stages that read text: vocabulary, passages, pairs."""

from __future__ import annotations

import contextlib
import logging
import random

import numpy as np
from job import Job
from pairs import Pairs, openings, subjects, supervised
from passages import Passages, prepare, read
from sentencepiece import SentencePieceTrainer

log = logging.getLogger(__name__)


def learn_vocabulary(job: Job) -> None:
    """Learn the unigram vocabulary from a sample of the pre-training text."""
    settings, sample = job.recipe["vocabulary"], job.work / "sample.txt"
    if not job.again and (job.work / "spiece.model").exists():
        return
    rng = random.Random(settings["seed"])
    with sample.open("w", encoding="utf-8") as out:
        for file in sorted((job.data / "pretrain").glob("*.jsonl.xz")):
            for record in read(file):
                if rng.random() < settings["sample"]:
                    lines = (line.strip() for line in str(record["text"]).split("\n"))
                    out.writelines(line[:4000] + "\n" for line in lines if line)
    with contextlib.chdir(job.work):  # the model keeps the names of its files: no one's folders in them
        SentencePieceTrainer.train(
            input=sample.name,
            model_prefix="spiece",
            vocab_size=settings["pieces"],
            model_type="unigram",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            user_defined_symbols=["<n>"],
            split_digits=True,
            character_coverage=0.9995,
            input_sentence_size=200_000,
            shuffle_input_sentence=True,
            max_sentence_length=8192,
            num_threads=2,
        )


def prepare_passages(job: Job) -> None:
    """Cut the pre-training text into passages, with ids and sentence scores."""
    settings = job.recipe["prepare"]
    for name, share in settings["share"].items():
        target = job.work / "passages" / f"{name}.npz"
        if target.exists() and not job.again:
            continue
        job.stop_if_late(f"passages of {name}")
        file = job.data / "pretrain" / f"{name}.jsonl.xz"
        made = prepare(file, job.pieces, settings["passage_tokens"], share, job.seed)
        with job.put(target) as partial:
            np.savez(partial, **{key: getattr(made, key) for key in Passages.__dataclass_fields__})
        log.info("%s: %d passages, %d tokens", name, len(made), len(made.ids))


def prepare_pairs(job: Job) -> None:
    """Make the pairs of fine-tuning: what sources bear out of human summaries, and of openings."""
    settings = job.recipe["pairs"]
    names = [*settings["supervised"], *settings["openings"]]
    if not job.again and all((job.work / "pairs" / f"{name}.npz").exists() for name in names):
        return
    held = [job.data / "wiki_lead" / f"{split}.jsonl.xz" for split in ("validation", "test")]
    forbidden, rng = subjects(held), random.Random(job.seed)
    for name in settings["supervised"]:
        made = supervised(job.data / name / "train.jsonl.xz", job.pieces, settings)
        _save_pairs(job, name, Pairs.of(made, job.pieces, settings))
    for name, files in settings["openings"].items():
        made = (
            pair
            for file in files
            for pair in openings(
                job.data / "pretrain" / f"{file}.jsonl.xz", job.pieces, settings, forbidden, rng
            )
        )
        _save_pairs(job, name, Pairs.of(made, job.pieces, settings))


def _save_pairs(job: Job, name: str, made: Pairs) -> None:
    with job.put(job.work / "pairs" / f"{name}.npz") as partial:
        made.save(partial)
    log.info("%s: %d pairs, %d tokens", name, len(made), len(made.ids))
