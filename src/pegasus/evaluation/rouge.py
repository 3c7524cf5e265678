"""ROUGE as it is published: the rouge-score package with its stemmer, and bootstrap intervals.

ROUGE-Lsum takes the lines of both texts for sentences, as in the authors' evaluation; no sentence rule is
applied. Where a row has several references, the best one counts, for each kind of ROUGE by itself.
Published scores know words of a-z and 0-9 only; for other alphabets there are words by Unicode.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pegasus.errors import BackendMissing, BadData

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")

#: F1 of one row by kind, 0 to 1.
RowScores = Mapping[str, float]

Words = Literal["ascii", "unicode"]

log = logging.getLogger(__name__)

#: Scripts that write no blanks between words, as the names of their characters begin.
_UNDIVIDED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_MOST_UNSEEN = 0.3
_RESAMPLES = 1000
_AT_ONCE = 4_000_000  # numbers drawn together


@dataclass(frozen=True)
class Interval:
    """A score of many rows, F1 times 100.

    Attributes:
        mid: the median of the resampled means, which is the mean but for about a thousandth of it.
        low: their 2.5th percentile.
        high: their 97.5th percentile.
    """

    mid: float
    low: float
    high: float


def score_rows(
    predictions: Iterable[str],
    references: Iterable[Sequence[str]],
    *,
    stem: bool = True,
    words: Words = "ascii",
) -> Iterator[RowScores]:
    """Yield the F1 of each kind of ROUGE for each row.

    Args:
        predictions: the texts to grade.
        references: the references of each, one or more.
        stem: cut words to their stems, as published scores do.
        words: what a word is: "ascii", runs of a-z and 0-9, as published scores have it; "unicode", runs of
            letters and digits of any alphabet, and each character of a script that writes no blanks. Stems
            are those of English and cut for "ascii" alone.

    Raises:
        BackendMissing: rouge-score is not installed.
    """
    scorer = _scorer(stem, words)
    for prediction, targets in zip(predictions, references, strict=True):
        found = scorer.score_multi(list(targets), prediction)
        yield {kind: float(found[kind].fmeasure) for kind in KINDS}


@lru_cache(maxsize=4)
def _scorer(stem: bool, words: Words) -> Any:
    try:
        from rouge_score import rouge_scorer  # takes two seconds, and only grading needs it
    except ImportError as error:
        raise BackendMissing(
            "rouge-score is needed to grade summaries and is not installed. "
            "Install it with: pip install 'pegasus-summarizer[eval]'"
        ) from error
    if words == "unicode":
        return rouge_scorer.RougeScorer(list(KINDS), tokenizer=UnicodeWords())
    return rouge_scorer.RougeScorer(list(KINDS), use_stemmer=stem)


class UnicodeWords:
    """Words of any alphabet, in the form in which rouge-score asks for a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words, lower-cased and composed (NFKC)."""
        words: list[str] = []
        inside = False
        for sign in unicodedata.normalize("NFKC", text).lower():
            role = _role(sign)
            if words and (role == "mark" or (role == "letter" and inside)):
                words[-1] += sign
            elif role in ("letter", "word"):
                words.append(sign)
            inside = role == "letter" or (inside and role == "mark")
        return words


@lru_cache(maxsize=1 << 16)
def _role(sign: str) -> Literal["letter", "word", "mark", "blank"]:
    """Whether a character is part of a word, a word, a sign on the one before it, or none of these."""
    kind = unicodedata.category(sign)[0]
    if kind in "LN":
        return "word" if unicodedata.name(sign, "").startswith(_UNDIVIDED) else "letter"
    return "mark" if kind == "M" else "blank"


def share_unseen(texts: Iterable[str]) -> float:
    """Return the share of the letters and digits of texts that "ascii" takes for blanks."""
    counted = unseen = 0
    for text in texts:
        letters = [letter for letter in text if letter.isalnum()]
        counted += len(letters)
        unseen += sum(not letter.isascii() for letter in letters)
    return unseen / counted if counted else 0.0


def warn_of_unseen(references: Iterable[Sequence[str]], words: Words) -> None:
    """Log a warning where ROUGE would not see much of what it grades."""
    if (
        words == "ascii"
        and (share := share_unseen(text for row in references for text in row)) > _MOST_UNSEEN
    ):
        log.warning(
            "ROUGE's words are runs of a-z and 0-9, and %.0f %% of the references' letters are none: they "
            "count as blanks, and the scores mean little. Take words by Unicode (words = unicode)",
            100 * share,
        )


def intervals(rows: Sequence[RowScores], seed: int = 0) -> dict[str, Interval]:
    """Return the scores of all rows by kind, each with its 95 % interval.

    The rows are drawn anew with replacement a thousand times, by a generator of a fixed seed, so the same
    rows give the same numbers. All kinds see the same draws.

    Raises:
        BadData: there is no row.
    """
    if not rows:
        raise BadData("There is no row to grade. Check the file and the limit.")
    kinds = list(rows[0])
    table = np.array([[row[kind] for kind in kinds] for row in rows])
    low, mid, high = np.percentile(resampled_means(table, seed), (2.5, 50, 97.5), axis=0) * 100
    return {kind: Interval(*map(float, numbers)) for kind, *numbers in zip(kinds, mid, low, high)}


def resampled_means(table: npt.NDArray[np.float64], seed: int = 0) -> npt.NDArray[np.float64]:
    """Return the means [1000, kinds] of rows [rows, kinds] drawn with replacement."""
    rng = np.random.default_rng(seed)
    rows = len(table)
    step = max(_AT_ONCE // rows, 1)
    parts = []
    for start in range(0, _RESAMPLES, step):
        drawn = rng.integers(0, rows, (min(step, _RESAMPLES - start), rows))
        parts.append(np.stack([column[drawn].mean(1) for column in table.T], 1))
    return np.concatenate(parts)
