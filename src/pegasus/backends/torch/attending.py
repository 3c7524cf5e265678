"""Attention with dropout for a CPU: a text at a time, of whose probabilities only the mask is kept.

The fused kernels of PyTorch know no dropout on a CPU. Written out, a layer keeps its probabilities twice
and their mask, [B, H, T, S] each, until the backward pass: most of the memory of a training step. Here
they are computed for one text, used, and computed again in the backward pass; what lies between is small
enough for a cache, so that one more product takes no more time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pegasus.backends.torch.dropout import draw

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
        masks: list[Tensor] = []
        with torch.autocast("cpu", enabled=False):
            for text in range(len(queries)):
                weights = _weights(queries[text], keys[text], _of(mask, text), scaling)
                kept, scale = draw(weights.shape, rate)
                masks.append(kept)
                found[text] = torch.matmul(weights.mul_(kept).to(values.dtype), values[text])
        ctx.save_for_backward(queries, keys, values, mask, *masks)
        ctx.scaling, ctx.scale = scaling, scale
        return found.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_found: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, mask, *masks = ctx.saved_tensors
        d_queries, d_keys, d_values = (torch.empty_like(x) for x in (queries, keys, values))
        with torch.autocast("cpu", enabled=False):
            for text, kept in enumerate(masks):
                weights = _weights(queries[text], keys[text], _of(mask, text), ctx.scaling)
                d_out = d_found[text] * ctx.scale
                dropped = (weights * kept).to(values.dtype)
                d_values[text] = dropped.transpose(1, 2) @ d_out
                d_weights = (d_out @ values[text].transpose(1, 2)).mul_(kept)
                d_scores = torch._softmax_backward_data(
                    d_weights.to(weights.dtype), weights, -1, weights.dtype
                )
                d_scores = d_scores.to(queries.dtype)
                d_queries[text] = d_scores @ keys[text]
                d_keys[text] = d_scores.transpose(1, 2) @ queries[text]
        return d_queries.mul_(ctx.scaling), d_keys.mul_(ctx.scaling), d_values, None, None, None


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
