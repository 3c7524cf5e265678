"""Tokens that a rule refuses: only those are asked about that would be among the best.

A rule that allows some ten thousand of the tokens in one place and three in the next is neither a short
list of bans nor a short list of what is allowed. Nearly always the best are among those allowed: they are
found first and asked about then. In rows that lack some, and in rows where few tokens are allowed, the
scores of all that is allowed are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pegasus.generation.session.places import flat_places

if TYPE_CHECKING:
    from pegasus.generation.session.ask import Edit
    from pegasus.generation.session.decoder import Scores

#: How many more than are wanted are found, to be asked about where some are refused.
MORE = 16


class Acceptance(Protocol):
    """What may be said next in each row.

    An end is accepted where nothing else is left, for example because others have forbidden what a row
    would have to say.
    """

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a row."""
        ...

    def verdict(self, row: int) -> Callable[[int], bool] | None:
        """Whether a token may be said; None: every one may."""
        ...

    def few(self, row: int) -> np.ndarray | None:
        """All tokens that may be said, sorted, where they are few; None: they are many."""
        ...

    def tokens(self, row: int) -> np.ndarray:
        """All tokens that may be said, sorted."""
        ...

    def note_refused(self, row: int) -> None:
        """The token that the row would have said was refused."""
        ...


@dataclass(frozen=True)
class Together:
    """How the rows of one text are compared; ``Ask`` says what these are."""

    sums_BM: np.ndarray
    beams: int
    ends: frozenset[int] | None


#: For each row who is asked about it, and the number that the row has there; None: everything is accepted.
Askable = Sequence[tuple[Acceptance, int] | None]


def askable(edits: Sequence[Edit], rows: int) -> Askable:
    """Who is asked about each row."""
    found: list[tuple[Acceptance, int] | None] = [None] * rows
    for one in edits:
        assert one.accept is not None
        its_rows = range(rows) if one.rows_N is None else one.rows_N.tolist()
        its_numbers = range(rows) if one.numbers_N is None else one.numbers_N.tolist()
        for row, number in zip(its_rows, its_numbers):
            found[row] = (one.accept, number)
    return found


def refuse_all(scores: Scores, asked: Askable, to_host: Callable[[Any], np.ndarray]) -> None:
    """Gives every refused token −∞: for those who look at all tokens."""
    for row, one in enumerate(asked):
        if one is None:
            continue
        accept, number = one
        allowed = accept.tokens(number)
        values = _values(scores, [row], [allowed], to_host)[0]
        if not np.isfinite(values).any():
            allowed = _with_ends(allowed, accept)
        refused_V = np.ones(scores.vocabulary, dtype=bool)
        refused_V[allowed] = False
        tokens = np.flatnonzero(refused_V)
        scores.put(scores.places(np.full(len(tokens), row), tokens), -np.inf)


