"""Adafactor with the arguments of transformers, for scripts that make it themselves.

The jobs of this package use the authors' own form (``optim.py``); this one has every switch by which
reports of fine-tuning state their optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pegasus.errors import BadSetting


class Adafactor(torch.optim.Optimizer):
    """Adafactor (Shazeer and Stern, 2018), updates as in transformers 4.34.

    Args:
        params: what learns, or groups of it.
        lr: the rate; None with ``relative_step``.
        eps: added to squared gradients; the least scale of a weight.
        clip_threshold: the root mean square above which an update is made smaller.
        decay_rate: the power of the step number by which the past is forgotten.
        beta1: the decay of a running mean of updates; None keeps none.
        weight_decay: the share of a weight, times the rate, taken off at each step.
        scale_parameter: whether a step is relative to the root mean square of the weight.
        relative_step: whether the rate follows from the number of steps.
        warmup_init: whether that rate rises first.

    Raises:
        BadSetting: for switches that contradict each other.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        if (lr is None) != relative_step:
            raise BadSetting(
                f"lr={lr} with relative_step={relative_step}: give lr and relative_step=False, or neither."
            )
        if warmup_init and not relative_step:
            raise BadSetting("warmup_init=True is a part of relative_step=True. Set both, or neither.")
        settings = {
            "lr": lr, "eps": eps, "clip_threshold": clip_threshold, "decay_rate": decay_rate,
            "beta1": beta1, "weight_decay": weight_decay, "scale_parameter": scale_parameter,
            "relative_step": relative_step, "warmup_init": warmup_init,
        }  # fmt: skip
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every weight that has a gradient.

        Raises:
            BadSetting: when a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    if weight.grad.is_sparse:
                        raise BadSetting("Adafactor takes no sparse gradients. Use dense embeddings.")
                    _update(weight, self.state[weight], group)
        return loss


def _update(weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    gradient = weight.grad.float()  # type: ignore[union-attr]
    whole = weight.float()  # the weight itself where that is float32
    state["step"] = state.get("step", 0) + 1
    state["RMS"] = _size(whole)
    rate = _rate(state, group)
    update = _direction(gradient, state, group)
    update.div_((_size(update) / group["clip_threshold"]).clamp_(min=1.0)).mul_(rate)
    if (beta1 := group["beta1"]) is not None:
        update = _mean(state, "exp_avg", update, beta1)
    if group["weight_decay"]:
        whole = whole.mul(1 - group["weight_decay"] * rate)
    weight.copy_(whole - update)


def _rate(state: dict[str, Any], group: dict[str, Any]) -> Any:
    rate = group["lr"]
    if group["relative_step"]:
        most = 1e-6 * state["step"] if group["warmup_init"] else 1e-2
        rate = min(most, state["step"] ** -0.5)
    return rate * max(group["eps"][1], state["RMS"]) if group["scale_parameter"] else rate


def _direction(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """The gradient over the root of its squares' running mean, of rows and columns where there are two."""
    keep = 1.0 - state["step"] ** group["decay_rate"]
    square = gradient.square().add_(group["eps"][0])
    if gradient.dim() < 2:
        return _mean(state, "exp_avg_sq", square, keep).rsqrt().mul_(gradient)
    row = _mean(state, "exp_avg_sq_row", square.mean(-1), keep)
    column = _mean(state, "exp_avg_sq_col", square.mean(-2), keep)
    scale = (row / row.mean(-1, keepdim=True)).rsqrt_().unsqueeze(-1)
    return scale * column.rsqrt().unsqueeze(-2) * gradient


def _mean(state: dict[str, Any], name: str, new: Tensor, keep: float) -> Tensor:
    if name not in state:
        state[name] = torch.zeros_like(new)
    kept: Tensor = state[name]
    return kept.mul_(keep).add_(new, alpha=1 - keep)


def _size(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values) / values.numel() ** 0.5
