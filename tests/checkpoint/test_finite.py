"""Weights that are no numbers: named when they are read, or when an answer was none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pegasus.backends.packed.opening import open_weights
from pegasus.checkpoint.finite import check_weights, refuse_not_finite
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import write_checkpoint
from pegasus.cli.app import main
from pegasus.errors import CheckpointCorrupt, PegasusError
from pegasus.hub import locate
from pegasus.summarizer import Summarizer

BUNDLED = locate("pegasus-mini")
TEXT = "The mayor said that no new houses will be built near the old river this year."


@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("place", [0, 70_001, 299_999])
def test_every_kind_of_no_number_is_found(wrong, dtype, place):
    values = np.linspace(-1000, 1000, 300_000).astype("float32" if dtype == "bfloat16" else dtype)
    values[[5, 6, 7]] = [np.finfo(values.dtype).max, np.finfo(values.dtype).min, -0.0]
    refuse_not_finite("w", _raw(values, dtype), every=1)
    values[place] = wrong
    with pytest.raises(CheckpointCorrupt, match=r"1 of the 300,000 numbers of w are NaN or infinite"):
        refuse_not_finite("w", _raw(values, dtype), every=1)


def _raw(values: np.ndarray, dtype: str) -> RawTensor:
    if dtype != "bfloat16":
        return RawTensor.from_array(values)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    return RawTensor("BF16", values.shape, upper.view(np.uint8))


def test_the_first_and_the_last_number_and_whole_tensors_are_seen_at_a_glance():
    for place in (0, -1, slice(None)):
        values = np.zeros(3_000_000, np.float32)
        values[place] = np.nan
        with pytest.raises(CheckpointCorrupt):
            refuse_not_finite("w", RawTensor.from_array(values))


def test_types_without_such_numbers_pass():
    refuse_not_finite("w", RawTensor.from_array(np.full(4, -1, np.int64)))
    refuse_not_finite("w", RawTensor.from_array(np.zeros(0, np.float32)))


def spoiled(folder: Path, name: str, place, value: float) -> Path:
    """The bundled checkpoint with a number that is none."""
    shutil.copytree(BUNDLED, folder)
    tensors = {key: np.array(raw.array()) for key, raw in open_checkpoint(folder).tensors.items()}
    tensors[name][place] = value
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    write_checkpoint(
        folder, [(key, RawTensor.from_array(array)) for key, array in tensors.items()], [], "5GB"
    )
    return folder


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model.encoder.layers.0.self_attn.q_proj.weight", (0, 0)),
        ("model.decoder.layer_norm.bias", -1),
        ("model.shared.weight", slice(None)),
    ],
)
def test_summarize_and_both_backends_name_the_weight_at_load(name, place, tmp_path, capsys):
    from pegasus import PegasusForConditionalGeneration

    folder = spoiled(tmp_path / "model", name, place, np.nan)
    with pytest.raises(CheckpointCorrupt, match=f"numbers of {name} are NaN"):
        PegasusForConditionalGeneration.from_pretrained(folder)
    with pytest.raises(CheckpointCorrupt, match=f"numbers of {name} are NaN"):
        open_weights(folder)
    (tmp_path / "text.txt").write_text(TEXT)
    assert main(["summarize", "--model", str(folder), str(tmp_path / "text.txt")]) == 1
    told = capsys.readouterr()
    assert (told.out.strip(), f"numbers of {name} are NaN" in told.err) == ("", True)


def test_a_number_that_a_glance_misses_is_named_when_no_score_is_one(tmp_path):
    rows = open_checkpoint(BUNDLED).tensors["model.shared.weight"].shape[0]
    folder = spoiled(tmp_path / "model", "model.shared.weight", (rows // 3, 7), np.inf)
    summarizer = Summarizer.from_pretrained(folder)  # block by block, most are not looked at
    (end,) = summarizer.attempt([TEXT])
    assert isinstance(end, PegasusError)
    assert "1 of the" in str(end)
    assert "numbers of model.shared.weight are NaN or infinite" in str(end)
    with pytest.raises(CheckpointCorrupt, match=r"model.shared.weight"):
        check_weights(folder)
