"""TF models of the golden weights, each loaded once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


class Recorded:
    """One configuration of the golden files: what PyTorch and TF classes of transformers answered."""

    def __init__(self, name: str, folder: Path) -> None:
        from pegasus import PegasusConfig

        record = json.loads((GOLDEN / f"model-{name}.json").read_text())
        self.name, self.folder, self.calls = name, folder, record["calls"]
        self.config = PegasusConfig(**record["config"])
        self.config.save_pretrained(folder)
        (folder / "model.safetensors").write_bytes((GOLDEN / f"model-{name}.safetensors").read_bytes())
        self.torch = load_file(GOLDEN / f"model-{name}.expected.safetensors")
        own = GOLDEN / f"tf-{name}.expected.safetensors"
        self.tf = load_file(own) if own.is_file() else {}
        self._models: dict[str, Any] = {}

    def model(self, kind: str) -> Any:
        from pegasus import TFPegasusForConditionalGeneration, TFPegasusModel

        if kind not in self._models:
            cls = {"bare": TFPegasusModel, "conditional": TFPegasusForConditionalGeneration}[kind]
            self._models[kind] = cls.from_pretrained(self.folder)
        return self._models[kind]

    def input(self, name: str) -> np.ndarray:
        return self.torch[f"input/{name}"]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recorded]:
    """A function from the name of a configuration to what was recorded of it."""
    known: dict[str, Recorded] = {}

    def find(name: str) -> Recorded:
        if name not in known:
            known[name] = Recorded(name, tmp_path_factory.mktemp(name))
        return known[name]

    return find


@pytest.fixture(scope="session")
def small() -> Any:
    """The model that the golden files of generation were made with."""
    from pegasus import TFPegasusForConditionalGeneration

    return TFPegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


@pytest.fixture(scope="session")
def close() -> Any:
    """Compares two arrays to 1e-5, absolutely and relatively."""

    def check(found: Any, expected: Any, what: str = "", tolerance: float = 1e-5) -> None:
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.shape == expected.shape, f"{what}: {found.shape}, expected {expected.shape}"
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance, err_msg=what)

    return check
