"""Packed folders: what is written opens again, and what is damaged or foreign says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pegasus import PegasusConfig, PegasusForConditionalGeneration
from pegasus.backends.packed.folder import FILE, load_packed, save_packed
from pegasus.backends.packed.layouts import RowPacker
from pegasus.backends.packed.model import PackedModel
from pegasus.backends.packed.packing import pack_tensors
from pegasus.backends.packed.weights import KINDS
from pegasus.checkpoint.files import read_safetensors
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.cli import app
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointMismatch, CheckpointNotFound, NotOffered
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Ask

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
IDS = torch.tensor([[17, 84, 5, 9, 1], [33, 8, 1, 0, 0]])


@pytest.fixture(scope="module")
def plain():
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


@pytest.fixture
def saved(packed, plain, tmp_path) -> Path:
    packed(plain, "int8", threads=1).save_packed(tmp_path / "packed")
    return tmp_path / "packed"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_opens_again(packed, plain, tmp_path, kind):
    model = packed(plain, kind, threads=1)
    model.save_packed(tmp_path)
    again = type(model).from_pretrained(tmp_path, threads=1)
    assert again.weights.kind == kind
    assert again.generation_config == model.generation_config
    before, after = model.weights.arrays(), again.weights.arrays()
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert torch.equal(again.generate(IDS), model.generate(IDS))


def test_what_is_opened_lies_in_the_file(saved):
    """Nothing is copied: the weights are read-only views of the map, and begin where kernels read them."""
    weights = load_packed(saved)
    for linear in weights.linears.values():
        assert not linear.weights.flags.writeable
        assert linear.weights.ctypes.data % 64 == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_was_packed_without_the_library_opens(packed, plain, tmp_path, kind):
    """Its matrices lie row by row: they are laid out anew, and say what the others say."""
    here = packed(plain, kind, threads=1)
    weights = pack_tensors(dict(plain._arrays()), plain.config, kind, RowPacker(), "the model")
    save_packed(tmp_path, weights, plain.generation_config)
    there = PackedModel.from_pretrained(tmp_path, threads=1)
    assert load_packed(tmp_path).layout == "rows"
    ask = Ask(np.array([[0, 7, 9, 33], [0, 120, 5, 5]]), count=None, positions=4)
    request = Request(input_ids=IDS.numpy(), attention_mask=IDS.numpy() != 0)
    found, expected = (one.open_session(request).step(ask).log_probs_RC for one in (there, here))
    np.testing.assert_allclose(found, expected, atol=1e-5 if kind != "int8" else 1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_packed_straight_from_its_folder(packed, plain, kind):
    from_model = packed(plain, kind, threads=1).weights.arrays()
    from_folder = PackedModel.from_pretrained(GOLDEN / "generation-model", dtype=kind, threads=1)
    found = from_folder.weights.arrays()
    assert found.keys() == from_model.keys()
    for name, array in from_model.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_another_dtype_than_the_folder_holds_is_refused(saved):
    assert PackedModel.from_pretrained(saved, dtype="int8", threads=1).dtype == "int8"
    with pytest.raises(BadSetting, match="packed as int8, and float32 was asked for"):
        PackedModel.from_pretrained(saved, dtype="float32")


def changed(folder: Path, **metadata: str) -> None:
    """Writes the file again with other metadata."""
    tensors, kept = read_safetensors(folder / FILE)
    copies = {name: RawTensor(one.dtype, one.shape, one.data.copy()) for name, one in tensors.items()}
    with Staging(folder) as staging:
        staging.add_tensors(FILE, copies, {**kept, **metadata}, alignment=64)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"version": "2"}, "has version '2' of the packed format, and this package reads version '1'"),
        ({"format": "pt"}, "was not written by this package"),
        ({"layout": "panels-32"}, "layout 'panels-32', and that is not known"),
        ({"dtype": "int4"}, "keeps 'int4'"),
        ({"shapes": "{"}, "header of .* is damaged"),
    ],
)
def test_other_formats_are_named(saved, metadata, message):
    changed(saved, **metadata)
    with pytest.raises(CheckpointCorrupt, match=message) as error:
        load_packed(saved)
    assert "pegasus pack" in str(error.value)


def test_one_altered_byte_is_found(saved):
    path = saved / FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match="is damaged: 1 of its"):
        load_packed(saved)
    load_packed(saved, verify=False)


def test_a_file_that_is_cut_short_is_found_without_hashing(saved):
    path = saved / FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointCorrupt, match="cut short"):
        load_packed(saved, verify=False)


def test_the_configuration_of_another_model_is_found(saved):
    path = saved / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "decoder_layers": config["decoder_layers"] + 1}))
    with pytest.raises(CheckpointCorrupt, match=r"not the packed model of the config\.json beside it"):
        load_packed(saved)


def test_a_folder_without_weights_is_no_packed_model(tmp_path):
    with pytest.raises(CheckpointNotFound):
        load_packed(tmp_path)


def test_missing_parameters_are_refused(plain, tmp_path, engine):
    plain.save_pretrained(tmp_path)
    tensors, metadata = read_safetensors(tmp_path / "model.safetensors")
    kept = {
        name: RawTensor(one.dtype, one.shape, one.data.copy())
        for name, one in tensors.items()
        if "decoder.layers.0.fc1" not in name
    }
    with Staging(tmp_path) as staging:
        staging.add_tensors("model.safetensors", kept, metadata)
    with pytest.raises(CheckpointMismatch, match=r"2 missing: .*fc1\.weight"):
        PackedModel.from_pretrained(tmp_path)


def test_a_model_without_layers_is_refused(packed):
    config = PegasusConfig(vocab_size=40, d_model=16, encoder_layers=0, decoder_layers=1)
    with pytest.raises(NotOffered, match="0 layers in its encoder"):
        packed(PegasusForConditionalGeneration(config))


def test_the_plain_modules_say_what_they_were_given(saved):
    with pytest.raises(CheckpointNotFound, match=r"is packed for inference \(packed\.safetensors\)"):
        PegasusForConditionalGeneration.from_pretrained(saved)


def test_inspect_shows_a_packed_folder(saved, capsys):
    assert app.main(["inspect", str(saved)]) == 0
    assert "packed as int8: 0 MB, every hash matches" in capsys.readouterr().out
