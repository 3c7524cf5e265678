"""Tokens that a rule refuses: only those are asked about that would be among the best.

A rule that allows some ten thousand of the tokens in one place and three in the next is neither a short
list of bans nor a short list of what is allowed. Where few are allowed their scores are looked at. Where
many are, nearly always the best are among them: these are found first and asked about then; the few that
are refused get −∞, and the best are found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from pegasus.generation.session.ask import Edit
    from pegasus.generation.session.decoder import Scores

#: How many more than are wanted are looked at, in each turn; then all tokens of a row are asked about.
_MORE = (8, 32, 128)


class Acceptance(Protocol):
    """What may be said next in each row.

    An end is accepted where nothing else is left, for example because others have forbidden what a row
    would have to say.
    """

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a row."""
        ...

    def accepted(self, row: int, tokens: Sequence[int]) -> Sequence[int]:
        """The places of those tokens that may be said, in order."""
        ...

    def few(self, row: int) -> np.ndarray | None:
        """All tokens that may be said, where they are few; None: they are many."""
        ...

    def allowed(self, row: int) -> np.ndarray:
        """bool [V]: which tokens may be said."""
        ...

    def note_refused(self, row: int) -> None:
        """The token that the row would have said was refused."""
        ...


#: For each row who is asked about it, and the number that the row has there; None: everything is accepted.
Askable = Sequence[tuple[Acceptance, int] | None]
#: What gives numbers back that were changed.
_Undo = tuple[Any, Any]


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


def refuse_all(scores: Scores, asked: Askable) -> None:
    """Gives every refused token −∞: for those who look at all tokens."""
    for row, one in enumerate(asked):
        if one is not None:
            _refuse_in_row(scores, row, one)


def best_accepted(
    scores: Scores, asked: Askable, count: int, shift: Any
) -> tuple[np.ndarray, np.ndarray, list[_Undo]]:
    """The ``count`` best of the tokens that are accepted.

    Where fewer are accepted than are wanted the rest have −∞.

    Returns:
        float32 [N, count] and int64 [N, count], as from ``Scores.best``; and what was changed (``undo``).
    """
    values_NC, tokens_NC = scores.best(min(count + _MORE[0], scores.vocabulary), shift)
    best_NK = values_NC[:, :count].copy(), tokens_NC[:, :count].copy()
    narrow = _where_few(asked)
    _note_refusals(asked, tokens_NC[:, 0].tolist())
    lacking = _take(best_NK, values_NC, tokens_NC, asked, narrow)
    undone: list[_Undo] = []
    for more in _MORE[1:]:
        if not lacking:
            break
        undone += _ban(scores, [(row, token) for row, refused in lacking.items() for token in refused])
        values_NC, tokens_NC = scores.best(min(count + more, scores.vocabulary), shift)
        rows = [one if row in lacking else None for row, one in enumerate(asked)]
        lacking = _take(best_NK, values_NC, tokens_NC, rows, narrow)
    if lacking:
        for row in lacking:
            one = asked[row]
            assert one is not None
            undone.append(_refuse_in_row(scores, row, one))
        values_NC, tokens_NC = scores.best(count, shift)
        for row in lacking:
            best_NK[0][row], best_NK[1][row] = values_NC[row], tokens_NC[row]
    if narrow:
        _take_few(best_NK, scores, asked, narrow, shift)
    return *best_NK, undone


def _where_few(asked: Askable) -> dict[int, np.ndarray]:
    found = {}
    for row, one in enumerate(asked):
        if one is not None and (few := one[0].few(one[1])) is not None:
            found[row] = few
    return found


def _note_refusals(asked: Askable, likeliest: Sequence[int]) -> None:
    for one, token in zip(asked, likeliest):
        if one is not None and not one[0].accepted(one[1], [token]):
            one[0].note_refused(one[1])


def _take(
    best_NK: tuple[np.ndarray, np.ndarray],
    values_NC: np.ndarray,
    tokens_NC: np.ndarray,
    asked: Askable,
    narrow: dict[int, np.ndarray],
) -> dict[int, list[int]]:
    """Takes what is accepted of the tokens found; returns what was refused in rows that lack some.

    An end is never given −∞: it may be all that is left. Rows in which few are allowed are passed over.
    """
    count, lacking = best_NK[0].shape[1], {}
    for row, one in enumerate(asked):
        if one is None or row in narrow:
            continue
        tokens = tokens_NC[row].tolist()
        places = one[0].accepted(one[1], tokens)[:count]
        if len(places) == count:
            best_NK[0][row], best_NK[1][row] = values_NC[row, places], tokens_NC[row, places]
        else:
            good = {*places}
            lacking[row] = [
                token
                for place, token in enumerate(tokens)
                if place not in good and token not in one[0].ends
            ]
    return lacking


def _take_few(
    best_NK: tuple[np.ndarray, np.ndarray],
    scores: Scores,
    asked: Askable,
    narrow: dict[int, np.ndarray],
    shift: Any,
) -> None:
    """In rows where few tokens are allowed: the best of these; an end where none of them can be said."""
    ends = next(list(one[0].ends) for one in asked if one is not None)
    width, count = max(map(len, narrow.values())), best_NK[0].shape[1]
    tokens_NK = np.zeros((scores.rows, width + len(ends)), dtype=np.int64)
    tokens_NK[:, width:] = ends
    for row, few in narrow.items():
        tokens_NK[row, : len(few)] = few
    values_NK = scores.gather(tokens_NK, shift)
    for row, few in narrow.items():
        values, tokens = values_NK[row, : len(few)], few
        if not np.isfinite(values).any():
            values, tokens = values_NK[row, width:], tokens_NK[row, width:]
        order = np.lexsort((tokens, -values))[:count]
        # What is not there is made up for by tokens with −∞ that end nothing.
        spare = np.setdiff1d(np.arange(count + len(few) + len(ends)), [*tokens[order], *ends])
        best_NK[0][row] = -np.inf
        best_NK[0][row, : len(order)] = values[order]
        best_NK[1][row] = np.concatenate([tokens[order], spare])[:count]


def _refuse_in_row(scores: Scores, row: int, one: tuple[Acceptance, int]) -> _Undo:
    """Gives −∞ to all that a row may not say; where nothing else is left it may end."""
    refused_V = ~one[0].allowed(one[1])
    left = np.flatnonzero(~refused_V)
    finite = scores.get(scores.places(np.full(len(left), row), left)) > -np.inf
    if not bool(finite.any()):
        refused_V[list(one[0].ends)] = False
    tokens = np.flatnonzero(refused_V)
    return _put(scores, np.full(len(tokens), row), tokens)


def _ban(scores: Scores, places: Sequence[tuple[int, int]]) -> list[_Undo]:
    if not places:
        return []
    rows, tokens = (np.array(part) for part in zip(*places))
    return [_put(scores, rows, tokens)]


def _put(scores: Scores, rows_K: np.ndarray, tokens_K: np.ndarray) -> _Undo:
    places = scores.places(rows_K, tokens_K)
    old = scores.get(places)
    scores.put(places, -np.inf)
    return places, old
