"""Adafactor as PEGASUS was trained with it.

PyTorch's own Adafactor is another one: its least statistic of a row is 1.2e-7 rather than 1e-30, which
changes every update whose gradients are small, it caps the rate by the step, and it fails on the sharded
tensors of FSDP2. The one here follows tensor2tensor 1.15 with the arguments of the authors. For a weight x
with gradient g, at the update that follows t others::

    d  = 1 - (t + 1)^-0.8
    matrix   r ← d r + (1 - d) mean(g² + 1e-30 | each row)        c: the same of each column
             u = g / sqrt(r / mean(r)) / sqrt(c)
    vector   v ← d v + (1 - d) (g² + 1e-30)
             u = g / sqrt(v)
    u ← u / max(1, RMS(u))
    x ← x - rate · max(RMS(x), 1e-3) · u       ("relative"; else x ← x - rate · u)

Weights of one shape are changed together, their gradients stacked. On a CPU one at a time, in the memory of
its gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

from pegasus.backends.torch.learning.alike import LARGE, alike, local
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import nn

#: State that belongs to a whole weight even where the weight's rows are spread over processes.
WHOLE = frozenset({"column", "step"})
#: Numbers of gradients that are squared at a time on a CPU; on a GPU they are ``LARGE``.
BLOCK = 2**20


class AuthorsAdafactor(torch.optim.Optimizer):
    """The authors' Adafactor. An update may overwrite the gradients, which saves a copy of the largest.

    Weights may be spread by rows over processes (FSDP2); sums over rows are then taken over all of them.
    Statistics are kept in float32 whatever the weights are.

    Args:
        params: what learns.
        lr: the rate; set ``group["lr"]`` before each step to follow a schedule.
        relative: whether a step is relative to the root mean square of the weight.
        weight_decay: the share of a matrix, times the rate, that is taken off it at each step.
        together: so many numbers of weights of one shape are changed at once; see ``alike``. It changes the
            order of additions at most.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        relative: bool = True,
        weight_decay: float = 0.0,
        together: int | None = None,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "relative": relative, "weight_decay": weight_decay, "updates": 0}
        )
        self.together = together

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every weight that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for some in alike(weights, self.together):
                self._update(_Stack(some), [self.state[weight] for weight in some], group)
            group["updates"] += 1
        return loss

    def _update(self, weights: _Stack, states: list[dict[str, Any]], group: dict[str, Any]) -> None:
        keep = 1.0 - (group["updates"] + 1.0) ** -0.8
        update = self._direction(weights, states, keep)
        rate = group["lr"] / weights.mean_square(update).sqrt_().clamp_(min=1.0)
        if group["relative"]:
            rate = rate * weights.mean_square(weights.values()).sqrt_().clamp_(min=1e-3)
        if group["weight_decay"] and update.dim() > 2:
            torch._foreach_mul_(weights.local, 1 - group["lr"] * group["weight_decay"])
        update.mul_(rate.view(-1, *[1] * (update.dim() - 1)))
        torch._foreach_sub_(weights.local, list(update))

    def _direction(self, weights: _Stack, states: list[dict[str, Any]], keep: float) -> Tensor:
        """The gradients over the roots of their statistics, in the memory of the stack."""
        gradients = weights.gradients
        if gradients.dim() < 3:
            full = self._blend(weights, states, "full", gradients.square().add_(1e-30), keep)
            return gradients.mul_(full.rsqrt())
        row_mean, column_mean = weights.mean_squares()
        row = self._blend(weights, states, "row", row_mean, keep)
        column = self._blend(weights, states, "column", column_mean, keep)
        scale = (row / weights.row_mean(row)).rsqrt_()
        return gradients.mul_(scale.unsqueeze(-1)).mul_(column.rsqrt().unsqueeze(-2))

    def _blend(
        self, weights: _Stack, states: list[dict[str, Any]], key: str, new: Tensor, keep: float
    ) -> Tensor:
        """Move running means towards new values, and give this process's parts of them, stacked."""
        for state, fresh in zip(states, new):
            if key not in state:
                zeros = torch.zeros_like(fresh)
                state[key] = zeros if key in WHOLE else weights.spread(zeros)
        kept = [local(state[key]) for state in states]
        torch._foreach_mul_(kept, keep)
        torch._foreach_add_(kept, list(new), alpha=1 - keep)
        return kept[0].unsqueeze(0) if len(kept) == 1 else torch.stack(kept)


class _Stack:
    """Weights of one shape as this process holds them: all rows, or some, with sums over all processes.

    Attributes:
        local: the weights' parts.
        gradients: theirs in float32, stacked. Of one weight it is the memory of its gradient.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        first = weights[0]
        self.whole = first.shape
        self.mesh = first.device_mesh if isinstance(first, DTensor) else None
        for weight in weights:
            if isinstance(weight, DTensor) and weight.placements != (Shard(0),):
                raise BadSetting(f"Adafactor needs weights spread by rows; found {weight.placements}")
        self.local = [local(weight) for weight in weights]
        gradients = [local(weight.grad) for weight in weights if weight.grad is not None]
        self.gradients = _stacked(gradients).float()
        self.block = BLOCK if self.gradients.device.type == "cpu" else LARGE

    def values(self) -> Tensor:
        """The weights in float32, stacked."""
        return _stacked(self.local).float()

    def _total(self, part: Tensor) -> Tensor:
        if self.mesh is not None:
            torch.distributed.all_reduce(part, group=self.mesh.get_group())
        return part

    def mean_square(self, values: Tensor) -> Tensor:
        """Of tensors that are spread as the weights are, one number each."""
        if len(values) == 1:
            norms = torch.linalg.vector_norm(values).view(1)  # the fastest, of all numbers there are
        else:
            norms = torch.linalg.vector_norm(values.reshape(len(values), -1), dim=1)
        return self._total(norms.square()) / self.whole.numel()

    def mean_squares(self) -> tuple[Tensor, Tensor]:
        """Of the gradients: over the last axis, and over the second to last.

        Some rows at a time: the squares of the largest gradient would be the most memory of an update.
        """
        gradients = self.gradients
        if gradients.dim() > 3:
            square = gradients.square().add_(1e-30)
            return square.mean(-1), square.mean(-2)
        count, _, columns = gradients.shape
        rows, column = [], gradients.new_zeros(count, columns)
        for block in gradients.split(max(1, self.block // (count * columns)), dim=1):
            square = block.square().add_(1e-30)
            rows.append(square.mean(-1))
            column += square.sum(1)
        # Only of a matrix is the second to last axis the one that is spread.
        return torch.cat(rows, dim=1), self._total(column) / self.whole[0]

    def row_mean(self, row: Tensor) -> Tensor:
        """The mean of the rows' statistics, one number for a matrix."""
        if row.dim() > 2:
            return row.mean(-1, keepdim=True)
        return self._total(row.sum(-1, keepdim=True)) / self.whole[0]

    def spread(self, part: Tensor) -> Tensor:
        """A tensor whose first axis is these weights', marked as spread where they are."""
        if self.mesh is None:
            return part
        shape = torch.Size((self.whole[0], *part.shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(part, self.mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape as one, without a copy where there is only one."""
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(tuple(tensors))
