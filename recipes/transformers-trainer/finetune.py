"""Fine-tuning for summaries with ``Seq2SeqTrainer``: of this package are model, tokenizer and collator."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from transformers import HfArgumentParser, Seq2SeqTrainer, Seq2SeqTrainingArguments

from pegasus import AutoTokenizer, DataCollatorForSeq2Seq, PegasusForConditionalGeneration, set_seed

KINDS = ["rouge1", "rouge2", "rougeL"]


@dataclass
class Arguments:
    """What to learn from, and what.

    Attributes:
        model_name_or_path: a folder, a bundled name or a hub name.
        train_file: JSON lines.
        validation_file: JSON lines.
        text_column: what is summarized.
        summary_column: what is to be said; a list of texts: the first counts.
        max_source_length: tokens of a text at most.
        max_target_length: tokens of a summary at most.
        max_train_samples: rows to learn from; all without it.
        max_eval_samples: rows to measure on; all without it.
        preprocessing_num_workers: processes that turn texts into ids.
        num_beams: of the search when summaries are measured.
    """

    model_name_or_path: str = field()
    train_file: str = field()
    validation_file: str = field()
    text_column: str = "document"
    summary_column: str = "summary"
    max_source_length: int = 512
    max_target_length: int = 64
    max_train_samples: int | None = None
    max_eval_samples: int | None = None
    preprocessing_num_workers: int = 1
    num_beams: int = 4


def main() -> None:
    """Train, measure, save."""
    parser = HfArgumentParser((Arguments, Seq2SeqTrainingArguments))
    wanted, training = parser.parse_args_into_dataclasses()
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(wanted.model_name_or_path)
    model = PegasusForConditionalGeneration.from_pretrained(
        wanted.model_name_or_path, torch_dtype="float32"
    )
    files = {"train": wanted.train_file, "validation": wanted.validation_file}
    # One by one: a summary may be a text in one file and a list of texts in the other.
    data = {
        part: datasets.load_dataset("json", data_files=file, split="train") for part, file in files.items()
    }
    most = {"train": wanted.max_train_samples, "validation": wanted.max_eval_samples}

    def encode(rows: dict[str, list[Any]]) -> Any:
        summaries = [one if isinstance(one, str) else one[0] for one in rows[wanted.summary_column]]
        encoded = tokenizer(rows[wanted.text_column], max_length=wanted.max_source_length, truncation=True)
        targets = tokenizer(text_target=summaries, max_length=wanted.max_target_length, truncation=True)
        return {**encoded, "labels": targets["input_ids"]}

    for part, limit in most.items():
        rows = data[part].select(range(min(limit or len(data[part]), len(data[part]))))
        data[part] = rows.map(
            encode,
            batched=True,
            remove_columns=rows.column_names,
            num_proc=wanted.preprocessing_num_workers,
        )

    def measure(found: Any) -> dict[str, float]:
        said, due = (np.where(ids < 0, tokenizer.pad_token_id, ids) for ids in found)
        texts, summaries = (tokenizer.batch_decode(ids, skip_special_tokens=True) for ids in (said, due))
        scorer = RougeScorer(KINDS, use_stemmer=True)
        scores = [scorer.score(summary, text) for summary, text in zip(summaries, texts)]
        return {kind: 100 * float(np.mean([one[kind].fmeasure for one in scores])) for kind in KINDS}

    training.predict_with_generate = True
    training.generation_num_beams = wanted.num_beams
    training.generation_max_length = wanted.max_target_length
    trainer = Seq2SeqTrainer(
        model=model,
        args=training,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        compute_metrics=measure,
    )
    if training.do_train:
        trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
        trainer.save_model()
        tokenizer.save_pretrained(training.output_dir)
        trainer.save_state()
    if training.do_eval:
        trainer.save_metrics("eval", trainer.evaluate())


if __name__ == "__main__":
    sys.exit(main())
