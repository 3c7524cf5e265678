"""Which sentences to take out of a document: every strategy of the paper and of the authors' code.

    =====================  =========================  ==================================================
    strategy               in the authors' code       chooses
    =====================  =========================  ==================================================
    random                 random                     any n
    lead                   lead                       the first n
    ind-orig, -uniq, -log  rouge, dynamic_rouge       the n that each say most of the rest
    seq-orig, -uniq, -log  greedy_rouge               n one by one, each adding most to those before
    continuous-orig, ...   continuous_rouge           the n in a row that together say most of the rest
    hybrid                 hybrid                     random, lead or ind-orig, and a token that says which
    none                   none                       nothing
    =====================  =========================  ==================================================

Of sentences (or windows) that score the same the *later* is chosen. What the authors call stochastic or
dynamic is `ind-orig` with a range for the ratio and noise on the scores: `GapSettings(ratio=(.1485, .45),
noise=.2)`. Two of their habits are not kept: their noise was the same for every document, ours is fresh;
and their greedy cut of the candidates is off unless `candidates` is set (`authors_candidates` has their
number).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, cast, get_args

import numpy as np

from pegasus.data.grams import Grams, Ints, count_many, unicode_words
from pegasus.data.scores import (
    Counting,
    Measure,
    Metric,
    Precision,
    Scores,
    independent_scores,
    sequential_turns,
    window_scores,
)
from pegasus.errors import BadSetting
from pegasus.spec.kinds import maybe, refusals, whole

Kind = Literal["random", "lead", "ind", "seq", "continuous", "hybrid", "none"]
Noise = Literal["gaussian", "uniform"]
T = TypeVar("T")

#: Every strategy by name.
STRATEGIES = (
    "random",
    "lead",
    *(f"{kind}-{counting}" for kind in ("ind", "seq", "continuous") for counting in get_args(Counting)),
    "hybrid",
    "none",
)

# Beyond so many a document is no text for a model of a few hundred tokens, and a turn costs time in
# proportion to its sentences; those left over come last, the later first.
_MOST_TURNS = 4096
# The first ids of the reserved hundred after the masks: which of the three a hybrid example was made by.
_HYBRID: tuple[tuple[Kind, int], ...] = (("random", 5), ("lead", 6), ("ind", 7))


@dataclass(frozen=True)
class GapSettings:
    """How gap sentences are chosen.

    Attributes:
        strategy: one of `STRATEGIES`.
        ratio: the gap-sentence ratio, a share of the *sentences*; a pair (low, high) draws it anew for each
            document, uniformly from [low, high).
        noise: q; 0 chooses by the scores alone. For "ind" and "hybrid" only.
        noise_kind: "gaussian" multiplies each score by 1 + q·Normal(0, q), which is what the authors' code
            does (q = 0.2: a spread of 4 %); "uniform" by a number from [1 - q, 1 + q), as their README
            says.
        metric: "f", "precision" or "recall".
        ngram: words in a gram.
        precision: arithmetic of counts and scores: "float32" as the authors' code, or "float64".
        candidates: "seq" looks at the first so many sentences only; None for all.
        words: "ascii" as the authors' code (English), or "unicode" for any alphabet, without stop words.
    """

    strategy: str = "ind-orig"
    ratio: float | tuple[float, float] = 0.45
    noise: float = 0.0
    noise_kind: Noise = "gaussian"
    metric: Metric = "f"
    ngram: int = 1
    precision: Precision = "float32"
    candidates: int | None = None
    words: Literal["ascii", "unicode"] = "ascii"

    def __post_init__(self) -> None:
        _one_of("strategy", self.strategy, STRATEGIES)
        for name, type_ in (("noise_kind", Noise), ("metric", Metric), ("precision", Precision)):
            _one_of(name, getattr(self, name), get_args(type_))
        _one_of("words", self.words, ("ascii", "unicode"))
        low, high = self.ratios
        if not 0 < low <= high <= 1:
            raise BadSetting(f"ratio must lie between 0 and 1, lower end first; found {self.ratio!r}.")
        if not 0 <= self.noise < 1:
            raise BadSetting(
                f"noise must be at least 0 and below 1; found {self.noise!r}. The authors used 0.2."
            )
        counts = {"ngram": whole(1, 64), "candidates": maybe(whole(1))}
        if problems := list(refusals({name: getattr(self, name) for name in counts}, counts)):
            raise BadSetting("; ".join(problems))
        if self.noise and self.kind not in ("ind", "hybrid"):
            raise BadSetting(
                f"noise belongs to independent scores; found strategy {self.strategy!r}. Use ind-orig."
            )

    @property
    def kind(self) -> Kind:
        """The strategy without its counting."""
        return cast(Kind, self.strategy.partition("-")[0])

    @property
    def ratios(self) -> tuple[float, float]:
        """The ratio as a range."""
        return self.ratio if isinstance(self.ratio, tuple) else (self.ratio, self.ratio)

    @property
    def measure(self) -> Measure:
        """How overlap becomes a score."""
        counting = cast(Counting, self.strategy.partition("-")[2] or "orig")
        return Measure(counting, self.metric, self.precision)

    @property
    def needs_scores(self) -> bool:
        """Whether `choose` wants the scores of `score_sentences`."""
        return self.kind in ("ind", "seq", "hybrid")

    def count(self, document: Sequence[str]) -> Grams:
        """Count the grams of a document's sentences."""
        return self.count_many([document])

    def count_many(self, documents: Sequence[Sequence[str]]) -> Grams:
        """Count the grams of several documents together."""
        if self.words == "unicode":
            return count_many(documents, self.ngram, words=unicode_words, stop_words=frozenset())
        return count_many(documents, self.ngram)


