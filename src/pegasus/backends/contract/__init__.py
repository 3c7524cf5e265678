"""All that a backend must offer, and the records that pass between it and the floors above."""

from pegasus.backends.contract.batch import IGNORED, PARTS, Batch, BatchStream
from pegasus.backends.contract.inference import Backend, InferenceModel
from pegasus.backends.contract.learning import (
    Engine,
    LearningBackend,
    LoraSettings,
    Measures,
    Objective,
    OptimSettings,
    Placement,
    Ranks,
)

__all__ = [
    "IGNORED",
    "PARTS",
    "Backend",
    "Batch",
    "BatchStream",
    "Engine",
    "InferenceModel",
    "LearningBackend",
    "LoraSettings",
    "Measures",
    "Objective",
    "OptimSettings",
    "Placement",
    "Ranks",
]
