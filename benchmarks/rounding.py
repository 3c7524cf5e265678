"""What rounding the weights costs: words, ROUGE and logits of a packed model beside float32.

    python benchmarks/rounding.py --model pegasus-mini --data test.jsonl --limit 500 --dtypes int8,bfloat16

One JSON object a dtype: the share of summaries that are the same to the last token, ROUGE F1 times 100
of both with 95 % intervals, their difference row by row with its own interval, and, where both read the
summary that float32 wrote, how far logits are apart (in units of their standard deviation) and how often
the likeliest token is the same.
"""

from __future__ import annotations

import argparse
import json
from itertools import islice
from typing import Any

import numpy as np

from pegasus.backends.packed.model import PackedModel
from pegasus.data.read import read_pairs
from pegasus.evaluation.rouge import KINDS, intervals, resampled_means, score_rows
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Ask
from pegasus.summarizer import Summarizer
from pegasus.summarizer.writer import Job


def logits(model: PackedModel, source: tuple[int, ...], said: tuple[int, ...]) -> np.ndarray:
    """Log-probabilities [T, V] at every place of a summary."""
    session = model.open_session(Request(input_ids=np.array([source])))
    read = np.array([[model.config.decoder_start_token_id, *said[:-1]]])
    return session.step(Ask(read, count=None, positions=read.shape[1])).log_probs_RC


def compare_logits(exact: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """The mean and greatest distance in standard deviations, and how often the best token is the same."""
    error = np.abs(exact - other) / exact.std(axis=1, keepdims=True)
    same = exact.argmax(axis=1) == other.argmax(axis=1)
    return float(error.mean()), float(error.max()), float(same.mean())


def written(summarizer: Summarizer, sources: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The tokens of each summary; texts of a batch are padded to each other, which changes nothing."""
    order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
    found: dict[int, tuple[int, ...]] = {}
    for start in range(0, len(order), 8):
        batch = order[start : start + 8]
        drafts = summarizer.writer.write([Job(sources[index]) for index in batch], {})
        found.update({index: draft.tokens for index, draft in zip(batch, drafts)})
    return [found[index] for index in range(len(sources))]


def scored(summarizer: Summarizer, said: list[tuple[int, ...]], pairs: list[Any]) -> Any:
    """ROUGE row by row."""
    texts = [summarizer.reader.decode(tokens) for tokens in said]
    return list(score_rows(texts, [pair.summaries for pair in pairs]))


def difference(exact: Any, other: Any) -> dict[str, list[float]]:
    """The mean difference by kind of ROUGE, times 100, and its 95 % interval."""
    table = np.array([[two[kind] - one[kind] for kind in KINDS] for one, two in zip(exact, other)])
    low, high = np.percentile(resampled_means(table), (2.5, 97.5), axis=0) * 100
    means = table.mean(axis=0) * 100
    return {kind: [round(float(x), 2) for x in row] for kind, *row in zip(KINDS, means, low, high)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pegasus-mini")
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--dtypes", default="int8,bfloat16,float16")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    options = {"device": "cpu", "threads": arguments.threads}
    exact = Summarizer.from_pretrained(arguments.model, dtype="float32", **options)
    pairs = list(islice(read_pairs([arguments.data]), arguments.limit))
    limit = exact.writer.limit
    sources = [
        (*tokens[: limit - 1], tokens[-1]) for tokens in exact.reader.encode([p.document for p in pairs])
    ]
    said = written(exact, sources)
    rows = scored(exact, said, pairs)
    for dtype in arguments.dtypes.split(","):
        other = Summarizer.from_pretrained(arguments.model, dtype=dtype, **options)
        also = written(other, sources)
        also_rows = scored(other, also, pairs)
        errors = [
            compare_logits(logits(exact.writer.model, *one), logits(other.writer.model, *one))
            for one in zip(sources, said)
        ]
        mean, most, same = np.array(errors).T
        report = {
            "model": arguments.model,
            "data": arguments.data.rpartition("/")[2],
            "rows": len(pairs),
            "dtype": dtype,
            "identical": round(float(np.mean([one == two for one, two in zip(said, also)])), 4),
            "rouge_float32": {kind: vars(found) for kind, found in intervals(rows).items()},
            "rouge": {kind: vars(found) for kind, found in intervals(also_rows).items()},
            "difference": difference(rows, also_rows),
            "logits_mean_error": round(float(mean.mean()), 5),
            "logits_greatest_error": round(float(most.max()), 4),
            "same_best_token": round(float(same.mean()), 4),
        }
        print(json.dumps(report))


if __name__ == "__main__":
    main()