def best_accepted(
    scores: Scores,
    asked: Askable,
    count: int,
    shift: Any,
    to_host: Callable[[Any], np.ndarray],
    together: Together | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` best of the tokens that are accepted.

    Where fewer are accepted than are wanted the rest have −∞.

    Args:
        scores: those of all rows.
        asked: who is asked about each row.
        count: C.
        shift: taken off the numbers of each row, as ``Scores.best`` takes it.
        to_host: makes NumPy's arrays of the backend's.
        together: with it nobody is asked about what cannot be among the best of its text.

    Returns:
        float32 [N, count] and int64 [N, count], as from ``Scores.best``; with ``together`` maybe more.
    """
    if together is None:
        values_NC, tokens_NC = scores.best(min(count + MORE, scores.vocabulary), shift)
        _note_refusals(asked, tokens_NC[:, 0].tolist())
        best_NK, lacking = _best_of_rows(values_NC, tokens_NC, asked, count)
    else:
        best_NK, lacking = _best_together(scores, asked, count, shift, together)
    if lacking:
        _take_allowed(best_NK, scores, asked, lacking, shift, to_host)
    return best_NK


def _note_refusals(asked: Askable, likeliest: Sequence[int]) -> None:
    for one, token in zip(asked, likeliest):
        if one is not None and (verdict := one[0].verdict(one[1])) is not None and not verdict(token):
            one[0].note_refused(one[1])


def _best_together(
    scores: Scores, asked: Askable, count: int, shift: Any, together: Together
) -> tuple[tuple[np.ndarray, np.ndarray], dict[int, np.ndarray | None]]:
    """The best of each text's rows together; nearly always among the ``count`` best of each."""
    for some in (count, count + MORE):
        values_NC, tokens_NC = scores.best(min(some, scores.vocabulary), shift)
        look = _Look(asked, values_NC.shape[1], count, together)
        lacking = _look_through(look, values_NC, tokens_NC, together.sums_BM)
        if not lacking:
            break
    look.note_refused()
    if not look.refused and not lacking:
        return (values_NC[:, :count], tokens_NC[:, :count]), lacking
    best_NC = values_NC.copy(), tokens_NC.copy()
    best_NC[0].reshape(-1)[look.refused] = -np.inf
    return best_NC, lacking


def _look_through(
    look: _Look, values_NC: np.ndarray, tokens_NC: np.ndarray, sums_BM: np.ndarray
) -> dict[int, np.ndarray | None]:
    """Looks at the rows of each text as a beam search compares them.

    Returns:
        The rows of which more may be among the best than was found.
    """
    (texts, rows), width = sums_BM.shape, values_NC.shape[1]
    totals_BN = (values_NC.reshape(texts, rows, width) + sums_BM[:, :, None]).reshape(texts, -1)
    order_BN = flat_places((-totals_BN).argsort(axis=1, kind="stable"), rows * width)
    lacking: dict[int, np.ndarray | None] = {}
    for text, pairs in enumerate(_pairs_of_texts(order_BN, tokens_NC, 2 * look.count)):
        seen, last = look.through(pairs)
        if totals_BN.item(last) == -np.inf:  # others have forbidden what was found, down to the last
            places = set(order_BN[text, :seen].tolist()).difference(look.refused)
            forbidden = (place for place in sorted(places) if totals_BN.item(place) == -np.inf)
            lacking.update(dict.fromkeys(place // width for place in forbidden))
    return dict.fromkeys(look.exhausted) | lacking


def _pairs_of_texts(
    order_BN: np.ndarray, tokens_NC: np.ndarray, first: int
) -> Iterator[Iterator[tuple[int, int]]]:
    """For each text its places and their tokens, best first; the ``first`` are made numbers at once."""

    def more(text: int) -> Iterator[tuple[int, int]]:
        later_N = order_BN[text, first:]
        yield from zip(later_N.tolist(), tokens_NC.take(later_N).tolist())

    first_BN = order_BN[:, :first]
    for text, some in enumerate(zip(first_BN.tolist(), tokens_NC.take(first_BN).tolist())):
        yield chain(zip(*some), more(text))


class _Look:
    """A look through the best tokens of each text's rows, best sum first.

    Args:
        asked: who is asked about the rows.
        width: how many tokens of each row there are.
        count: how many are wanted.
        together: how the rows are compared.
    """

    def __init__(self, asked: Askable, width: int, count: int, together: Together) -> None:
        self.asked, self.width, self.count, self.beams = asked, width, count, together.beams
        if together.ends is not None:
            self.ends, self.most = together.ends, together.beams
        else:
            self.ends = next((one[0].ends for one in asked if one is not None), frozenset[int]())
            self.most = count + 1
        self.verdicts = _VerdictsOfRows(asked)
        #: Where refused tokens stand, the rows where they would have gone on, and rows seen to their end.
        self.refused: list[int] = []
        self.prevented: list[int] = []
        self.exhausted: list[int] = []

    def through(self, pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """Looks until enough are accepted.

        Args:
            pairs: the places of a text and their tokens, best first.

        Returns:
            How many places were looked at, and the last of them.
        """
        width, last, verdicts, ends = self.width, self.width - 1, self.verdicts, self.ends
        kept = alive = refused = place = 0
        for place, token in pairs:
            verdict = verdicts[place // width]
            if place % width == last and verdict is not None:
                self.exhausted.append(place // width)
            if verdict is None or verdict(token):
                kept += 1
                alive += token not in ends
                if kept == self.count or alive == self.most:
                    break
                continue
            refused += 1
            self.refused.append(place)
            if alive < self.beams:
                self.prevented.append(place // width)
        return kept + refused, place

    def note_refused(self) -> None:
        """Tells who refused something that would have gone on."""
        for row in self.prevented:
            accept, number = _asked(self.asked, row)
            accept.note_refused(number)


class _VerdictsOfRows(dict[int, Callable[[int], bool] | None]):
    """What decides about the tokens of each row, found when it is first asked for."""

    __slots__ = ("asked",)

    def __init__(self, asked: Askable) -> None:
        self.asked = asked

    def __missing__(self, row: int) -> Callable[[int], bool] | None:
        one = self.asked[row]
        found = self[row] = None if one is None else one[0].verdict(one[1])
        return found


def _best_of_rows(
    values_NC: np.ndarray, tokens_NC: np.ndarray, asked: Askable, count: int
) -> tuple[tuple[np.ndarray, np.ndarray], dict[int, np.ndarray | None]]:
    """The best of each row; and the rows that have too few, with all that they may say if it is known."""
    places_NK, lacking = _accepted_places(tokens_NC, asked, count)
    if places_NK is None:
        best_NK = values_NC[:, :count].copy(), tokens_NC[:, :count].copy()
    else:
        best_NK = (
            np.take_along_axis(values_NC, places_NK, axis=1),
            np.take_along_axis(tokens_NC, places_NK, axis=1),
        )
    for row in np.flatnonzero(np.isneginf(best_NK[0][:, 0])).tolist():
        if asked[row] is not None:  # others have forbidden all that was found
            lacking.setdefault(row, None)
    return best_NK, lacking


def _accepted_places(
    tokens_NC: np.ndarray, asked: Askable, count: int
) -> tuple[np.ndarray | None, dict[int, np.ndarray | None]]:
    """Where in each row the best tokens stand that are accepted.

    Returns:
        [N, count], or None where these are the first of each row; and the rows that have too few of them,
        each with all that it may say, where that is known already.
    """
    places: list[list[int] | range] = []
    lacking: dict[int, np.ndarray | None] = {}
    first, changed = range(count), False
    for row, (tokens, one) in enumerate(zip(tokens_NC.tolist(), asked)):
        places.append(first)
        if one is None or (verdict := one[0].verdict(one[1])) is None:
            continue
        if (few := one[0].few(one[1])) is not None:
            lacking[row] = few
            continue
        if all(map(verdict, tokens[:count])):
            continue
        found = _first_accepted(tokens, verdict, count)
        if len(found) == count:
            places[row], changed = found, True
        else:
            lacking[row] = None
    return (np.array(places) if changed else None), lacking


def _first_accepted(tokens: Sequence[int], verdict: Callable[[int], bool], count: int) -> list[int]:
    found = []
    for place, token in enumerate(tokens):
        if verdict(token):
            found.append(place)
            if len(found) == count:
                break
    return found


def _take_allowed(
    best_NK: tuple[np.ndarray, np.ndarray],
    scores: Scores,
    asked: Askable,
    lacking: dict[int, np.ndarray | None],
    shift: Any,
    to_host: Callable[[Any], np.ndarray],
) -> None:
    """In some rows: the best of all that may be said; an end where nothing of that can be."""
    known: list[np.ndarray] = []
    for row, few in lacking.items():
        accept, number = _asked(asked, row)
        known.append(accept.tokens(number) if few is None else few)
    shift_N = None if shift is None else to_host(shift)
    found = _values(scores, list(lacking), known, to_host)
    count = best_NK[0].shape[1]
    for row, tokens, values in zip(lacking, known, found):
        ends = _asked(asked, row)[0].ends
        if not np.isfinite(values).any():
            tokens = np.array(sorted(ends))
            values = _values(scores, [row], [tokens], to_host)[0]
        if shift_N is not None:
            values = values - shift_N[row]
        best_NK[0][row], best_NK[1][row] = _best_of(values, tokens, count, scores.vocabulary, ends)


def _best_of(
    values_K: np.ndarray, tokens_K: np.ndarray, count: int, vocabulary: int, ends: frozenset[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The best of sorted tokens, of equal ones the lower first; what lacks is made up with −∞."""
    if len(values_K) > 4 * count:
        least = np.partition(values_K, -count)[-count]
        kept = np.flatnonzero(values_K >= least)
        values_K, tokens_K = values_K[kept], tokens_K[kept]
    order = np.argsort(-values_K, kind="stable")[:count]
    values, tokens = values_K[order], tokens_K[order]
    if lack := count - len(tokens):
        known = {*tokens.tolist(), *ends}
        others = (token for token in range(vocabulary - 1, -1, -1) if token not in known)
        tokens = np.append(tokens, [*islice(chain(others, ends), lack)])
        values = np.append(values, np.full(lack, -np.inf, dtype=values.dtype))
    return values, tokens


def _values(
    scores: Scores,
    rows: Sequence[int],
    tokens: Sequence[np.ndarray],
    to_host: Callable[[Any], np.ndarray],
) -> list[np.ndarray]:
    """The numbers of some tokens of each of some rows, all asked for at once."""
    sizes = [len(some) for some in tokens]
    places = scores.places(np.repeat(np.array(rows), sizes), np.concatenate(tokens))
    return np.split(to_host(scores.get(places)), np.cumsum(sizes)[:-1])


def _with_ends(tokens: np.ndarray, accept: Acceptance) -> np.ndarray:
    return np.union1d(tokens, np.array(sorted(accept.ends)))


def _asked(asked: Askable, row: int) -> tuple[Acceptance, int]:
    one = asked[row]
    assert one is not None
    return one
