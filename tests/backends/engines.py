"""Engines of any backend on one small model, and batches for them; ``conftest.py`` makes it importable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pegasus import PegasusConfig, PegasusForConditionalGeneration
from pegasus.backends import load_learning_backend
from pegasus.backends.contract.learning import Objective, OptimSettings, Placement

VOCABULARY = 61


def config(**fields: Any) -> PegasusConfig:
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    sizes |= dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    sizes |= dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 24)
    usual = {
        "vocab_size": VOCABULARY,
        "d_model": 16,
        "max_position_embeddings": 32,
        "scale_embedding": True,
    }
    usual |= {"activation_function": "relu", "dropout": 0.0, "init_std": 0.1}
    return PegasusConfig(**{**sizes, **usual, **fields})


def batch(seed: int, rows: int = 4) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    ids = chance.integers(4, VOCABULARY, (rows, 11)).astype(np.int32)
    labels = chance.integers(4, VOCABULARY, (rows, 6)).astype(np.int32)
    mask = np.ones_like(ids)
    for row in range(rows):
        length, kept = chance.integers(4, 12), chance.integers(1, 7)
        ids[row, length:], mask[row, length:], labels[row, kept:] = 0, 0, -100
    hidden = (chance.random(ids.shape) < 0.3) & (mask > 0)
    found = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {**found, "mlm_labels": np.where(hidden, ids, -100).astype(np.int32)}


def engine(
    name: str, start: Path, optim: dict[str, Any], objective: dict[str, Any], **placement: Any
) -> Any:
    backend = load_learning_backend(name)
    place = Placement(**{"device": "cpu", **placement})
    fields = dict(objective.pop("fields", {}))
    model = backend.models["conditional"].from_pretrained(start, **fields)
    settings = {"rate": 1e-2, "schedule": "constant", "warmup_steps": 0, **optim}
    return backend.engine(
        model, OptimSettings(**settings), Objective(**objective), place, backend.join(place)
    )


def exported(engine: Any, folder: Path) -> dict[str, torch.Tensor]:
    engine.export(folder)
    return PegasusForConditionalGeneration.from_pretrained(folder).state_dict()
