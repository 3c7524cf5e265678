"""The stages of the recipe: from raw text to the folder that is bundled, and its figures.

Each one leaves its result in the work folder and can be run again alone; those that take long go on from
where they were stopped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pseudo
import torch
from examples import Example, Make, batches, gap_example, mixture, shuffled
from feeding import Feed, ahead, as_batch, hide, symbols
from learn import GO_ON, fresh_model, load_weights, machine, train
from lessons import Distilled, Lesson, Plain
from pairs import Pairs, openings, subjects, supervised
from passages import OFFSET, Passages, prepare, read
from scales import Recipe, Settings, finetuning, pretraining, section
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from travel import digest

from pegasus import (
    GenerationConfig,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PegasusTokenizerFast,
    Summarizer,
)
from pegasus.training.journal import Journal

log = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Job:
    """The recipe, the folders it works in, and how.

    Attributes:
        recipe: every setting.
        work: where stages leave their results.
        out: the exported model.
        fresh: fine-tune without the pre-training.
        without: an exported model of ``fresh``, to be measured beside.
        split: what is measured: "validation" or "test".
        limit: texts of each set that are measured.
        device: where models are.
        again: whether stages whose results are there are done again.
        deadline: when to stop, in seconds of ``time.monotonic``.
    """

    recipe: Recipe
    work: Path
    out: Path
    fresh: bool = False
    without: Path | None = None
    split: str | None = None
    limit: int | None = None
    device: str = "cpu"
    again: bool = True
    deadline: float = float("inf")

    @property
    def data(self) -> Path:
        """The data pack: beside the repository, or what came along with the work folder."""
        brought = self.work / "data"
        return brought if brought.is_dir() else (REPOSITORY / self.recipe["data"]).resolve()

    @property
    def seed(self) -> int:
        """What everything drawn begins with."""
        return int(self.recipe["seed"])

    @property
    def pieces(self) -> SentencePieceProcessor:
        """The vocabulary that the first stage learned."""
        return SentencePieceProcessor(model_file=str(self.work / "spiece.model"))

    def late(self) -> bool:
        """Whether to stop."""
        return time.monotonic() > self.deadline

    def stop_if_late(self, place: str) -> None:
        """End with ``GO_ON`` when the time is over; what is done by then is kept."""
        if self.late():
            log.info("stopped before %s: start again to go on", place)
            raise SystemExit(GO_ON)

    def config(self, dropout: float, teacher: bool = False) -> PegasusConfig:
        """The configuration of the model or of its teacher."""
        size = self.recipe["vocabulary"]["pieces"] + OFFSET
        shape = (section(self.recipe, "teacher") if teacher else self.recipe)["model"]
        return PegasusConfig(vocab_size=size, dropout=dropout, attention_dropout=0.0, **shape)

    def passages(self) -> Passages:
        """What the second stage made of the pre-training text."""
        return Passages.load(sorted((self.work / "passages").glob("*.npz")))

    def begun(self, run: str) -> bool:
        """Whether a run of training has left a state."""
        return (self.work / run / "state.pt").exists()

    def facts(self, seed: int, *folders: str) -> dict[str, Any]:
        """What a journal says of a run: its seed, and the first half of each data file's SHA-256."""
        return {"seed": seed, "data": self.hashes(*(f"{folder}/*.npz" for folder in folders))}

    def hashes(self, *patterns: str) -> dict[str, str]:
        """The first half of the SHA-256 of each of these files in the work folder."""
        files = [file for pattern in patterns for file in sorted(self.work.glob(pattern))]
        return {str(f.relative_to(self.work).with_suffix("")): digest(f)[:32] for f in files}

    def note(self, stage: str, numbers: Mapping[str, Any]) -> None:
        """Add a line to the journal of stages."""
        facts = {"seed": self.seed, **machine(torch.device(self.device)), **numbers}
        Journal(self.work / "stages.jsonl").write(stage, 0, facts)

    @contextlib.contextmanager
    def put(self, file: Path) -> Iterator[Path]:
        """A name to write to; when all is written it becomes ``file``: no half one has that name."""
        partial = self.work / f"partial{file.suffix}"
        yield partial
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(file)


