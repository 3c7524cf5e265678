"""The same without a trainer: a loop of one's own over ``accelerate``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from rouge_score.rouge_scorer import RougeScorer
from torch.utils.data import DataLoader

from pegasus import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    SchedulerType,
    get_scheduler,
    set_seed,
)

KINDS = ["rouge1", "rouge2", "rougeL"]


def main() -> None:
    """Train, measure, save."""
    wanted = parse()
    set_seed(wanted.seed)
    accelerator = Accelerator(
        gradient_accumulation_steps=wanted.gradient_accumulation_steps, cpu=wanted.cpu
    )
    tokenizer = AutoTokenizer.from_pretrained(wanted.model_name_or_path)
    model = AutoModelForSeq2SeqLM.from_pretrained(wanted.model_name_or_path, torch_dtype="float32")
    train, validation = loaders(wanted, tokenizer, model)
    decayed = [p for n, p in model.named_parameters() if p.requires_grad and p.dim() > 1]
    plain = [p for n, p in model.named_parameters() if p.requires_grad and p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": wanted.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=wanted.learning_rate,
    )
    updates = math.ceil(len(train) / wanted.gradient_accumulation_steps) * wanted.num_train_epochs
    scheduler = get_scheduler(
        name=wanted.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=wanted.num_warmup_steps,
        num_training_steps=updates,
    )
    model, optimizer, train, validation, scheduler = accelerator.prepare(
        model, optimizer, train, validation, scheduler
    )
    log = []
    for epoch in range(wanted.num_train_epochs):
        loss = learn(accelerator, model, optimizer, scheduler, train)
        accelerator.save_state(str(wanted.output_dir / "state"))
        scores = measure(accelerator, model, tokenizer, validation, wanted)
        log.append({"epoch": epoch + 1, "train_loss": loss, **scores})
        accelerator.print(log[-1])
    accelerator.wait_for_everyone()
    accelerator.unwrap_model(model).save_pretrained(
        wanted.output_dir, is_main_process=accelerator.is_main_process, save_function=accelerator.save
    )
    if accelerator.is_main_process:
        tokenizer.save_pretrained(wanted.output_dir)
        (wanted.output_dir / "all_results.json").write_text(json.dumps(log, indent=2) + "\n")


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--train_file", required=True)
    parser.add_argument("--validation_file", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--text_column", default="document")
    parser.add_argument("--summary_column", default="summary")
    parser.add_argument("--max_source_length", type=int, default=512)
    parser.add_argument("--max_target_length", type=int, default=64)
    parser.add_argument("--max_train_samples", type=int)
    parser.add_argument("--max_eval_samples", type=int)
    parser.add_argument("--per_device_batch_size", type=int, default=8)
    parser.add_argument("--gradient_accumulation_steps", type=int, default=1)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--num_train_epochs", type=int, default=1)
    parser.add_argument("--num_warmup_steps", type=int, default=0)
    names = [kind.value for kind in SchedulerType]
    parser.add_argument("--lr_scheduler_type", choices=names, default="linear")
    parser.add_argument("--num_beams", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true")
    return parser.parse_args()


def loaders(wanted: argparse.Namespace, tokenizer: Any, model: Any) -> tuple[DataLoader, DataLoader]:
    """Batches to learn from and to measure on."""
    files = {"train": wanted.train_file, "validation": wanted.validation_file}
    # One by one: a summary may be a text in one file and a list of texts in the other.
    data = {
        part: datasets.load_dataset("json", data_files=file, split="train") for part, file in files.items()
    }

    def encode(rows: dict[str, list[Any]]) -> Any:
        summaries = [one if isinstance(one, str) else one[0] for one in rows[wanted.summary_column]]
        encoded = tokenizer(rows[wanted.text_column], max_length=wanted.max_source_length, truncation=True)
        targets = tokenizer(text_target=summaries, max_length=wanted.max_target_length, truncation=True)
        return {**encoded, "labels": targets["input_ids"]}

    made = []
    collate = DataCollatorForSeq2Seq(tokenizer, model=model)
    for part, most in (("train", wanted.max_train_samples), ("validation", wanted.max_eval_samples)):
        rows = data[part].select(range(min(most or len(data[part]), len(data[part]))))
        rows = rows.map(encode, batched=True, remove_columns=rows.column_names)
        made.append(
            DataLoader(
                rows, shuffle=part == "train", batch_size=wanted.per_device_batch_size, collate_fn=collate
            )
        )
    return made[0], made[1]


def learn(accelerator: Accelerator, model: Any, optimizer: Any, scheduler: Any, train: Any) -> float:
    """One pass over the examples; the mean loss."""
    model.train()
    total = 0.0
    for batch in train:
        with accelerator.accumulate(model):
            loss = model(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        total += float(loss.detach())
    return total / len(train)


def measure(
    accelerator: Accelerator, model: Any, tokenizer: Any, validation: Any, wanted: argparse.Namespace
) -> dict[str, float]:
    """ROUGE of what the model says."""
    model.eval()
    scorer = RougeScorer(KINDS, use_stemmer=True)
    found: list[Any] = []
    for batch in validation:
        said = accelerator.unwrap_model(model).generate(
            batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_length=wanted.max_target_length,
            num_beams=wanted.num_beams,
        )
        said = accelerator.pad_across_processes(said, dim=1, pad_index=tokenizer.pad_token_id)
        labels = accelerator.pad_across_processes(batch["labels"], dim=1, pad_index=-100)
        said, labels = accelerator.gather_for_metrics((said, labels))
        labels = labels.masked_fill(labels < 0, tokenizer.pad_token_id)
        pairs = zip(*(tokenizer.batch_decode(ids, skip_special_tokens=True) for ids in (labels, said)))
        found += [scorer.score(summary, text) for summary, text in pairs]
    return {kind: 100 * float(np.mean([one[kind].fmeasure for one in found])) for kind in KINDS}


if __name__ == "__main__":
    sys.exit(main())
