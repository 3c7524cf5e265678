"""The stages at the end: the folder that is bundled, and its figures."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from job import Job
from sentencepiece import SentencePieceProcessor

from pegasus import GenerationConfig, PegasusForConditionalGeneration, PegasusTokenizerFast, Summarizer

log = logging.getLogger(__name__)


def export(job: Job) -> None:
    """Write the folder that is bundled: half-precision weights, tokenizer, settings of ``generate``."""
    learned = "distill" if "distill" in job.recipe else "finetune"
    write_folder(job, "finetune-fresh" if job.fresh else learned, job.out)


def write_folder(job: Job, run: str, out: Path, teacher: bool = False) -> None:
    """Write what a run of training left as a folder that everybody reads."""
    config = job.config(dropout=0.1, teacher=teacher)
    config.update(job.recipe["export"])
    model = PegasusForConditionalGeneration(config)
    job.take(model, run)
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
    found = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    for name, text in (("results.json", found), ("tables.md", tables(results))):
        with job.put(job.work / name) as partial:
            partial.write_text(text, encoding="utf-8")


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
