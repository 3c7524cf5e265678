"""Cross-entropy over the tied output layer that never holds all [tokens × vocabulary] logits at once.

A few tokens at a time: their logits, their loss, and at once what they add to the gradients. So the memory
needed is one slice of logits, whatever the batch, and no logit is computed twice. It is exact: only the
order of additions differs from the plain computation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: Logits that exist at a time: 2**24 float32 numbers are 64 MiB.
SLICE = 2**24


def chunked_cross_entropy(
    states_ND: Float[Tensor, "N D"],
    weight_VD: Float[Tensor, "V D"],
    labels_N: Int[Tensor, " N"],
    *,
    bias_V: Float[Tensor, " V"] | None = None,
    smoothing: float = 0.0,
    pad: int | None = None,
    elements: int = SLICE,
) -> Float[Tensor, ""]:
    """The cross-entropy of each token, summed, in float32.

    Args:
        states_ND: the last states of the tokens that count.
        weight_VD: the output layer; under autocast the products are taken in its type.
        labels_N: the right tokens, all of them 0 .. V - 1.
        bias_V: added to the logits. It does not learn.
        smoothing: the share e of the truth that is spread evenly: 1 - e on the right token, then e / V on
            every token, that one included (as the authors and ``torch`` do; the Flax code differs).
        pad: a row of the weight that gets no gradient, so that it stays what it is.
        elements: how many logits may exist at a time.
    """
    total: Tensor = _Chunked.apply(states_ND, weight_VD, labels_N, bias_V, smoothing, pad, elements)
    return total


class _Chunked(torch.autograd.Function):
    """The sum with both gradients computed in the same pass, while each slice of logits is at hand."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        smoothing: float,
        pad: int | None,
        elements: int,
    ) -> Tensor:
        kind = states.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        learns_states, learns_weight = ctx.needs_input_grad[:2]
        d_states = torch.empty_like(states) if learns_states else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if learns_weight else None
        total = states.new_zeros((), dtype=torch.float32)
        with torch.autocast(kind, enabled=False):
            matrix = weight.to(dtype)
            rows = max(1, elements // weight.shape[0])
            for start in range(0, len(labels), rows):
                part = states[start : start + rows].to(dtype)
                logits = (part @ matrix.T).float()
                if bias is not None:
                    logits += bias
                total += _losses(logits, labels[start : start + rows], smoothing)
                if d_states is not None or d_weight is not None:
                    slope = _slope_(logits, labels[start : start + rows], smoothing).to(dtype)
                    if d_states is not None:
                        d_states[start : start + rows] = slope @ matrix
                    if d_weight is not None:
                        _add_product_(d_weight, slope, part)
        if d_weight is not None and pad is not None:
            d_weight[pad] = 0
        ctx.gradients = d_states, d_weight
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, d_weight = ctx.gradients
        ctx.gradients = None, None  # they are changed in place, and large
        factor = grads[0]
        if d_states is not None:
            d_states = d_states.mul_(factor)
        if d_weight is not None:
            d_weight = d_weight.mul_(factor).to(ctx.weight_dtype)
        return d_states, d_weight, None, None, None, None, None


def _losses(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The sum of the rows' losses; turns logits into log-probabilities in place."""
    logits -= torch.logsumexp(logits, dim=1, keepdim=True)
    right = -logits.gather(1, labels[:, None]).sum()
    if not smoothing:
        return right
    return (1 - smoothing) * right - smoothing / logits.shape[1] * logits.sum()


def _slope_(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The derivative of the loss by the logits, in place of the log-probabilities."""
    slope = log_probs.exp_()
    if smoothing:
        slope -= smoothing / slope.shape[1]
    slope[torch.arange(len(labels), device=labels.device), labels] -= 1 - smoothing
    return slope


def _add_product_(total_VD: Tensor, slope_NV: Tensor, states_ND: Tensor) -> None:
    """Add slopeᵀ · states; sums over many slices are kept in float32 whatever the products' type."""
    if slope_NV.dtype == total_VD.dtype:
        total_VD.addmm_(slope_NV.T, states_ND)
    else:
        total_VD += slope_NV.T @ states_ND


def mean_cross_entropy(
    logits_BTV: Float[Tensor, "B T V"], labels_BT: Int[Tensor, "B T"] | None
) -> Tensor | None:
    """The mean over the labels that are not -100, as the models return it; None without labels."""
    if labels_BT is None:
        return None
    flat = labels_BT.reshape(-1).to(logits_BTV.device, torch.int64)  # loaders may make int32
    return functional.cross_entropy(logits_BTV.reshape(-1, logits_BTV.shape[-1]), flat)