# -- text ------------------------------------------------------------------------------------------------


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


# -- training --------------------------------------------------------------------------------------------


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
            _take(model, job.work / names[number - 1])
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
        _take(model, job.work / _pretrained(job, teacher))
    feed = _mixture(job, settings, _pairs(job, settings))
    _train(job, Plain(model, settings), feed, settings, name, job.facts(job.seed, "pairs"))


def teach_teacher(job: Job) -> None:
    """Fine-tune the teacher, and write it as a folder that ``Summarizer`` reads."""
    finetune(job, teacher=True)
    _write_folder(job, job.work / "teacher-finetune", job.work / "teacher", teacher=True)


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
    return digest(job.work / "teacher" / "model.safetensors")


def distill(job: Job) -> None:
    """Learn from people's targets, from the teacher's, and from how sure the teacher is of each word."""
    settings = finetuning(job.recipe, "distill")
    written = pseudo.read(
        job.work / "pseudo", _sources(job), section(job.recipe, "pseudo")["part"], _author(job)
    )
    teacher = _model(job, {}, teacher=True)
    _take(teacher, job.work / "teacher-finetune")
    model = _model(job, settings)
    if not job.begun("distill"):
        _take(model, job.work / _pretrained(job))
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


def _take(model: PegasusForConditionalGeneration, folder: Path) -> None:
    load_weights(model, torch.load(folder / "state.pt", map_location="cpu", weights_only=True)["model"])


def _pairs(job: Job, settings: Settings) -> dict[str, Pairs]:
    """The pairs that people wrote the targets of, of the sets that a mixture names."""
    return _load_pairs(job, [name for name in settings["share"] if not name.startswith(pseudo.PREFIX)])


def _load_pairs(job: Job, names: list[str]) -> dict[str, Pairs]:
    return {name: Pairs.load(job.work / "pairs" / f"{name}.npz") for name in names}


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


# -- results ---------------------------------------------------------------------------------------------


def export(job: Job) -> None:
    """Write the folder that is bundled: half-precision weights, tokenizer, settings of ``generate``."""
    learned = "distill" if "distill" in job.recipe else "finetune"
    _write_folder(job, job.work / ("finetune-fresh" if job.fresh else learned), job.out)


def _write_folder(job: Job, run: Path, out: Path, teacher: bool = False) -> None:
    config = job.config(dropout=0.1, teacher=teacher)
    config.update(job.recipe["export"])
    model = PegasusForConditionalGeneration(config)
    _take(model, run)
    model.generation_config = GenerationConfig(**job.recipe["generation"])
    model.half().save_pretrained(out)
    tokenizer = PegasusTokenizerFast(vocab_file=str(job.work / "spiece.model"), **job.recipe["tokenizer"])
    tokenizer.save_pretrained(out)


def evaluate(job: Job) -> None:
    """Measure the exported folder on a split of the sets named in the recipe: figures and tables."""
    from judge import judge, tables, texts  # its packages are needed nowhere else

    settings = job.recipe["evaluate"]
    split = job.split or settings.get("split", "test")
    summarize = _reader(job, job.out)
    fresh = None if job.without is None else _reader(job, job.without)
    pieces = SentencePieceProcessor(model_file=str(job.out / "spiece.model"))
    results = {}
    for name in settings["sets"]:
        file = job.data / name / f"{split}.jsonl.xz"
        if not file.exists():
            continue
        originals = texts(file, pieces, settings["target_tokens"])[: job.limit]
        results[name] = judge(summarize, originals, fresh)
        log.info("%s: %s", name, {key: value for key, value in results[name].items() if key != "first"})
    (job.work / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (job.work / "tables.md").write_text(tables(results))


def _reader(job: Job, folder: Path) -> Callable[[list[str]], list[str]]:
    """What the model of a folder makes of the beginnings of texts, as much as it reads at a time."""
    summarizer = Summarizer.from_pretrained(
        folder,
        device=job.device,
        dtype="float32",
        threads=torch.get_num_threads(),
        long="truncate",
        check=False,
        batch_size=job.recipe["evaluate"]["batch"],
    )
    return lambda documents: [summary.text for summary in summarizer(documents)]


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
