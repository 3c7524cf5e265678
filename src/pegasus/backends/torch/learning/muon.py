"""Muon: the step of a matrix is its momentum with all singular values made equal.

K. Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon/). A gradient's few large directions
would drown the many small ones; here all count the same, which small models on little data profit from
most. For a matrix x of A rows and B columns with gradient g::

    m ← 0.95 m + 0.05 g
    u = orthogonal(0.05 g + 0.95 m)           five rounds of Newton and Schulz, in bfloat16
    x ← (1 - rate · decay) x - rate · max(1, A / B)^½ · u

What is no matrix inside a layer (tables of embeddings, biases, norms) has no such directions and learns by
AdamW at a rate of its own. PyTorch's Muon refuses such weights and those that are spread over processes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

MOMENTUM = 0.95
# A quintic whose rounds bring every singular value near 1; they end between 0.7 and 1.2, which is enough.
_A, _B, _C, _ROUNDS = 3.4445, -4.7750, 2.0315, 5


class Muon(torch.optim.Optimizer):
    """Muon for matrices, AdamW for the rest, under one schedule.

    Args:
        matrices: what learns by Muon, each with two axes. They may be spread by rows (FSDP2): their momenta
            are then put together for the rounds, on every process.
        others: what learns by AdamW.
        lr: the rate of matrices; set ``group["lr"]`` before each step to follow a schedule.
        others_lr: the rate of the rest. It is kept as a share of ``lr`` in ``group["share"]``.
        weight_decay: of matrices.
        betas: of AdamW.
        eps: of AdamW.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float,
        others_lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
    ) -> None:
        groups = [
            {"params": list(matrices), "matrix": True, "share": 1.0},
            {"params": list(others), "matrix": False, "share": others_lr / lr},
        ]
        rest = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps, "updates": 0}
        super().__init__([group for group in groups if group["params"]], rest)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every weight that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            group["updates"] += 1
            for weight in group["params"]:
                if weight.grad is not None:
                    update = _turn if group["matrix"] else _adapt
                    update(weight, weight.grad, self.state[weight], group)
        return loss


def _turn(weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if "momentum" not in state:
        state["momentum"] = torch.zeros_like(weight)
    momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
    direction = gradient.lerp(momentum, MOMENTUM)
    whole = direction.full_tensor() if isinstance(direction, DTensor) else direction
    rows, columns = whole.shape
    rate = group["lr"] * group["share"]
    weight.mul_(1 - rate * group["weight_decay"])
    update = orthogonal(whole).to(weight.dtype)
    if isinstance(weight, DTensor):
        update = torch.distributed.tensor.distribute_tensor(
            update, weight.device_mesh, weight.placements, src_data_rank=None
        )
    weight.add_(update, alpha=-rate * math.sqrt(max(1.0, rows / columns)))


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix with its singular values brought near 1, in bfloat16."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.to(torch.bfloat16)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def _adapt(weight: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if not state:
        state["first"], state["second"] = torch.zeros_like(weight), torch.zeros_like(weight)
    slow, slower = group["betas"]
    state["first"].lerp_(gradient, 1 - slow)
    state["second"].mul_(slower).addcmul_(gradient, gradient, value=1 - slower)
    count = group["updates"]
    size = (state["second"] / (1 - slower**count)).sqrt_().add_(group["eps"])
    rate = group["lr"] * group["share"]
    weight.addcdiv_(state["first"], size, value=-rate / (1 - slow**count))
