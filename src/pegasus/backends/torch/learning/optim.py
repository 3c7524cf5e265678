"""The optimizers: Adafactor as PEGASUS was trained with it, AdamW, and the way to Muon.

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
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard

from pegasus.backends.torch.learning.muon import Muon
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pegasus.backends.contract.learning import OptimSettings

#: State that belongs to a whole weight even where the weight's rows are spread over processes.
WHOLE = frozenset({"column", "step"})
#: Numbers of a gradient that are squared at a time.
BLOCK = 2**20


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: OptimSettings, tables: Collection[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The optimizer that the settings name.

    Args:
        parameters: the weights; those that are frozen are left out.
        settings: which optimizer, and how fast.
        tables: those of the weights whose rows are looked up, the embeddings. Muon is not for them.

    Raises:
        BadSetting: there is none of that name, or the settings contradict each other.
    """
    chosen = [parameter for parameter in parameters if parameter.requires_grad]
    if not chosen:
        raise BadSetting("nothing is left to learn: every parameter is frozen, thaw a part of the model")
    if settings.name == "adafactor":
        if settings.weight_decay:
            raise BadSetting(
                f"weight_decay is {settings.weight_decay}, and the authors' Adafactor has none: set it to "
                "0, or take adamw or adafactor-absolute"
            )
        return AuthorsAdafactor(chosen, settings.rate)
    if settings.name == "adafactor-absolute":
        return AuthorsAdafactor(chosen, settings.rate, relative=False, weight_decay=settings.weight_decay)
    if settings.name == "adamw":
        decayed = {"params": [p for p in chosen if p.dim() > 1], "weight_decay": settings.weight_decay}
        plain = {"params": [p for p in chosen if p.dim() <= 1], "weight_decay": 0.0}
        groups = [group for group in (decayed, plain) if group["params"]]
        return torch.optim.AdamW(
            groups, lr=settings.rate, betas=settings.betas or (0.9, 0.999), eps=settings.eps
        )
    if settings.name == "muon":
        return _muon(chosen, settings, {id(table) for table in tables})
    raise BadSetting(
        f"unknown optimizer {settings.name!r}: use adafactor, adafactor-absolute, adamw or muon"
    )


def _muon(chosen: list[nn.Parameter], settings: OptimSettings, tables: Collection[int]) -> Muon:
    inner = [parameter.dim() == 2 and id(parameter) not in tables for parameter in chosen]
    return Muon(
        [parameter for parameter, matrix in zip(chosen, inner) if matrix],
        [parameter for parameter, matrix in zip(chosen, inner) if not matrix],
        settings.rate,
        0.15 * settings.rate if settings.others_rate is None else settings.others_rate,
        settings.weight_decay,
        settings.betas or (0.9, 0.98),
        settings.eps,
    )


