"""How much of the rest of a document a sentence says: the scores that gap sentences are chosen by.

With c(g) the count of a gram in what is scored, t(g) its count in the whole text and r(g) = t(g) - c(g)
what is left, the score is the F measure of

    precision = Σ w(min(c, r)) / max(floor, Σ w(c))        recall = Σ w(min(c, r)) / max(floor, Σ w(r))

and the countings of the paper and of the authors' code differ only in the weight w of a count:

    ========  ===============  =====  =============================
    counting  w(x)             floor  called there
    ========  ===============  =====  =============================
    orig      x                1      Orig, `standard`
    uniq      min(x, 1)        1      Uniq, `deduplicate`
    log       ln(1 + x)        0.1    not in the paper, `log`
    ========  ===============  =====  =============================

Precision, recall and F are float32 as in the authors' code, where one rounding decides between sentences
that are equal in exact arithmetic, or float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pegasus.data.grams import Grams, Ints

Counting = Literal["orig", "uniq", "log"]
Metric = Literal["f", "precision", "recall"]
Precision = Literal["float32", "float64"]

Floats = npt.NDArray[np.float64]
#: Scores: float32 or float64, as asked for.
Scores = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Measure:
    """How overlap becomes a number.

    Attributes:
        counting: the weight of a count: "orig", "uniq" or "log".
        metric: "f", "precision" or "recall".
        precision: "float32" as the authors' code, or "float64".
    """

    counting: Counting = "orig"
    metric: Metric = "f"
    precision: Precision = "float32"

    def weigh(self, counts: Ints) -> Floats:
        """Return w(counts)."""
        if self.counting == "orig":
            return counts.astype(np.float64)
        if self.counting == "uniq":
            return (counts > 0).astype(np.float64)
        return np.log1p(counts).astype(np.float64, copy=False)

    def rate(self, overlap: Floats, said: Floats, left: Floats) -> Scores:
        """Return the metric of overlaps, given the weight of what was said and of what is left."""
        floor = 0.1 if self.counting == "log" else 1.0
        precision = (overlap / np.maximum(said, floor)).astype(self.precision)
        if self.metric == "precision":
            return precision
        recall = (overlap / np.maximum(left, floor)).astype(self.precision)
        if self.metric == "recall":
            return recall
        mean: Scores = np.zeros_like(precision)
        both = (precision > 0) & (recall > 0)
        np.divide(2 * precision * recall, precision + recall, out=mean, where=both)
        return mean


def independent_scores(document: Grams, measure: Measure) -> Scores:
    """Score every sentence against the rest of its own document (paper: Ind), in time linear in the text.

    Returns:
        [N] the scores of the sentences of all documents.
    """
    totals = document.totals[document.grams]
    rest = totals - document.counts
    overlap = _by_row(document, measure.weigh(np.minimum(document.counts, rest)))
    said = _by_row(document, measure.weigh(document.counts))
    gone = _by_row(document, measure.weigh(totals) - measure.weigh(rest))
    whole = np.bincount(document.homes, measure.weigh(document.totals), int(document.owners[-1:].sum()) + 1)
    return measure.rate(overlap, said, whole[document.owners] - gone)


def window_scores(document: Grams, measure: Measure, size: int) -> Scores:
    """Score every run of `size` sentences against the rest of the text.

    Each gram's count changes only where a sentence that holds it enters or leaves the window, so all
    windows together cost one sort of those changes.

    Returns:
        [sentences - size + 1] the score of the window that begins at each sentence.
    """
    windows = document.sentences - size + 1
    enters = np.maximum(document.rows - size + 1, 0)
    leaves = np.minimum(document.rows + 1, windows)
    # Leaving first: a count in between is then never larger than there are grams.
    places = np.concatenate([leaves, enters])
    steps = np.concatenate([-document.counts, document.counts])
    grams = np.concatenate([document.grams, document.grams])
    order = np.lexsort((places, grams))
    places, steps, grams = places[order], steps[order], grams[order]
    after = np.cumsum(steps)  # every gram's steps sum to 0, so counts begin at 0 for each
    totals = document.totals[grams]
    overlap, said, gone = (
        np.cumsum(_sums(places, change, windows + 1))[:windows]
        for change in _changes(measure, after - steps, after, totals)
    )
    return measure.rate(overlap, said, measure.weigh(document.totals).sum() - gone)


def sequential_order(document: Grams, measure: Measure, picks: int, candidates: int | None = None) -> Ints:
    """Choose sentences of one document one by one, each adding most to those chosen before (paper: Seq).

    The first m of n picks are the m picks.

    Args:
        document: the grams.
        measure: how overlap becomes a number.
        picks: how many sentences to choose.
        candidates: choose among the first so many sentences only; None for all.

    Returns:
        [picks] the sentences in the order of choosing.
    """
    turns = sequential_turns(document, measure, picks, candidates)
    chosen = np.flatnonzero(turns)
    order: Ints = chosen[np.argsort(turns[chosen])]
    return order


def sequential_turns(
    documents: Grams, measure: Measure, picks: int | None = None, candidates: int | None = None
) -> Ints:
    """Choose sentences of each document one by one, all documents in step.

    Every round scores the chosen sentences together with each other one against what is left, and takes the
    best; of equal ones the latest. A pick changes only the parts of the scores that belong to its own
    grams; an index from grams to sentences finds them, so a round costs those and one pass over the
    sentences.

    Args:
        documents: the grams.
        measure: how overlap becomes a number.
        picks: how many sentences of each document to choose; None for all.
        candidates: choose among the first so many of each only; None for all.

    Returns:
        [N] the round in which each sentence was chosen, from 1; 0 for those that were not.
    """
    owners = documents.owners
    sizes = np.bincount(owners)
    places = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    eligible = sizes if candidates is None else np.minimum(sizes, candidates)
    rounds = eligible if picks is None else np.minimum(eligible, picks)
    turns = np.zeros(len(owners), np.int64)
    state = _Chosen(documents, measure)
    open_ = np.flatnonzero((places < eligible[owners]) & (rounds[owners] > 0))
    for turn in range(1, int(rounds.max(initial=0)) + 1):
        best = open_[_latest_best(state.scores(open_), owners[open_])]
        turns[best] = turn
        state.add(best)
        open_ = open_[(turns[open_] == 0) & (rounds[owners[open_]] > turn)]
    return turns


def _latest_best(scores: Scores, owners: Ints) -> Ints:
    """Where the best score of each document stands, the last of equal ones."""
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    best = np.repeat(np.maximum.reduceat(scores, starts), np.diff(starts, append=len(owners)))
    places = np.flatnonzero(scores == best)
    last: Ints = places[np.diff(owners[places], append=-1) != 0]
    return last


class _Chosen:
    """Sentences chosen so far, and what each other one would change: overlap, said and gone weight by
    row.
    """

    def __init__(self, documents: Grams, measure: Measure) -> None:
        self._documents, self._measure = documents, measure
        count = int(documents.owners[-1:].sum()) + 1
        self._taken = np.zeros(len(documents.totals), np.int64)
        self._now = np.zeros((3, count))
        self._all = _sums(documents.homes, measure.weigh(documents.totals), count)
        self._entries = self._parts(slice(None))
        self._gains = np.stack([_by_row(documents, part) for part in self._entries])
        self._by_row = np.argsort(documents.rows, kind="stable")
        self._row_ends = np.cumsum(np.bincount(documents.rows, None, documents.sentences))
        self._gram_ends = np.cumsum(np.bincount(documents.grams, None, len(self._taken)))

    def _parts(self, entries: slice | Ints) -> Floats:
        """[3, entries] what adding each entry's gram to the chosen would change."""
        grams = self._documents.grams[entries]
        before = self._taken[grams]
        after = before + self._documents.counts[entries]
        return np.stack(_changes(self._measure, before, after, self._documents.totals[grams]))

    def scores(self, sentences: Ints) -> Scores:
        """The score of the chosen ones of its document together with each of these sentences."""
        owners = self._documents.owners[sentences]
        overlap, said, gone = self._now[:, owners] + self._gains[:, sentences]
        return self._measure.rate(overlap, said, self._all[owners] - gone)

    def add(self, sentences: Ints) -> None:
        """Choose one more sentence of each of some documents."""
        self._now[:, self._documents.owners[sentences]] += self._gains[:, sentences]
        own = self._by_row[_ranges(self._row_ends, sentences)]
        grams = self._documents.grams[own]
        self._taken[grams] += self._documents.counts[own]
        touched = self._open_entries(grams)
        parts = self._parts(touched)
        rows = self._documents.rows[touched]
        for gains, change in zip(self._gains, parts - self._entries[:, touched]):
            gains += np.bincount(rows, change, len(gains))
        self._entries[:, touched] = parts

    def _open_entries(self, grams: Ints) -> Ints:
        """Every entry, of whichever sentence, that holds one of these grams and could still be chosen."""
        entries = _ranges(self._gram_ends, grams)
        grams = self._documents.grams[entries]
        # Where the text has no more of a gram than was taken, the entry belongs to a sentence already
        # chosen.
        room = self._taken[grams] + self._documents.counts[entries] <= self._documents.totals[grams]
        kept: Ints = entries[room]
        return kept


def _ranges(ends: Ints, groups: Ints) -> Ints:
    """The places of all members of these groups, where members of a group stand together."""
    last = ends[groups]
    sizes = last - np.where(groups > 0, ends[groups - 1], 0)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    places: Ints = np.repeat(last - sizes, sizes) + within
    return places


def _changes(measure: Measure, before: Ints, after: Ints, totals: Ints) -> tuple[Floats, Floats, Floats]:
    """What a gram's count going from `before` to `after` adds to overlap, to said and to gone weight."""
    left_before, left_after = totals - before, totals - after
    overlap = measure.weigh(np.minimum(after, left_after)) - measure.weigh(np.minimum(before, left_before))
    said = measure.weigh(after) - measure.weigh(before)
    return overlap, said, measure.weigh(left_before) - measure.weigh(left_after)


def _by_row(document: Grams, values: Floats) -> Floats:
    return _sums(document.rows, values, document.sentences)


def _sums(places: Ints, values: Floats, length: int) -> Floats:
    return np.bincount(places, values, length).astype(np.float64, copy=False)
