"""How the learning rate changes over a run: pure functions of the step, the same on every backend.

======================  ==========================================================================
"authors"               from a checkpoint: ``min(b (s + 1) / W, (b / 0.01) / sqrt(max(s, 10000)))``
"authors-scratch"       without one: ``(b / 0.01) / sqrt(max(s, 10000))``, so constant until step 10,000
"constant"              a ramp over W steps, then b
"linear"                a ramp, then a straight line to 0 at the last step
"cosine"                a ramp, then half a cosine to 0 at the last step
======================  ==========================================================================

"linear" and "cosine" fall in the last share ``decay`` of the run. Where the run has a deadline, they are
as far as the clock or the steps, whichever is further.

b is the base rate, s the number of updates done before this one, W the warm-up. The first two are those of
the authors' ``estimator_utils.py``; note that their warm-up of 10,000 steps is longer than some of their
fine-tunings, which never see the base rate.
"""

from __future__ import annotations

import math

from pegasus.backends.contract.learning import OptimSettings
from pegasus.errors import BadSetting


def learning_rate(optim: OptimSettings, step: int, progress: float = 0.0) -> float:
    """The rate of the update that follows ``step`` earlier ones.

    Args:
        optim: the schedule.
        step: updates done.
        progress: the share of the run's time that is gone, where it has a deadline.

    Raises:
        BadSetting: an unknown schedule, or one that needs the number of steps and has none.
    """
    base, ramp = optim.rate, min(1.0, (step + 1) / max(1, optim.warmup_steps))
    match optim.schedule:
        case "authors":
            return min(base * ramp if optim.warmup_steps else base, _root(base, step))
        case "authors-scratch":
            return _root(base, step)
        case "constant":
            return base * ramp
        case "linear":
            return base * min(ramp, 1 - _fallen(optim, step, progress))
        case "cosine":
            return base * min(ramp, 0.5 * (1 + math.cos(math.pi * _fallen(optim, step, progress))))
    raise BadSetting(
        f"unknown schedule {optim.schedule!r}: use authors, authors-scratch, constant, linear or cosine"
    )


def _root(base: float, step: int) -> float:
    return base / 0.01 / math.sqrt(max(step, 10_000))


def _fallen(optim: OptimSettings, step: int, progress: float) -> float:
    """How far a schedule has fallen: 0 until the last share of the run begins, 1 at its end."""
    done = max(_done(optim, step), min(1.0, progress))
    return max(0.0, (done - (1 - optim.decay)) / optim.decay)


def _done(optim: OptimSettings, step: int) -> float:
    """The share of the steps after the warm-up that is done."""
    if optim.steps <= 0:
        raise BadSetting(
            f"the schedule {optim.schedule!r} needs the number of steps of the run; it has none"
        )
    span = max(1, optim.steps - optim.warmup_steps)
    return min(1.0, max(0.0, (step - optim.warmup_steps) / span))
