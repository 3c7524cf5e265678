"""PyTorch as training sees it: the models, the processes, the engine."""

from __future__ import annotations

from typing import Any

import torch

from pegasus.backends.contract import Engine, Objective, OptimSettings, Placement, Ranks
from pegasus.backends.torch import ranks as processes
from pegasus.backends.torch.engine import TorchEngine
from pegasus.backends.torch.initial import draw_as_authors
from pegasus.backends.torch.model import PegasusForCausalLM, PegasusForConditionalGeneration, PegasusModel
from pegasus.spec.config import PegasusConfig

models: dict[str, type] = {
    "bare": PegasusModel,
    "conditional": PegasusForConditionalGeneration,
    "causal": PegasusForCausalLM,
}


def fresh(kind: str, config: PegasusConfig, initial: str, seed: int) -> Any:
    """A model with weights of its own: drawn as the "authors" or as "transformers"."""
    torch.manual_seed(seed)
    model = models[kind](config)
    if initial == "authors":
        draw_as_authors(model)
    return model


def join(placement: Placement) -> Ranks:
    """The processes that ``torchrun`` started, or this one alone."""
    return processes.join(placement)


def engine(
    model: Any, optim: OptimSettings, objective: Objective, placement: Placement, ranks: Ranks
) -> Engine:
    """An engine that teaches this model."""
    return TorchEngine(model, optim, objective, placement, ranks)
