"""AdamW as transformers 4.34 has it, for scripts that make it themselves.

It is not PyTorch's: ``eps`` is added before the bias is corrected, weights decay after the step and not
before it, and the correction can be left out, as BERT's code did.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

from pegasus.errors import BadSetting


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), updates as in transformers 4.34.

    Args:
        params: what learns, or groups of it.
        lr: the rate.
        betas: by how much the means of gradients and of their squares keep of themselves at each step.
        eps: added to the root of the mean square.
        weight_decay: the share of a weight, times the rate, taken off after each step.
        correct_bias: whether the means are corrected for having begun at zero.
        no_deprecation_warning: leaves out the warning.

    Raises:
        BadSetting: for a number that makes no sense.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        correct_bias: bool = True,
        no_deprecation_warning: bool = False,
    ) -> None:
        if not no_deprecation_warning:
            warnings.warn(
                "this AdamW is kept for scripts of transformers 4.34 and is deprecated there: use "
                "torch.optim.AdamW, or say no_deprecation_warning=True.",
                FutureWarning,
                stacklevel=2,
            )
        _check(lr, betas, eps)
        settings = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "correct_bias": correct_bias,
        }  # fmt: skip
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
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
                if weight.grad is None:
                    continue
                if weight.grad.is_sparse:
                    raise BadSetting(
                        "AdamW takes no sparse gradients: make the embedding with sparse=False."
                    )
                self._change(weight, group)
        return loss

    def _change(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[weight], group["betas"]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(weight.grad, 1 - first)
        square.mul_(second).addcmul_(weight.grad, weight.grad, value=1 - second)
        rate = group["lr"]
        if group["correct_bias"]:
            rate *= math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])
        weight.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-rate)
        if group["weight_decay"] > 0:
            weight.mul_(1 - group["lr"] * group["weight_decay"])


def _check(lr: float, betas: tuple[float, float], eps: float) -> None:
    for name, number in (("lr", lr), ("eps", eps)):
        if not number >= 0:
            raise BadSetting(f"{name} must be 0 or more, and is {number}: give a small number above it.")
    for number in betas:
        if not 0 <= number < 1:
            raise BadSetting(
                f"betas are numbers from 0 to below 1, and one is {number}: take (0.9, 0.999)."
            )
