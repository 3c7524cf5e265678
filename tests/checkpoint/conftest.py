"""A model of NumPy arrays that loads and saves, and a folder that holds one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegasus.checkpoint.pretrained import PretrainedMixin
from pegasus.checkpoint.raw import RawTensor
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import parameters

TINY = {
    "vocab_size": 30,
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 10,
}


class ArrayModel(PretrainedMixin):
    """The hooks of a backend, over a dictionary; ``filled`` says what ``_fill_absent`` was asked for."""

    kind = "conditional"

    def __init__(self, config: PegasusConfig, dtype: str | None = "float32") -> None:
        self.config = config
        self.dtype = dtype
        self.weights: dict[str, np.ndarray] = {}
        self.filled: list[str] = []
        self.finished = False

    @classmethod
    def random(cls, seed: int = 0, **fields: Any) -> ArrayModel:
        model = cls(PegasusConfig(**{**TINY, **fields}))
        generator = np.random.default_rng(seed)
        for name, leaf in parameters(model.config, cls.kind).items():
            model.weights[name] = generator.standard_normal(leaf.shape, np.float32)
        return model

    @classmethod
    def _blank(cls, config: PegasusConfig, dtype: str | None) -> ArrayModel:
        return cls(config, dtype)

    def _accept(self, arrays: Iterable[tuple[str, RawTensor]]) -> None:
        for name, raw in arrays:
            assert name not in self.weights
            self.weights[name] = np.array(
                raw.array(), self.dtype if self.dtype != "bfloat16" else "float32"
            )

    def _fill_absent(self, names: Sequence[str]) -> None:
        self.filled = list(names)
        leaves = parameters(self.config, self.kind)
        self.weights.update({name: np.zeros(leaves[name].shape, np.float32) for name in names})

    def _finish(self) -> ArrayModel:
        self.finished = True
        return self

    def _arrays(self, state_dict: Mapping[str, Any] | None = None) -> Iterator[tuple[str, RawTensor]]:
        for name, array in (self.weights if state_dict is None else state_dict).items():
            if not name.endswith("embed_positions.weight"):
                yield name, RawTensor.from_array(array)


class BareArrayModel(ArrayModel):
    kind = "bare"


class CausalArrayModel(ArrayModel):
    kind = "causal"


@pytest.fixture
def models() -> dict[str, type[ArrayModel]]:
    return {"bare": BareArrayModel, "conditional": ArrayModel, "causal": CausalArrayModel}


@pytest.fixture
def model() -> ArrayModel:
    return ArrayModel.random()


@pytest.fixture
def folder(model: ArrayModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"
