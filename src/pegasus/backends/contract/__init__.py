"""All that a backend must offer, and the records that pass between it and the floors above."""

from pegasus.backends.contract.batch import BatchStream
from pegasus.backends.contract.inference import Backend, InferenceModel
from pegasus.backends.contract.learning import (
    DistillationSettings,
    Engine,
    LearningBackend,
    LoraSettings,
    Measures,
    Objective,
    OptimSettings,
    Placement,
    Ranks,
)
from pegasus.spec.batch import IGNORED, PARTS, Batch

__all__ = [
    "IGNORED",
    "PARTS",
    "Backend",
    "Batch",
    "BatchStream",
    "DistillationSettings",
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
