"""Muon: the step of a matrix is its momentum with all singular values made equal.

K. Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon/). A gradient's few large directions
would drown the many small ones; here all count the same, which small models on little data profit from
most. For a matrix x of A rows and B columns with gradient g::

    m ← 0.95 m + 0.05 g
    u = orthogonal(0.05 g + 0.95 m)           five rounds of Newton and Schulz, in bfloat16
    x ← (1 - rate · decay) x - rate · max(1, A / B)^½ · u

What is no matrix inside a layer (tables of embeddings, biases, norms) has no such directions and learns by
AdamW at a rate of its own. PyTorch's Muon refuses such weights and those that are spread over processes.

A model has hundreds of matrices of a few shapes, each too small to fill a GPU: there those of one shape go
through the rounds together, as one batched product, and what is done number by number is done for all
weights at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from pegasus.backends.torch.learning.alike import alike, local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jaxtyping import Float
    from torch import nn

MOMENTUM = 0.95
# A quintic whose rounds bring every singular value near 1; they end between 0.7 and 1.2, which is enough.
_A, _B, _C, _ROUNDS = 3.4445, -4.7750, 2.0315, 5


class Muon(torch.optim.Optimizer):
    """Muon for matrices, AdamW for the rest, under one schedule. An update overwrites matrices' gradients.

    Args:
        matrices: what learns by Muon, each with two axes. They may be spread by rows (FSDP2): their momenta
            are then put together for the rounds, on every process.
        others: what learns by AdamW.
        lr: the rate of matrices; set ``group["lr"]`` before each step to follow a schedule.
        others_lr: the rate of the rest. It is kept as a share of ``lr`` in ``group["share"]``.
        weight_decay: of matrices.
        betas: of AdamW.
        eps: of AdamW.
        together: so many numbers of matrices of one shape go through the rounds at once; see ``alike``.
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
        together: int | None = None,
    ) -> None:
        groups = [
            {"params": list(matrices), "matrix": True, "share": 1.0},
            {"params": list(others), "matrix": False, "share": others_lr / lr},
        ]
        rest = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps, "updates": 0}
        super().__init__([group for group in groups if group["params"]], rest)
        self.together = together

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every weight that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            group["updates"] += 1
            weights = [weight for weight in group["params"] if weight.grad is not None]
            states = [self.state[weight] for weight in weights]
            if weights and group["matrix"]:
                _turn(weights, states, group, self.together)
            elif weights:
                _adapt(weights, states, group)
        return loss


def _turn(
    weights: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any], together: int | None
) -> None:
    for weight, state in zip(weights, states):
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
    gradients = [_gradient(weight) for weight in weights]
    momenta = [local(state["momentum"]) for state in states]
    torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
    torch._foreach_lerp_(gradients, momenta, MOMENTUM)  # the gradient's memory: nobody needs it any more
    rate = group["lr"] * group["share"]
    if group["weight_decay"]:
        torch._foreach_mul_([local(weight) for weight in weights], 1 - rate * group["weight_decay"])
    for some in alike(weights, together):
        rows, columns = some[0].shape
        directions = [_whole(weight) for weight in some]
        if len(some) == 1:
            updates = orthogonal(directions[0]).unsqueeze(0).to(some[0].dtype)
        else:
            updates = orthogonal(torch.stack(directions)).to(some[0].dtype)
        parts = [_spread_like(weight, update) for weight, update in zip(some, updates)]
        alpha = -rate * math.sqrt(max(1.0, rows / columns))
        torch._foreach_add_([local(weight) for weight in some], parts, alpha=alpha)


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return local(weight.grad)


def _whole(weight: Tensor) -> Tensor:
    """The direction of a weight, put together where its rows are spread."""
    assert weight.grad is not None
    return weight.grad.full_tensor() if isinstance(weight.grad, DTensor) else weight.grad


def _spread_like(weight: Tensor, update: Tensor) -> Tensor:
    """The rows of an update that this process holds of the weight."""
    if not isinstance(weight, DTensor):
        return update
    mesh, places = weight.device_mesh, weight.placements
    return local(torch.distributed.tensor.distribute_tensor(update, mesh, places, src_data_rank=None))


def orthogonal(matrices: Float[Tensor, "*K A B"]) -> Float[Tensor, "*K A B"]:
    """Matrices with their singular values brought near 1, in bfloat16."""
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x = wide.to(torch.bfloat16)
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    batch = x if x.dim() == 2 else x.reshape(-1, *x.shape[-2:])
    add_product = torch.addmm if x.dim() == 2 else torch.baddbmm
    for _ in range(_ROUNDS):
        square = batch @ batch.mT
        both = add_product(square, square, square, beta=_B, alpha=_C)
        batch = add_product(batch, both, batch, beta=_A)
    x = batch.reshape(x.shape)
    return x if wide is matrices else x.mT


def _adapt(weights: list[Tensor], states: list[dict[str, Any]], group: dict[str, Any]) -> None:
    for weight, state in zip(weights, states):
        if not state:
            state["first"], state["second"] = torch.zeros_like(weight), torch.zeros_like(weight)
    slow, slower = group["betas"]
    gradients = [_gradient(weight) for weight in weights]
    first, second = ([local(state[key]) for state in states] for key in ("first", "second"))
    torch._foreach_lerp_(first, gradients, 1 - slow)
    torch._foreach_mul_(second, slower)
    torch._foreach_addcmul_(second, gradients, gradients, value=1 - slower)
    count = group["updates"]
    sizes = torch._foreach_div(second, 1 - slower**count)
    torch._foreach_sqrt_(sizes)
    torch._foreach_add_(sizes, group["eps"])
    rate = group["lr"] * group["share"]
    parts = [local(weight) for weight in weights]
    torch._foreach_addcdiv_(parts, first, sizes, value=-rate / (1 - slow**count))