@dataclass(frozen=True)
class Choice:
    """The sentences chosen.

    Attributes:
        sentences: their indices, ascending.
        token: the id that "hybrid" puts in front of the input, else None.
    """

    sentences: Ints
    token: int | None = None


def score_sentences(grams: Grams, settings: GapSettings) -> Scores:
    """Return one number per sentence, of one document or several, such that the highest are taken first.

    For "ind" it is the score; for "seq" the turn in which the sentence would be chosen, counted down, so
    that every ratio finds its choice in it. These are the numbers that `pegasus prepare` stores.

    Raises:
        BadSetting: the strategy has no such numbers: its choice for one ratio is no part of that for a
            higher one (continuous), or it needs none (random, lead, none).
    """
    if settings.kind in ("ind", "hybrid"):
        return independent_scores(grams, settings.measure)
    if settings.kind == "seq":
        turns = sequential_turns(grams, settings.measure, _MOST_TURNS, settings.candidates)
        last = np.zeros(int(grams.owners[-1:].sum()) + 1, np.int64)
        np.maximum.at(last, grams.owners, turns)
        return np.where(turns > 0, last[grams.owners] - turns + 1, 0).astype(settings.precision)
    raise BadSetting(
        f"Strategy {settings.strategy!r} gives no score to a sentence: use one of ind- or seq-."
    )


def choose(
    sentences: int,
    settings: GapSettings,
    rng: np.random.Generator,
    *,
    scores: Scores | None = None,
    grams: Grams | None = None,
) -> Choice:
    """Choose the gap sentences of one document.

    Args:
        sentences: how many sentences it has.
        settings: the strategy, the ratio and the rest.
        rng: draws the ratio, the noise and whatever else is left to chance.
        scores: [sentences] what `score_sentences` returned; "ind", "seq" and "hybrid" want them.
        grams: the document's grams; "continuous" wants them.

    Raises:
        BadSetting: the strategy wants scores or grams and has none.
    """
    kind, token = settings.kind, None
    low, high = settings.ratios
    ratio = low if low == high else low + (high - low) * rng.random()
    if kind == "hybrid":
        kind, token = _HYBRID[int(rng.integers(len(_HYBRID)))]
    eligible = sentences
    if kind == "seq" and settings.candidates is not None:
        eligible = min(sentences, settings.candidates)
    number = 0 if kind == "none" else gap_count(eligible, ratio, settings.precision)
    if kind == "random":
        return Choice(np.sort(rng.permutation(sentences)[:number]), token)
    if kind in ("lead", "none"):
        return Choice(np.arange(number), token)
    if kind == "continuous":
        return Choice(_best_window(_given(grams, settings, "grams"), settings, number))
    return Choice(_highest(_noisy(_given(scores, settings, "scores"), settings, rng), number), token)


def choose_in_text(sentences: Sequence[str], settings: GapSettings, rng: np.random.Generator) -> Choice:
    """Choose the gap sentences of a document given as text: count, score and choose in one call."""
    if settings.kind in ("random", "lead", "none"):
        return choose(len(sentences), settings, rng)
    grams = settings.count(sentences)
    scores = score_sentences(grams, settings) if settings.needs_scores else None
    return choose(len(sentences), settings, rng, scores=scores, grams=grams)


def gap_count(sentences: int, ratio: float, precision: Precision = "float32") -> int:
    """Return how many sentences a ratio takes: at least one where there is one, else rounded down.

    The product is float32 as in the authors' code: .29 of 100 sentences is 29, where float64 gives 28.
    """
    kind = np.dtype(precision).type
    return min(int(np.maximum(kind(sentences) * kind(ratio), 1)), sentences)


def authors_candidates(max_input: int = 512, max_target: int = 256, ratio: float = 0.45) -> int:
    """Return how many leading sentences the authors' greedy strategy looks at: 28 with its defaults."""
    return max(1, int(max(max_input / 20, max_target / ratio / 20)))


def _highest(scores: Scores, number: int) -> Ints:
    """The `number` highest, in document order; a stable sort leaves the later of equal ones at the end."""
    return np.sort(np.argsort(scores, kind="stable")[len(scores) - number :])


def _noisy(scores: Scores, settings: GapSettings, rng: np.random.Generator) -> Scores:
    q = settings.noise
    if not q:
        return scores
    if settings.noise_kind == "gaussian":
        return scores * (1 + q * rng.normal(0.0, q, len(scores)))
    return scores * rng.uniform(1 - q, 1 + q, len(scores))


def _best_window(grams: Grams, settings: GapSettings, number: int) -> Ints:
    if not number:
        return np.arange(0)
    scores = window_scores(grams, settings.measure, number)
    start = len(scores) - 1 - int(np.argmax(scores[::-1]))
    return np.arange(start, start + number)


def _given(value: T | None, settings: GapSettings, name: str) -> T:
    if value is None:
        raise BadSetting(f"Strategy {settings.strategy!r} needs the {name} of the document: pass {name}=.")
    return value


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise BadSetting(f"{name}={value!r} is not known: use one of {', '.join(known)}.")
