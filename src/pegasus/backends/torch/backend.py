"""PyTorch as training sees it: the models, the processes, the engine."""

from __future__ import annotations

from typing import Any

from pegasus.backends.contract import Engine, Objective, OptimSettings, Placement, Ranks
from pegasus.backends.torch import ranks as processes
from pegasus.backends.torch.engine import TorchEngine
from pegasus.backends.torch.model import PegasusForCausalLM, PegasusForConditionalGeneration, PegasusModel

models: dict[str, type] = {
    "bare": PegasusModel,
    "conditional": PegasusForConditionalGeneration,
    "causal": PegasusForCausalLM,
}


def join(placement: Placement) -> Ranks:
    """The processes that ``torchrun`` started, or this one alone."""
    return processes.join(placement)


def engine(
    model: Any, optim: OptimSettings, objective: Objective, placement: Placement, ranks: Ranks
) -> Engine:
    """An engine that teaches this model."""
    return TorchEngine(model, optim, objective, placement, ranks)
