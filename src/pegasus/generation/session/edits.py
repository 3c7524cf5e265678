"""What an edit means, once for all backends; ``session.ask.Edit`` lists the kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pegasus.generation.session.ask import Edit
    from pegasus.generation.session.decoder import Scores

#: Kinds that change single numbers and mean the same before and after a number is taken off a whole row.
SHIFTLESS = frozenset({"ban", "add"})
#: Kinds that change single numbers.
SINGLE = SHIFTLESS | {"scale", "stretch"}

#: What gives numbers back that were changed: the places, and what stood there.
Undo = tuple[Any, Any]


def edit_and_keep(scores: Scores, edits: Sequence[Edit]) -> list[Undo]:
    """Makes edits of the kinds in ``SINGLE``; ``undo`` takes what is returned."""
    undone = []
    for one in edits:
        places = _places(scores, one)
        old = scores.get(places)
        scores.put(places, _changed(scores, one, old))
        undone.append((places, old))
    return undone


def undo(scores: Scores, undone: Sequence[Undo]) -> None:
    """Makes the scores what they were, last change first."""
    for places, old in reversed(undone):
        scores.put(places, old)


def edit(scores: Scores, edits: Sequence[Edit], to_native: Callable[[np.ndarray], Any]) -> None:
    """Makes edits of all kinds, in order, on scores that nobody needs as they were.

    Args:
        scores: what to change.
        edits: the changes.
        to_native: makes the tokens that a function of the caller's is given.
    """
    for one in edits:
        if one.tokens_N is None:
            _edit_rows(scores, one, to_native)
        elif one.kind in SINGLE:
            places = _places(scores, one)
            scores.put(places, _changed(scores, one, None if one.kind == "ban" else scores.get(places)))
        else:
            _keep_only(scores, one)


def _edit_rows(scores: Scores, one: Edit, to_native: Callable[[np.ndarray], Any]) -> None:
    if one.kind == "normalize":
        scores.log_softmax(one.rows_N)
    elif one.kind == "repair":
        scores.repair(one.rows_N)
    else:
        assert one.call is not None
        assert one.ids_RT is not None
        ids = to_native(np.array(one.ids_RT))
        scores.replace(one.rows_N, one.call(ids, scores.take(one.rows_N)))


def _keep_only(scores: Scores, one: Edit) -> None:
    """ "only" and "force": every token of these rows that is not named gets −∞."""
    places = _places(scores, one)
    kept = scores.get(places) if one.kind == "only" else 0.0
    rows = np.arange(scores.rows) if one.rows_N is None else np.unique(one.rows_N)
    scores.fill(rows, -np.inf)
    scores.put(places, kept)


def _places(scores: Scores, one: Edit) -> Any:
    assert one.tokens_N is not None
    return scores.places(one.rows_N, one.tokens_N)


def _changed(scores: Scores, one: Edit, old: Any) -> Any:
    """What stands there afterwards: operators alone, which the arrays of every backend know."""
    if one.kind == "ban":
        return -np.inf
    assert one.values_N is not None
    values = scores.array(one.values_N)
    if one.kind == "add":
        return old + values
    if one.kind == "scale":
        return scores.where(old < 0, old * values, old / values)
    assert one.kind == "stretch"
    # What is banned stays banned; transformers 4.34 makes NaN of it, and NaN wins.
    banned = old == -np.inf
    finite = scores.where(banned, 0 * values, old)
    return scores.where(banned, old, finite + abs(finite) * (values - 1))