class AuthorsAdafactor(torch.optim.Optimizer):
    """The authors' Adafactor. An update overwrites the gradients, which saves a copy of the largest.

    Weights may be spread by rows over processes (FSDP2); sums over rows are then taken over all of them.
    Statistics are kept in float32 whatever the weights are.

    Args:
        params: what learns.
        lr: the rate; set ``group["lr"]`` before each step to follow a schedule.
        relative: whether a step is relative to the root mean square of the weight.
        weight_decay: the share of a matrix, times the rate, that is taken off it at each step.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, relative: bool = True, weight_decay: float = 0.0
    ) -> None:
        super().__init__(
            params, {"lr": lr, "relative": relative, "weight_decay": weight_decay, "updates": 0}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every weight that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(_Rows(weight), self.state[weight], group)
            group["updates"] += 1
        return loss

    def _update(self, weight: _Rows, state: dict[str, Any], group: dict[str, Any]) -> None:
        keep = 1.0 - (group["updates"] + 1.0) ** -0.8
        update = self._direction(weight, state, keep)
        size = weight.mean_square(update).sqrt_()
        rate = group["lr"] / size.clamp_(min=1.0)
        if group["relative"]:
            rate = rate * weight.mean_square(weight.local.float()).sqrt_().clamp_(min=1e-3)
        if group["weight_decay"] and weight.local.dim() > 1:
            weight.local.mul_(1 - group["lr"] * group["weight_decay"])
        weight.local.sub_(update.mul_(rate))

    def _direction(self, weight: _Rows, state: dict[str, Any], keep: float) -> Tensor:
        """The gradient over the root of its statistics, in the gradient's memory where that is float32."""
        gradient = weight.gradient
        if gradient.dim() < 2:
            full = self._blend(weight, state, "full", gradient.square().add_(1e-30), keep)
            return gradient.mul_(full.rsqrt())
        row_mean, column_mean = weight.mean_squares()
        row = self._blend(weight, state, "row", row_mean, keep)
        column = self._blend(weight, state, "column", column_mean, keep)
        scale = (row / weight.row_mean(row)).rsqrt_()
        return gradient.mul_(scale.unsqueeze(-1)).mul_(column.rsqrt().unsqueeze(-2))

    def _blend(self, weight: _Rows, state: dict[str, Any], key: str, new: Tensor, keep: float) -> Tensor:
        """Move a running mean towards a new value, and give this process's part of it."""
        if key not in state:
            fresh = torch.zeros_like(new)
            state[key] = fresh if key in WHOLE else weight.spread(fresh)
        kept = state[key]
        part: Tensor = kept.to_local() if isinstance(kept, DTensor) else kept
        return part.mul_(keep).add_(new, alpha=1 - keep)


class _Rows:
    """A weight as this process holds it: all of it, or some of its rows, with sums over all processes."""

    def __init__(self, weight: Tensor) -> None:
        self.whole = weight
        self.mesh = weight.device_mesh if isinstance(weight, DTensor) else None
        if isinstance(weight, DTensor) and weight.placements != (Shard(0),):
            raise BadSetting(f"Adafactor needs weights spread by rows; found {weight.placements}")
        self.local: Tensor = weight.to_local() if isinstance(weight, DTensor) else weight
        gradient = weight.grad.to_local() if isinstance(weight.grad, DTensor) else weight.grad
        self.gradient: Tensor = gradient.float()  # type: ignore[union-attr]

    def _total(self, part: Tensor) -> Tensor:
        if self.mesh is not None:
            torch.distributed.all_reduce(part, group=self.mesh.get_group())
        return part

    def mean_square(self, values: Tensor) -> Tensor:
        """Of a tensor that is spread as the weight is."""
        return self._total(torch.linalg.vector_norm(values).square()) / self.whole.numel()

    def mean_squares(self) -> tuple[Tensor, Tensor]:
        """Of the gradient: over the last axis, and over the second to last.

        Some rows at a time: the squares of the largest gradient would be the most memory of an update.
        """
        gradient = self.gradient
        if gradient.dim() > 2:
            square = gradient.square().add_(1e-30)
            return square.mean(-1), square.mean(-2)
        rows, column = [], gradient.new_zeros(gradient.shape[1])
        for block in gradient.split(max(1, BLOCK // gradient.shape[1])):
            square = block.square().add_(1e-30)
            rows.append(square.mean(-1))
            column += square.sum(0)
        # Only of a matrix is the second to last axis the one that is spread.
        return torch.cat(rows), self._total(column) / self.whole.shape[0]

    def row_mean(self, row: Tensor) -> Tensor:
        """The mean of the rows' statistics, one number for a matrix."""
        if row.dim() > 1:
            return row.mean(-1, keepdim=True)
        return self._total(row.sum()) / self.whole.shape[0]

    def spread(self, part: Tensor) -> Tensor:
        """A tensor whose first axis is this weight's, marked as spread where the weight is."""
        if self.mesh is None:
            return part
        shape = torch.Size((self.whole.shape[0], *part.shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(part, self.mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)
