"""A small model of transformers, and the same exported, once for all tests."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from pegasus import PegasusConfig
from pegasus.cli.app import main

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with biases in its attentions, and other numbers of layers and heads on each side."""
    folder = tmp_path_factory.mktemp("plain")
    fields = json.loads((GOLDEN / "model-odd.json").read_text())["config"]
    PegasusConfig(**fields).save_pretrained(folder)
    shutil.copyfile(GOLDEN / "model-odd.safetensors", folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session", params=["recorded", pytest.param("fresh", marks=pytest.mark.slow)])
def exported(request, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As an earlier export left it; exporting takes PyTorch half a minute."""
    if request.param == "recorded":
        pytest.importorskip("onnxruntime")
        return GOLDEN / "onnx-model"
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    assert main(["export", str(plain), "--to", "onnx", "--output", str(folder), "-q"]) == 0
    return folder
