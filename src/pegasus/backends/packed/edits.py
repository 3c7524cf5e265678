"""Changing scores where they lie; ``generation.session`` lists the kinds of edit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pegasus.generation.table import log_softmax

if TYPE_CHECKING:
    from pegasus.backends.packed.engine import Scores
    from pegasus.generation.session import Edit

#: Kinds that change single numbers and mean the same before and after a number is taken off a whole row.
SHIFTLESS = frozenset({"ban", "add"})
#: Kinds that change single numbers.
SINGLE = SHIFTLESS | {"scale", "stretch"}

#: What gives numbers back that were changed: rows, tokens and what stood there.
Undo = tuple[np.ndarray, np.ndarray, np.ndarray]


def edit_single(scores: Scores, edits: Sequence[Edit]) -> list[Undo]:
    """Makes edits of the kinds in ``SINGLE``; ``undo`` takes what is returned."""
    undone = []
    for one in edits:
        rows_K, tokens_K, values_K = _pairs(scores, one)
        old_K = scores.get(rows_K, tokens_K)
        scores.put(rows_K, tokens_K, _changed(one.kind, old_K, values_K))
        undone.append((rows_K, tokens_K, old_K))
    return undone


def undo(scores: Scores, undone: Sequence[Undo]) -> None:
    """Makes the scores what they were, last change first."""
    for rows_K, tokens_K, old_K in reversed(undone):
        scores.put(rows_K, tokens_K, old_K)


def edit_any(scores: Scores, edits: Sequence[Edit], to_native: Callable[[np.ndarray], Any]) -> None:
    """Makes edits of all kinds on scores that nobody needs afterwards.

    Args:
        scores: what to change.
        edits: in order.
        to_native: the arrays that a function of the caller's is given.
    """
    for one in edits:
        if one.tokens_N is None:
            _edit_rows(scores, one, to_native)
        elif one.kind in SINGLE:
            edit_single(scores, [one])
        else:
            _keep_only(scores, one)


def _edit_rows(scores: Scores, one: Edit, to_native: Callable[[np.ndarray], Any]) -> None:
    view_NV = scores.view()
    rows = slice(None) if one.rows_N is None else one.rows_N
    if one.kind == "normalize":
        view_NV[rows] = log_softmax(view_NV[rows])
    elif one.kind == "repair":
        most = float(np.finfo(np.float32).max)
        view_NV[rows] = np.nan_to_num(view_NV[rows], nan=0.0, posinf=most, neginf=-np.inf)
    else:
        assert one.call is not None
        assert one.ids_RT is not None
        called = one.call(to_native(np.array(one.ids_RT)), to_native(np.array(view_NV[rows])))
        view_NV[rows] = np.asarray(called)
    scores.changed()


def _keep_only(scores: Scores, one: Edit) -> None:
    """ "only" and "force": every token of these rows that is not named gets −∞."""
    rows_K, tokens_K, _ = _pairs(scores, one)
    kept_K = scores.get(rows_K, tokens_K) if one.kind == "only" else np.zeros(len(rows_K), np.float32)
    scores.fill(np.unique(rows_K), -np.inf)
    scores.put(rows_K, tokens_K, kept_K)


def _pairs(scores: Scores, one: Edit) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rows, tokens and values of an edit, pair by pair."""
    assert one.tokens_N is not None
    if one.rows_N is not None:
        return one.rows_N, one.tokens_N, one.values_N
    rows_K = np.repeat(np.arange(scores.rows), len(one.tokens_N))
    values = None if one.values_N is None else np.tile(one.values_N, scores.rows)
    return rows_K, np.tile(one.tokens_N, scores.rows), values


def _changed(kind: str, old: np.ndarray, values: np.ndarray | None) -> np.ndarray | float:
    if kind == "ban":
        return -np.inf
    assert values is not None
    values = values.astype(np.float32)
    if kind == "add":
        return np.asarray(old + values)
    if kind == "scale":
        return np.asarray(np.where(old < 0, old * values, old / values))
    # What is banned stays banned, as in every session.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(old == -np.inf, old, old + np.abs(old) * (values - 1)))
