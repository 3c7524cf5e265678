"""One conformance suite for every room of ``pegasus.backends`` whose framework is installed.

A room joins by one row in ``ROOMS`` and a small class that says how its framework spells four things:
an array made native, an array made NumPy, a loss with gradients, and the weights under canonical names.
Everything else in this folder speaks of ``room`` and never of a framework.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import pegasus
from pegasus import PegasusConfig, PegasusForConditionalGeneration


def _importable(name: str, file: str) -> Any:
    """Load a file beside the tests, which are no package, so that they can import it by this name."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


engines = _importable("engines_of_tests", "engines.py")
_importable("conformance_table", "conformance/table.py")
GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ("relu", "gelu", "odd")
KINDS = {
    "bare": "PegasusModel",
    "conditional": "PegasusForConditionalGeneration",
    "causal": "PegasusForCausalLM",
}


class TorchRoom:
    """How PyTorch spells what the suite needs."""

    prefix = ""
    #: Models which this room offers.
    kinds = tuple(KINDS)

    def native(self, array: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(array))

    def numpy(self, array: Any) -> np.ndarray:
        return array.detach().cpu().numpy()

    def call(self, model: Any, /, **arguments: Any) -> Any:
        import torch

        with torch.no_grad():
            return model(**arguments)

    def gradients(self, model: Any, **arguments: Any) -> tuple[Any, dict[str, np.ndarray]]:
        model.zero_grad()
        output = model(**arguments)
        output.loss.backward()
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return output, {name: self.numpy(value).copy() for name, value in found.items()}

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        """Every stored parameter and buffer once, without tied copies."""
        both = [*model.named_parameters(), *model.named_buffers()]
        return {name: self.numpy(tensor).copy() for name, tensor in both}

    def set_weights(self, model: Any, change: Any) -> None:
        """Replace each parameter by what ``change(name, array)`` returns."""
        import torch

        with torch.no_grad():
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
                tensor.copy_(self.native(change(name, self.numpy(tensor).copy())))


#: framework → its room. A new backend is one row here.
ROOMS: dict[str, type] = {"torch": TorchRoom}
INSTALLED = [name for name in ROOMS if importlib.util.find_spec(name)]


def flat(prefix: str, value: Any, room: Any) -> dict[str, np.ndarray]:
    """Nested tuples of arrays as "prefix/0/1" → NumPy array."""
    if isinstance(value, tuple | list):
        return {k: a for i, one in enumerate(value) for k, a in flat(f"{prefix}/{i}", one, room).items()}
    return {prefix: room.numpy(value)}


class Golden:
    """One configuration of ``tests/golden``: weights, inputs and what transformers 4.34.0 answered."""

    def __init__(self, name: str) -> None:
        record = json.loads((GOLDEN / f"model-{name}.json").read_text())
        self.name = name
        self.calls: dict[str, Any] = record["calls"]
        self.fields: dict[str, Any] = record["config"]
        self.expected = load_file(GOLDEN / f"model-{name}.expected.safetensors")
        self.weights_file = GOLDEN / f"model-{name}.safetensors"
        self.weights = load_file(self.weights_file)

    def config(self, **fields: Any) -> PegasusConfig:
        return PegasusConfig(**{**self.fields, **fields})

    def write(self, folder: Path) -> Path:
        """A checkpoint folder, as the hub has it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config().save_pretrained(folder)
        shutil.copyfile(self.weights_file, folder / "model.safetensors")
        return folder

    def input(self, name: str) -> np.ndarray:
        return self.expected[f"input/{name}"]

    def answers(self, call: str) -> dict[str, np.ndarray]:
        """What this call returned: "FIELD/INDEX" → array."""
        start = f"{call}/"
        return {
            key.removeprefix(start): value for key, value in self.expected.items() if key.startswith(start)
        }


@pytest.fixture(scope="session", params=INSTALLED)
def room(request: pytest.FixtureRequest) -> Any:
    """Each installed framework in turn."""
    return ROOMS[request.param]()


@pytest.fixture(scope="session", params=NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    """Each configuration of the golden files in turn."""
    return Golden(request.param)


@pytest.fixture(scope="session")
def relu() -> Golden:
    """The configuration most like the published checkpoints, where one is enough."""
    return Golden("relu")


class Models:
    """Fresh models of the golden weights; every call loads a new one, so tests may change them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, golden: Golden) -> Path:
        place = self.folder / golden.name
        return place if (place / "config.json").is_file() else golden.write(place)

    def __call__(self, room: Any, golden: Golden, kind: str = "conditional", **fields: Any) -> Any:
        cls = getattr(pegasus, room.prefix + KINDS[kind])
        return cls.from_pretrained(self.place(golden), **fields)

    def fresh(self, room: Any, kind: str, config: PegasusConfig) -> Any:
        """A model with its own random weights."""
        return getattr(pegasus, room.prefix + KINDS[kind])(config).eval()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Makes models of golden weights."""
    return Models(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="session")
def flatten() -> Any:
    """Turns an output record into {"FIELD/INDEX": NumPy array}."""

    def fields(output: Any, room: Any) -> dict[str, np.ndarray]:
        return {key: a for field, value in output.items() for key, a in flat(field, value, room).items()}

    return fields


@pytest.fixture(scope="session")
def close() -> Any:
    """Compares two arrays to 1e-5, absolutely and relatively."""

    def check(found: np.ndarray, expected: np.ndarray, what: str = "", tolerance: float = 1e-5) -> None:
        assert found.shape == expected.shape, f"{what}: {found.shape}, expected {expected.shape}"
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance, err_msg=what)

    return check


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights that every engine begins with."""
    import torch

    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(3)
    PegasusForConditionalGeneration(engines.config()).save_pretrained(folder)
    return folder
