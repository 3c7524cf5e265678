"""Learning rates over time, under the names of transformers, as PyTorch's schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from pegasus.errors import BadSetting

Factor = Callable[[int], float]


def get_constant_schedule(optimizer: Optimizer, last_epoch: int = -1) -> LambdaLR:
    """The optimizer's own rate, always."""
    return LambdaLR(optimizer, lambda step: 1.0, last_epoch)


def get_constant_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Rises from 0, then stays."""
    return _warmed(optimizer, num_warmup_steps, lambda step: 1.0, last_epoch)


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int, last_epoch: int = -1
) -> LambdaLR:
    """Rises from 0, then falls to 0 in a straight line."""

    def factor(step: int) -> float:
        return max(0.0, 1.0 - _progress(step, num_warmup_steps, num_training_steps))

    return _warmed(optimizer, num_warmup_steps, factor, last_epoch)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    last_epoch: int = -1,
) -> LambdaLR:
    """Rises from 0, then follows ``num_cycles`` waves of a cosine: half a one falls to 0."""

    def factor(step: int) -> float:
        progress = _progress(step, num_warmup_steps, num_training_steps)
        return max(0.0, 0.5 * (1.0 + math.cos(2 * math.pi * num_cycles * progress)))

    return _warmed(optimizer, num_warmup_steps, factor, last_epoch)


def get_cosine_with_hard_restarts_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: int = 1,
    last_epoch: int = -1,
) -> LambdaLR:
    """Rises from 0, then falls to 0 along a cosine ``num_cycles`` times."""

    def factor(step: int) -> float:
        progress = _progress(step, num_warmup_steps, num_training_steps)
        return 0.0 if progress >= 1 else 0.5 * (1.0 + math.cos(math.pi * (num_cycles * progress % 1.0)))

    return _warmed(optimizer, num_warmup_steps, factor, last_epoch)


def get_polynomial_decay_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """Rises from 0, then falls to ``lr_end`` as a power of what is left.

    Raises:
        BadSetting: when the rate is not above ``lr_end``.
    """
    start = optimizer.defaults["lr"]
    if start <= lr_end:
        raise BadSetting(f"lr_end={lr_end} is not below the rate {start}. Use a smaller one.")

    def factor(step: int) -> float:
        left = max(0.0, 1.0 - _progress(step, num_warmup_steps, num_training_steps))
        return float((lr_end + (start - lr_end) * left**power) / start)

    return _warmed(optimizer, num_warmup_steps, factor, last_epoch)


def get_inverse_sqrt_schedule(
    optimizer: Optimizer, num_warmup_steps: int, timescale: int | None = None, last_epoch: int = -1
) -> LambdaLR:
    """Rises from 0, then falls with the root of the steps, ``timescale`` (the rise's length) as unit."""
    unit = timescale or num_warmup_steps or 10_000  # as in transformers 4.57; 4.34 divides by zero

    def factor(step: int) -> float:
        return 1.0 / math.sqrt((step + unit - num_warmup_steps) / unit)

    return _warmed(optimizer, num_warmup_steps, factor, last_epoch)


def get_scheduler(
    name: Any,
    optimizer: Optimizer,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    scheduler_specific_kwargs: dict[str, Any] | None = None,
) -> Any:
    """A scheduler by its name.

    Args:
        name: "linear", "cosine", "cosine_with_restarts", "polynomial", "constant",
            "constant_with_warmup", "inverse_sqrt" or "reduce_lr_on_plateau".
        optimizer: whose rate it sets.
        num_warmup_steps: how long it rises.
        num_training_steps: how many steps there are.
        scheduler_specific_kwargs: more keywords of that scheduler.

    Raises:
        BadSetting: for an unknown name, or a number of steps that is needed and missing.
    """
    word = str(getattr(name, "value", name))
    if word not in _BY_NAME:
        raise BadSetting(f"There is no schedule {word!r}. Use one of {', '.join(_BY_NAME)}.")
    make, needs = _BY_NAME[word]
    given = {"num_warmup_steps": num_warmup_steps, "num_training_steps": num_training_steps}
    for need in needs:
        if given[need] is None:
            raise BadSetting(f"The schedule {word!r} needs {need}.")
    return make(optimizer, **{need: given[need] for need in needs}, **(scheduler_specific_kwargs or {}))


_WARM, _STEPS = "num_warmup_steps", "num_training_steps"
_BY_NAME: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "linear": (get_linear_schedule_with_warmup, (_WARM, _STEPS)),
    "cosine": (get_cosine_schedule_with_warmup, (_WARM, _STEPS)),
    "cosine_with_restarts": (get_cosine_with_hard_restarts_schedule_with_warmup, (_WARM, _STEPS)),
    "polynomial": (get_polynomial_decay_schedule_with_warmup, (_WARM, _STEPS)),
    "constant": (get_constant_schedule, ()),
    "constant_with_warmup": (get_constant_schedule_with_warmup, (_WARM,)),
    "inverse_sqrt": (get_inverse_sqrt_schedule, (_WARM,)),
    "reduce_lr_on_plateau": (ReduceLROnPlateau, ()),
}


def _warmed(optimizer: Optimizer, warmup: int, after: Factor, last_epoch: int) -> LambdaLR:
    def factor(step: int) -> float:
        return step / max(1, warmup) if step < warmup else after(step)

    return LambdaLR(optimizer, factor, last_epoch)


def _progress(step: int, warmup: int, total: int) -> float:
    return (step - warmup) / max(1, total - warmup)
