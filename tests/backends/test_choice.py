"""Which backend is opened: by its name, by the device, and what does not go together."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pegasus import PegasusForConditionalGeneration, Summarizer
from pegasus.backends import BACKENDS, backend_names, load_backend, load_learning_backend
from pegasus.backends.choose import open_model
from pegasus.backends.packed.model import PackedModel
from pegasus.cli import app
from pegasus.errors import BackendMissing, BadSetting

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MODEL = GOLDEN / "generation-model"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that makes a package with a backend appear installed; the import path is put back."""

    def install(name: str, value: str) -> None:
        folder = tmp_path / f"{name}_backend-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-backend\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[pegasus.backends]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


@pytest.mark.parametrize(
    ("name", "kind"), [("torch", PegasusForConditionalGeneration), ("packed", PackedModel)]
)
def test_a_named_backend_opens_the_model(name, kind):
    assert isinstance(open_model(MODEL, backend=name, device="cpu", threads=1), kind)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_row_fulfils_the_contract(name):
    pytest.importorskip(BACKENDS[name].needs)
    backend = load_backend(name)
    assert set(backend.models) <= {"bare", "conditional", "causal"}
    assert isinstance(backend.best_device(), str)
    assert callable(backend.open_model)


def test_an_unknown_backend_is_told_with_those_that_there_are(capsys):
    with pytest.raises(BadSetting, match="unknown backend 'toch': choose one of packed, torch"):
        open_model(MODEL, backend="toch")
    assert app.main(["summarize", "--backend", "toch", str(MODEL / "none.txt")]) == 2
    assert "unknown backend" in capsys.readouterr().err


def test_a_packed_folder_belongs_to_packed(tmp_path):
    open_model(MODEL, backend="packed", device="cpu", threads=1).save_packed(tmp_path)
    assert isinstance(open_model(tmp_path, threads=1), PackedModel)
    with pytest.raises(BadSetting, match="the torch backend reads checkpoints"):
        open_model(tmp_path, backend="torch")


def test_packed_is_for_a_cpu_and_int8_is_not_for_modules():
    with pytest.raises(BadSetting, match="packed for a CPU"):
        open_model(MODEL, backend="packed", device="cuda")
    with pytest.raises(BadSetting, match="dtype 'int8'"):
        open_model(MODEL, backend="torch", device="cpu", dtype="int8")


def test_a_backend_that_only_infers_does_not_train():
    with pytest.raises(BadSetting, match="the packed backend only infers"):
        load_learning_backend("packed")


def test_a_framework_that_is_missing_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendMissing, match="needs torch, which is not installed: pip install torch"):
        load_backend("torch")


def test_another_package_adds_a_backend(installed, monkeypatch):
    opened = []
    backend = SimpleNamespace(open_model=lambda folder, **options: opened.append(options) or "a model")
    monkeypatch.setitem(sys.modules, "elsewhere", SimpleNamespace(backend=backend))
    installed("elsewhere", "elsewhere:backend")
    assert backend_names() == [*BACKENDS, "elsewhere"]
    assert open_model(MODEL, backend="elsewhere", dtype="int8") == "a model"
    assert opened == [{"device": "auto", "dtype": "int8", "threads": None}]
    with pytest.raises(BadSetting, match="only infers"):
        load_learning_backend("elsewhere")


def test_a_backend_that_cannot_be_imported_is_told(installed):
    installed("broken", "no_such_module_anywhere")
    with pytest.raises(
        BackendMissing, match=r"broken backend \(no_such_module_anywhere\) cannot be imported"
    ):
        load_backend("broken")


def test_the_summarizer_takes_a_backend():
    text = "The council met on Monday. It voted to build a bridge. The bridge will cost nine million."
    found = {
        name: Summarizer.from_pretrained("pegasus-mini", backend=name, device="cpu", threads=1)
        for name in ("torch", "packed")
    }
    assert isinstance(found["torch"].writer.model, PegasusForConditionalGeneration)
    assert found["torch"](text).text == found["packed"](text).text
