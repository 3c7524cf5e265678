"""Losses over the tied output layer that never hold all [tokens × vocabulary] logits at once.

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
    from collections.abc import Callable

    from jaxtyping import Float, Int

#: Logits that exist at a time: 2**24 float32 numbers are 64 MiB.
SLICE = 2**24
#: On a GPU, whose products of few rows would do little but read the weight: 512 MiB.
LARGE_SLICE = 2**27


def chunked_cross_entropy(
    states_ND: Float[Tensor, "N D"],
    weight_VD: Float[Tensor, "V D"],
    labels_N: Int[Tensor, " N"],
    *,
    bias_V: Float[Tensor, " V"] | None = None,
    smoothing: float = 0.0,
    pad: int | None = None,
    elements: int | None = None,
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
        elements: how many logits may exist at a time; None: ``SLICE``, on a GPU ``LARGE_SLICE``.
    """
    rule = _Words(labels_N, smoothing)
    total: Tensor = _Chunked.apply(states_ND, weight_VD, rule, bias_V, pad, elements)
    return total


def chunked_divergence(
    states_ND: Float[Tensor, "N D"],
    weight_VD: Float[Tensor, "V D"],
    teacher_NV: Callable[[slice], Float[Tensor, "n V"]],
    temperature: float,
    *,
    bias_V: Float[Tensor, " V"] | None = None,
    pad: int | None = None,
    elements: int | None = None,
) -> Float[Tensor, ""]:
    """T² KL(teacher ‖ student) of each token's distributions at a temperature T, summed, in float32.

    T² keeps the gradient as large as it is without a temperature (Hinton et al., 2015).

    Args:
        states_ND: the student's last states of the tokens that count.
        weight_VD: its output layer.
        teacher_NV: gives the teacher's logits of some of the tokens.
        temperature: T.
        bias_V: added to the student's logits. It does not learn.
        pad: a row of the weight that gets no gradient.
        elements: how many logits of each model may exist at a time; None: as above.
    """
    rule = _Teacher(teacher_NV, temperature)
    total: Tensor = _Chunked.apply(states_ND, weight_VD, rule, bias_V, pad, elements)
    return total


class _Words:
    """The cross-entropy of the right tokens; see ``chunked_cross_entropy``."""

    def __init__(self, labels: Tensor, smoothing: float) -> None:
        self.labels, self.smoothing = labels, smoothing

    def losses_(self, logits: Tensor, rows: slice) -> Tensor:
        return _losses(logits, self.labels[rows], self.smoothing)

    def slope_(self, log_probs: Tensor, rows: slice) -> Tensor:
        return _slope_(log_probs, self.labels[rows], self.smoothing)


class _Teacher:
    """The divergence from a teacher's distribution; see ``chunked_divergence``."""

    def __init__(self, teacher: Callable[[slice], Tensor], temperature: float) -> None:
        self.teacher, self.temperature = teacher, temperature
        self._wanted: Tensor | None = None

    def losses_(self, logits: Tensor, rows: slice) -> Tensor:
        """The sum of the rows' divergences; turns logits into log-probabilities at the temperature."""
        logits /= self.temperature
        logits -= torch.logsumexp(logits, dim=1, keepdim=True)
        wanted = functional.log_softmax(self.teacher(rows).float() / self.temperature, dim=1)
        self._wanted = wanted.exp()
        return self.temperature**2 * (self._wanted * (wanted - logits)).sum()

    def slope_(self, log_probs: Tensor, rows: slice) -> Tensor:
        assert self._wanted is not None
        return log_probs.exp_().sub_(self._wanted).mul_(self.temperature)


class _Chunked(torch.autograd.Function):
    """The sum with both gradients computed in the same pass, while each slice of logits is at hand."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        rule: _Words | _Teacher,
        bias: Tensor | None,
        pad: int | None,
        elements: int | None,
    ) -> Tensor:
        kind = states.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        learns_states, learns_weight = ctx.needs_input_grad[:2]
        d_states = torch.empty_like(states) if learns_states else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if learns_weight else None
        total = states.new_zeros((), dtype=torch.float32)
        with torch.autocast(kind, enabled=False):
            matrix = weight.to(dtype)
            if elements is None:
                elements = LARGE_SLICE if kind == "cuda" else SLICE
            rows = max(1, elements // weight.shape[0])
            for start in range(0, len(states), rows):
                some = slice(start, start + rows)
                part = states[some].to(dtype)
                logits = _product(part, matrix)
                if bias is not None:
                    logits += bias
                total += rule.losses_(logits, some)
                if d_states is not None or d_weight is not None:
                    slope = rule.slope_(logits, some).to(dtype)
                    if d_states is not None:
                        d_states[some] = slope @ matrix
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
        return d_states, d_weight, None, None, None, None


def _product(states_ND: Tensor, weight_VD: Tensor) -> Tensor:
    """The logits in float32; on a GPU they are never rounded to fewer bits."""
    lower = states_ND.dtype != torch.float32 and states_ND.device.type == "cuda"
    if lower and "dtype" in torch.ops.aten.mm.overloads():
        return torch.mm(states_ND, weight_VD.T, out_dtype=torch.float32)
    return (states_ND @ weight_VD.T).float()


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
