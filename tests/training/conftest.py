"""Tiny models, and runs of them in one process or several."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).resolve().parents[2]


class LargestTensor(TorchDispatchMode):
    """Watches how many numbers the largest tensor has that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return made


@pytest.fixture(scope="session")
def largest_tensor() -> type[LargestTensor]:
    """The class of the watcher."""
    return LargestTensor


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module with the tiny model and its batches."""
    spec = importlib.util.spec_from_file_location("training_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def launch() -> Any:
    """Carries out launches of worker.py one after another, and tells which ended well."""

    def run_job(*launches: dict[str, Any]) -> list[bool]:
        ran = subprocess.run(
            [sys.executable, str(WORKER), json.dumps(launches, default=str)],
            capture_output=True, text=True, timeout=600, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr[-3000:]
        results = json.loads(ran.stdout.splitlines()[-1])
        for each, good in zip(launches, results):
            if not good and "die_at" not in each and "die_saving" not in each:
                raise AssertionError(f"{each} failed: {ran.stderr[-3000:]}")
        return results

    return run_job
