"""Attention for training on a CPU, a text at a time: with dropout, and in bfloat16.

The fused kernels of PyTorch know no dropout on a CPU. Written out, a layer keeps its probabilities twice
and their mask, [B, H, T, S] each, until the backward pass: most of the memory of a training step. Here
they are computed for one text, used, and computed again in the backward pass, from the same random
numbers; what lies between is small enough for a cache, so that one more product takes no more time.

Without dropout the fused kernels are as good in float32. In bfloat16 their backward pass takes five times
as long as the forward one; a text at a time, with the probabilities kept in 16 bits, both together take
half the time (24 texts of 304 tokens, 4 heads: 73 ms and 137 ms).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pegasus.backends.torch.model.dropout import draw

if TYPE_CHECKING:
    from jaxtyping import Float


def attend_with_dropout(
    queries: Float[Tensor, "B H T E"],
    keys: Float[Tensor, "B H S E"],
    values: Float[Tensor, "B H S E"],
    mask: Float[Tensor, "B|1 1 T|1 S"] | None,
    scaling: float,
    rate: float,
) -> Float[Tensor, "B H T E"]:
    """What each query finds, with a share ``rate`` of the probabilities set to zero and the rest scaled up.

    Args:
        queries: what asks, not yet scaled.
        keys: what is compared with them.
        values: what is found.
        mask: added to the scores. It does not learn.
        scaling: of the scores.
        rate: above 0 and below 1.
    """
    found: Tensor = _Attended.apply(queries, keys, values, mask, scaling, rate)
    return found


def attend_in_bfloat16(
    queries: Float[Tensor, "B H T E"],
    keys: Float[Tensor, "B H S E"],
    values: Float[Tensor, "B H S E"],
    mask: Float[Tensor, "B|1 1 T|1 S"] | None,
    scaling: float,
) -> Float[Tensor, "B H T E"]:
    """What each query finds, for training without dropout in bfloat16.

    Args:
        queries: what asks, not yet scaled.
        keys: what is compared with them.
        values: what is found.
        mask: added to the scores. It does not learn.
        scaling: of the scores.
    """
    found: Tensor = _Kept.apply(queries, keys, values, mask, scaling)
    return found


class _Attended(torch.autograd.Function):
    """The forward pass and, with the probabilities computed anew, the backward pass."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None,
        scaling: float,
        rate: float,
    ) -> Tensor:
        found = torch.empty_like(queries)
        ctx.random = torch.get_rng_state()
        with torch.autocast("cpu", enabled=False):
            for text in range(len(queries)):
                weights = _weights(queries[text], keys[text], _of(mask, text), scaling)
                kept, scale = draw(weights.shape, rate)
                found[text] = torch.matmul(weights.mul_(kept).to(values.dtype), values[text])
        ctx.save_for_backward(queries, keys, values, mask)
        ctx.scaling, ctx.rate, ctx.scale = scaling, rate, scale
        return found.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_found: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, mask = ctx.saved_tensors
        d_queries, d_keys, d_values = (torch.empty_like(x) for x in (queries, keys, values))
        with torch.autocast("cpu", enabled=False), _drawing_again(ctx.random):
            for text in range(len(queries)):
                weights = _weights(queries[text], keys[text], _of(mask, text), ctx.scaling)
                kept, _ = draw(weights.shape, ctx.rate)
                d_out = d_found[text] * ctx.scale
                dropped = (weights * kept).to(values.dtype)
                d_values[text] = dropped.transpose(1, 2) @ d_out
                d_weights = (d_out @ values[text].transpose(1, 2)).mul_(kept)
                d_queries[text], d_keys[text] = _back(d_weights, weights, queries[text], keys[text])
        return d_queries.mul_(ctx.scaling), d_keys.mul_(ctx.scaling), d_values, None, None, None


class _Kept(torch.autograd.Function):
    """The forward pass, with the probabilities kept for the backward pass."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float
    ) -> Tensor:
        found = torch.empty_like(queries)
        kept: list[Tensor] = []
        with torch.autocast("cpu", enabled=False):
            for text in range(len(queries)):
                weights = _weights(queries[text], keys[text], _of(mask, text), scaling)
                kept.append(weights.to(values.dtype))
                found[text] = kept[-1] @ values[text]
        ctx.save_for_backward(queries, keys, values, *kept)
        ctx.scaling = scaling
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_found: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, *kept = ctx.saved_tensors
        d_queries, d_keys, d_values = (torch.empty_like(x) for x in (queries, keys, values))
        with torch.autocast("cpu", enabled=False):
            for text, weights in enumerate(kept):
                d_values[text] = weights.transpose(1, 2) @ d_found[text]
                d_weights = d_found[text] @ values[text].transpose(1, 2)
                d_queries[text], d_keys[text] = _back(d_weights, weights, queries[text], keys[text])
        return d_queries.mul_(ctx.scaling), d_keys.mul_(ctx.scaling), d_values, None, None


@contextmanager
def _drawing_again(state: Tensor) -> Iterator[None]:
    """Draw what was drawn from this state on, and leave the draws to come as they are."""
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    try:
        yield
    finally:
        torch.set_rng_state(after)


def _of(mask: Tensor | None, text: int) -> Tensor | None:
    return None if mask is None else mask[text if len(mask) > 1 else 0]


def _weights(
    queries: Float[Tensor, "H T E"], keys: Float[Tensor, "H S E"], mask: Tensor | None, scaling: float
) -> Float[Tensor, "H T S"]:
    """The probabilities of one text, in float32 where the products are of fewer bits."""
    scores = torch.matmul(queries * scaling, keys.transpose(1, 2))
    if scores.dtype in (torch.bfloat16, torch.float16):
        scores = scores.float()
    if mask is not None:
        scores += mask
    return torch.softmax(scores, dim=-1)


def _back(
    d_weights: Float[Tensor, "H T S"],
    weights: Float[Tensor, "H T S"],
    queries: Float[Tensor, "H T E"],
    keys: Float[Tensor, "H S E"],
) -> tuple[Float[Tensor, "H T E"], Float[Tensor, "H S E"]]:
    """From the gradient of one text's probabilities to those of its scaled queries and of its keys."""
    d_scores = torch._softmax_backward_data(d_weights.to(weights.dtype), weights, -1, weights.dtype)
    d_scores = d_scores.to(queries.dtype)
    return d_scores @ keys, d_scores.transpose(1, 2) @ queries
