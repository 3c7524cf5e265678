"""Changing scores and taking the best of them; ``generation.session`` lists the kinds of edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from pegasus.generation.session import Edit

#: Tokens are first compared by blocks of this many: a pass of maxima over the vocabulary and a search in
#: the few best blocks is several times faster than one search in the whole vocabulary.
BLOCK = 64


def best(scores: Float[Tensor, "R V"], count: int) -> tuple[Float[Tensor, "R C"], Int[Tensor, "R C"]]:
    """The ``count`` best tokens of each row, best first: their scores and which they are."""
    rows, vocabulary = scores.shape
    whole = vocabulary // BLOCK
    if whole < 4 * count:
        plain = torch.topk(scores, count, dim=1)
        return plain.values, plain.indices
    blocked = scores[:, : whole * BLOCK].view(rows, whole, BLOCK)
    blocks = torch.topk(blocked.amax(dim=2), count, dim=1, sorted=False).indices
    # In the order of the vocabulary, so that of equal scores the lower token comes first, as in one search.
    blocks = blocks.sort(dim=1).values
    tokens = (blocks[:, :, None] * BLOCK + torch.arange(BLOCK, device=scores.device)).view(rows, -1)
    rest = torch.arange(whole * BLOCK, vocabulary, device=scores.device).expand(rows, -1)
    tokens = torch.cat([tokens, rest], dim=1)
    values, places = torch.topk(scores.gather(1, tokens), count, dim=1)
    return values, tokens.gather(1, places)


def edit(scores: Float[Tensor, "R V"], edits: Sequence[Edit], fresh: bool) -> Float[Tensor, "R V"]:
    """The scores after all edits, made in order.

    Args:
        scores: what the model said; left as it is unless ``fresh``.
        edits: what to change.
        fresh: whether ``scores`` may be written into.
    """
    if edits and not fresh:
        scores = scores.clone()
    for one in edits:
        scores = _edit(scores, one)
    return scores


def _edit(scores: Float[Tensor, "R V"], one: Edit) -> Float[Tensor, "R V"]:
    if one.tokens_N is None:
        if one.rows_N is None:
            return _whole(scores, one)
        rows = torch.from_numpy(np.ascontiguousarray(one.rows_N)).to(scores.device)
        scores[rows] = _whole(scores[rows], one)
        return scores
    where = _places(scores, one)
    if one.kind == "only":
        return _rest_banned(scores, one, scores[where])
    if one.kind == "force":
        return _rest_banned(scores, one, torch.zeros_like(scores[where]))
    scores[where] = _changed(scores[where], one)
    return scores


def _whole(scores: Float[Tensor, "R V"], one: Edit) -> Float[Tensor, "R V"]:
    if one.kind == "normalize":
        return torch.log_softmax(scores, dim=-1)
    if one.kind == "repair":
        return torch.nan_to_num(scores, nan=0.0, posinf=torch.finfo(scores.dtype).max, neginf=-torch.inf)
    assert one.call is not None
    assert one.ids_RT is not None
    called: Tensor = one.call(torch.from_numpy(np.array(one.ids_RT)).to(scores.device), scores)
    return called


def _places(scores: Tensor, one: Edit) -> tuple[Tensor | slice, Tensor]:
    assert one.tokens_N is not None
    tokens = torch.from_numpy(np.ascontiguousarray(one.tokens_N)).to(scores.device)
    if one.rows_N is None:
        return slice(None), tokens
    return torch.from_numpy(np.ascontiguousarray(one.rows_N)).to(scores.device), tokens


def _changed(old: Tensor, one: Edit) -> Tensor:
    if one.kind == "ban":
        return torch.full_like(old, -torch.inf)
    assert one.values_N is not None
    values = torch.from_numpy(one.values_N).to(old.device, old.dtype)
    if one.kind == "add":
        return old + values
    if one.kind == "scale":
        return torch.where(old < 0, old * values, old / values)
    assert one.kind == "stretch"
    # What is banned stays banned; transformers 4.34 makes NaN of it, and NaN wins.
    return torch.where(old == -torch.inf, old, old + old.abs() * (values - 1))


def _rest_banned(scores: Tensor, one: Edit, values: Tensor) -> Tensor:
    rows, tokens = _places(scores, one)
    scores[slice(None) if isinstance(rows, slice) else rows.unique()] = -torch.inf
    scores[rows, tokens] = values
    return scores
