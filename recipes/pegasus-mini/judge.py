"""How good summaries are: ROUGE beside the opening and LexRank at equal length, and countable faults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from passages import read, sentences
from rouge_score.rouge_scorer import RougeScorer
from sentencepiece import SentencePieceProcessor

from pegasus.evaluation.baselines import extract

MEASURES = ("rouge1", "rouge2", "rougeL")
NAMES = {
    "model": "pegasus-mini",
    "lead": "opening, same length",
    "lexrank": "LexRank, same length",
    "fresh": "same, not pre-trained",
}

Summarize = Callable[[list[str]], list[str]]


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


def short_target(summary: str, pieces: SentencePieceProcessor, limit: int) -> str:
    """The leading sentences of a summary that fit in ``limit`` tokens; at least the first."""
    kept: list[str] = []
    used = 0
    for sentence in sentences(" ".join(summary.split())):
        used += len(pieces.encode(sentence))
        if kept and used >= limit:
            break
        kept.append(sentence)
    return " ".join(kept)


def texts(file: Path, pieces: SentencePieceProcessor, target_tokens: int) -> list[Text]:
    """A split whose references are cut to what a training target may be: leading sentences that fit."""
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


def judge(
    summarize: Summarize, originals: Sequence[Text], fresh: Summarize | None = None
) -> dict[str, Any]:
    """Every figure of the model card for one split, and its first ten outputs.

    Args:
        summarize: what the model makes of texts.
        originals: the split.
        fresh: what the same model makes of them that was not pre-trained.
    """
    documents = [text.document for text in originals]
    outputs = summarize(documents)
    words = round(float(np.mean([len(output.split()) for output in outputs])))
    written = {
        "model": outputs,
        "lead": openings(originals, words),
        "lexrank": [extract(document, "lexrank", words) for document in documents],
    }
    if fresh is not None:
        written["fresh"] = fresh(documents)
    scores = {name: f_measures(several, originals) for name, several in written.items()}
    return {
        "texts": len(originals),
        "words": {name: round(float(np.mean([len(o.split()) for o in w]))) for name, w in written.items()},
        **{name: {m: asdict(interval(found[m])) for m in MEASURES} for name, found in scores.items()},
        "less": {
            name: {m: asdict(interval(scores["model"][m] - found[m])) for m in MEASURES}
            for name, found in scores.items()
            if name != "model"
        },
        "repeats": _percent([repeats(output) for output in outputs]),
        "invented_numbers": _percent(
            [invented_numbers(o, d) for o, d in zip(outputs, documents, strict=True)]
        ),
        "first": [
            {"output": output, "reference": text.references[0], "document": text.document[:300]}
            for output, text in list(zip(outputs, originals, strict=True))[:10]
        ],
    }


def _percent(faults: Sequence[bool]) -> float:
    return round(100 * float(np.mean(faults)), 1)


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables of the model card: scores, paired differences, faults, first outputs."""
    out = [
        "| test split | texts | | words | ROUGE-1 | ROUGE-2 | ROUGE-L |",
        "|---|---:|---|---:|---|---|---|",
    ]
    for split, found in results.items():
        for name in found["words"]:
            front = [split, str(found["texts"])] if name == "model" else ["", ""]
            row = [*front, NAMES[name], str(found["words"][name]), *_cells(found[name], "")]
            out.append(_row(row))
    out += ["", "| test split | pegasus-mini less | ROUGE-1 | ROUGE-2 | ROUGE-L |", "|---|---|---|---|---|"]
    for split, found in results.items():
        out += [_row([split, NAMES[name], *_cells(less, "+")]) for name, less in found["less"].items()]
    out += ["", "| test split | a word trigram three times, % | a number that is not in the source, % |"]
    out += ["|---|---:|---:|"]
    out += [_row([s, f"{r['repeats']:.1f}", f"{r['invented_numbers']:.1f}"]) for s, r in results.items()]
    out += ["", "| split | output | reference |", "|---|---|---|"]
    for split, found in results.items():
        out += [_row([split, _plain(one["output"]), _plain(one["reference"])]) for one in found["first"]]
    return "\n".join(out) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(measures: Mapping[str, Mapping[str, float]], sign: str) -> list[str]:
    return [
        f"{m['mean']:{sign}.1f} ({m['low']:{sign}.1f} to {m['high']:{sign}.1f})"
        for m in (measures[measure] for measure in MEASURES)
    ]


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
