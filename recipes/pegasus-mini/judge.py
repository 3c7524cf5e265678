"""How good the summaries are: ROUGE beside the opening of the text at equal length, repetition, numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from examples import short_target
from passages import read
from rouge_score.rouge_scorer import RougeScorer
from sentencepiece import SentencePieceProcessor

MEASURES = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class Text:
    """One test document and what people wrote of it."""

    document: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Interval:
    """A mean of F-measures in percent, with the ends of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def texts(file: Path, pieces: SentencePieceProcessor, target_tokens: int) -> list[Text]:
    """A split whose references are cut as the training targets were: leading sentences that fit."""
    out = []
    for record in read(file):
        several = record.get("summaries") or [record["summary"]]
        assert isinstance(several, list)
        references = tuple(short_target(str(one), pieces, target_tokens) for one in several)
        out.append(Text(" ".join(str(record["document"]).split()), references))
    return out


def f_measures(outputs: Sequence[str], originals: Sequence[Text]) -> dict[str, np.ndarray]:
    """F of each output against its best reference, with stemming, one array a measure."""
    scorer = RougeScorer(list(MEASURES), use_stemmer=True)
    rows: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for output, text in zip(outputs, originals, strict=True):
        scores = [scorer.score(reference, output) for reference in text.references]
        for measure in MEASURES:
            rows[measure].append(max(score[measure].fmeasure for score in scores))
    return {measure: np.array(row) for measure, row in rows.items()}


def interval(values: np.ndarray, seed: int = 0, draws: int = 1000) -> Interval:
    """Mean in percent and the 2.5th and 97.5th percentile of the means of ``draws`` resamples."""
    picks = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.percentile(values[picks].mean(1) * 100, [2.5, 97.5])
    return Interval(round(float(values.mean()) * 100, 2), round(float(low), 2), round(float(high), 2))


def openings(originals: Sequence[Text], words: int) -> list[str]:
    """The first ``words`` words of each document."""
    return [" ".join(text.document.split()[:words]) for text in originals]


def repeats(output: str) -> bool:
    """Whether any three words in a row stand in the output three times."""
    words = output.lower().split()
    return max(Counter(zip(words, words[1:], words[2:], strict=False)).values(), default=0) >= 3


def invented_numbers(output: str, document: str) -> bool:
    """Whether the output has a number that the document has not."""
    known = set(re.findall(r"\d+", document))
    return any(number not in known for number in re.findall(r"\d+", output))


def judge(summarize: Callable[[list[str]], list[str]], originals: Sequence[Text]) -> dict[str, object]:
    """Every figure of the model card for one split, and its first ten outputs."""
    outputs = summarize([text.document for text in originals])
    words = round(float(np.mean([len(output.split()) for output in outputs])))
    model = f_measures(outputs, originals)
    lead = f_measures(openings(originals, words), originals)
    return {
        "texts": len(originals),
        "words": words,
        "model": {measure: asdict(interval(model[measure])) for measure in MEASURES},
        "lead": {measure: asdict(interval(lead[measure])) for measure in MEASURES},
        "difference": {measure: asdict(interval(model[measure] - lead[measure])) for measure in MEASURES},
        "repeats": round(100 * float(np.mean([repeats(output) for output in outputs])), 1),
        "invented_numbers": round(
            100
            * float(
                np.mean([invented_numbers(o, t.document) for o, t in zip(outputs, originals, strict=True)])
            ),
            1,
        ),
        "first": [
            {"output": output, "reference": text.references[0], "document": text.document[:300]}
            for output, text in list(zip(outputs, originals, strict=True))[:10]
        ],
    }
