"""Products in numbers of 16 bits around a residual of 32: what keeps float16 from overflowing.

float16 ends at 65,504. In PEGASUS checkpoints of 16 layers the residual has been seen at 68,600, and a
single product of the feed-forward part may be as large. So, wherever products are taken in 16 bits:

* the residual and the norms are float32, in bfloat16 too, whose 8 bits would lose most of a small change
  added to a large residual;
* in float16 the last product of each branch is taken of inputs ``ROOM`` times smaller, and is multiplied by
  ``ROOM``, a power of two, where it is added to the residual, in float32;
* the logits, whose differences are what a search looks at, are float32.

In float32 nothing here changes a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pegasus.backends.torch.compatibility.tracing import traced

if TYPE_CHECKING:
    from jaxtyping import Float

#: How much larger than 65,504 a change to the residual may be. Inputs near 1 lose nothing by being divided
#: by it: their smallest step, 2^-24, stands for 4e-6, far below the rounding of what they are added to.
ROOM = 64.0
HALVES = (torch.float16, torch.bfloat16)
#: Rows of the output layer that are widened at a time, so that they stay in a cache.
SLICE = 512


def products_in(weight: Tensor) -> torch.dtype:
    """The type in which products with a weight are taken: its own, or that of autocast."""
    if traced(weight):
        return torch.float32
    kind = weight.device.type
    # A weight that lies on the disk until it is used is on the meta device, which knows no autocast.
    if weight.dtype != torch.float64 and kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return weight.dtype


def scale_for(weight: Tensor) -> float:
    """By what the last product of a branch is scaled down."""
    return 1 / ROOM if products_in(weight) == torch.float16 else 1.0


def wide(values: Tensor) -> Tensor:
    """Numbers of 16 bits as float32, others as they are."""
    return values if traced(values) or values.dtype not in HALVES else values.float()


class LayerNorm(nn.LayerNorm):
    """A layer norm computed in float32 whatever its weights are kept as; the result has their type."""

    def forward(self, states: Float[Tensor, "*B D"], scale: float = 1.0) -> Float[Tensor, "*B D"]:  # type: ignore[override]
        """``scale`` times the normalized states."""
        if traced(states) or (
            scale == 1 and self.weight.dtype == states.dtype and states.dtype not in HALVES
        ):
            return super().forward(states)
        weight, bias = wide(self.weight) * scale, wide(self.bias) * scale
        normed = functional.layer_norm(wide(states), self.normalized_shape, weight, bias, self.eps)
        return normed.to(self.weight.dtype)


def scaled(layer: nn.Module, states: Tensor, scale: float) -> Tensor:
    """``scale`` times what a linear layer makes of ``states / scale``."""
    if scale == 1:
        return layer(states)  # type: ignore[no-any-return]
    if type(layer) is nn.Linear and not layer.weight.is_meta:
        bias = None if layer.bias is None else layer.bias * scale
        return functional.linear(states, layer.weight, bias)
    # An adapter around a layer adds parts of its own, so only the whole can be scaled.
    return layer(states / scale) * scale  # type: ignore[no-any-return]


def add(residual: Tensor, change: Tensor, scale: float) -> Tensor:
    """The residual with a change added that was computed ``scale`` times as large as it is."""
    # In one pass: torch widens the change before it is multiplied.
    return torch.add(wide(residual), change, alpha=1 / scale) if scale != 1 else wide(residual) + change


def logits(head: nn.Module, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
    """What the output layer makes of states, in float32 where the weights have 16 bits.

    A logit of 20 rounded to bfloat16 is off by up to 0.06, which gives many tokens one score.
    """
    if traced(states):
        return head(states)  # type: ignore[no-any-return]
    weight = getattr(head, "weight", None)
    plain = type(head) is nn.Linear and not head.weight.is_meta
    if not plain or weight is None or products_in(weight) != weight.dtype:
        return wide(head(states))
    if weight.dtype not in HALVES:
        return head(states)  # type: ignore[no-any-return]
    flat: Tensor = _WideProduct.apply(states.flatten(0, -2), weight)
    found = flat.unflatten(0, states.shape[:-1])
    return found if head.bias is None else found + head.bias


class _WideProduct(torch.autograd.Function):
    """states · weightᵀ of numbers of 16 bits, rounded to float32 only."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(states, weight)
        return wide_product(states, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        states, weight = ctx.saved_tensors
        slope = grads[0].to(weight.dtype)
        return slope @ weight, slope.T @ states


def wide_product(states: Float[Tensor, "N D"], weight: Float[Tensor, "V D"]) -> Float[Tensor, "N V"]:
    """states · weightᵀ in float32 of numbers of 16 bits; the weight is never widened as a whole."""
    if states.device.type == "cuda" and "dtype" in torch.ops.aten.mm.overloads():
        return torch.mm(states, weight.T, out_dtype=torch.float32)
    found = states.new_empty((len(states), len(weight)), dtype=torch.float32)
    rows = states.float()
    for start in range(0, len(weight), SLICE):
        found[:, start : start + SLICE] = rows @ weight[start : start + SLICE].float().T
    return found
