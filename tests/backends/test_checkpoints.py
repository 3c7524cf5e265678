"""Save, load, equal; every file format in, the same weights out; checkpoints of one class into another."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import pegasus
from pegasus.errors import CheckpointMismatch
from pegasus.spec.positions import sinusoid_table

KINDS = {
    "bare": "PegasusModel",
    "conditional": "PegasusForConditionalGeneration",
    "causal": "PegasusForCausalLM",
}


def equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_save_load_equal(kind, room, golden, models, tmp_path):
    model = models(room, golden, kind)
    model.save_pretrained(tmp_path)
    again, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    equal(room.weights(again), room.weights(model))
    assert not any(info.values())
    ours, theirs = again.config.to_dict(), model.config.to_dict()
    assert {k: v for k, v in ours.items() if k != "_name_or_path"} == {
        k: v for k, v in theirs.items() if k not in ("_name_or_path", "architectures")
    } | {"architectures": [room.prefix + KINDS[kind]]}


def test_a_loaded_model_holds_the_numbers_of_the_file(room, golden, models):
    weights = room.weights(models(room, golden))
    for name, array in golden.weights.items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)


def test_what_is_written_are_the_names_of_the_hub(room, golden, models, tmp_path):
    models(room, golden).save_pretrained(tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    equal(written, golden.weights)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == [room.prefix + "PegasusForConditionalGeneration"]
    assert config["model_type"] == "pegasus"
    assert config["normalize_before"] is True
    assert config["normalize_embedding"] is False


def test_shards(room, golden, models, tmp_path):
    model = models(room, golden)
    size = sum(array.nbytes for array in golden.weights.values())
    model.save_pretrained(tmp_path, max_shard_size=size // 3)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(golden.weights)
    equal(room.weights(type(model).from_pretrained(tmp_path)), room.weights(model))


def test_the_file_of_transformers_4_34(room, golden, models, tmp_path):
    """Its .bin carries the tied copies and the position tables too."""
    torch = pytest.importorskip("torch")
    golden.write(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = {name: torch.from_numpy(array) for name, array in golden.weights.items()}
    shared = state["model.shared.weight"]
    for copy in (
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
        "lm_head.weight",
    ):
        state[copy] = shared
    for side in ("encoder", "decoder"):
        state[f"model.{side}.embed_positions.weight"] = torch.from_numpy(golden.expected["positions"])
    torch.save(state, tmp_path / "pytorch_model.bin")
    cls = getattr(pegasus, room.prefix + KINDS["conditional"])
    model, info = cls.from_pretrained(tmp_path, output_loading_info=True)
    equal(room.weights(model), room.weights(models(room, golden)))
    assert not any(info.values())


@pytest.mark.parametrize("count", [5, 60])
def test_a_stored_table_of_another_length_is_computed_anew(count, room, golden, models, tmp_path):
    golden.write(tmp_path)
    stored = dict(golden.weights)
    for side in ("encoder", "decoder"):
        name = f"model.{side}.embed_positions.weight"
        stored[name] = np.zeros((count, golden.fields["d_model"]), np.float32)
    save_file(stored, tmp_path / "model.safetensors")
    model = getattr(pegasus, room.prefix + KINDS["conditional"]).from_pretrained(tmp_path)
    equal(room.weights(model), room.weights(models(room, golden)))


def test_a_stored_table_of_its_own_is_used_and_kept(room, relu, tmp_path):
    """Somebody may have stored the authors' table where no key of the configuration says so."""
    relu.write(tmp_path)
    table = sinusoid_table(24, 16, "authors")
    sides = [f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")]
    save_file(dict(relu.weights) | dict.fromkeys(sides, table), tmp_path / "model.safetensors")
    cls = getattr(pegasus, room.prefix + KINDS["conditional"])
    model = cls.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path / "again")
    ids = room.native(np.arange(2, 40)[None] % 41)
    for one in (model, cls.from_pretrained(tmp_path / "again")):
        assert all((room.weights(one)[name] == table).all() for name in sides)
        # Beyond the table its own formula goes on, which is all that is known.
        long = room.call(one, input_ids=ids, decoder_input_ids=ids[:, :9], output_hidden_states=True)
        first = room.numpy(long.encoder_hidden_states[0])
        embedded = relu.weights["model.shared.weight"][room.numpy(ids)[0]] * 4
        np.testing.assert_allclose(first[0, :24], embedded[:24] + table, atol=1e-5)
        np.testing.assert_allclose(
            first[0, 24:], embedded[24:] + sinusoid_table(14, 16, start=24), atol=1e-5
        )


def test_what_may_be_absent(room, golden, models, tmp_path):
    """Positions are computed, the bias of the logits is zero: nothing is missing and nothing is said."""
    golden.write(tmp_path)
    stored = {name: array for name, array in golden.weights.items() if name != "final_logits_bias"}
    save_file(stored, tmp_path / "model.safetensors")
    cls = getattr(pegasus, room.prefix + KINDS["conditional"])
    model, info = cls.from_pretrained(tmp_path, output_loading_info=True)
    weights = room.weights(model)
    assert not weights["final_logits_bias"].any()
    np.testing.assert_allclose(
        weights["model.encoder.embed_positions.weight"], golden.expected["positions"], atol=1e-6
    )
    assert info["missing_keys"] == []


@pytest.mark.parametrize(
    ("source", "target"), [("bare", "conditional"), ("conditional", "bare"), ("conditional", "causal")]
)
def test_a_checkpoint_of_one_class_into_another(source, target, room, golden, models, tmp_path):
    model = models(room, golden, source)
    model.save_pretrained(tmp_path)
    cls = getattr(pegasus, room.prefix + KINDS[target])
    found = room.weights(cls.from_pretrained(tmp_path))
    expected = room.weights(models(room, golden, target))
    if source == "bare":
        assert not found.pop("final_logits_bias").any()
        expected.pop("final_logits_bias")
    equal(found, expected)


def test_everything_wrong_is_reported_at_once(room, golden, tmp_path):
    golden.write(tmp_path)
    stored = dict(golden.weights)
    missing = ["model.encoder.layers.0.fc1.weight", "model.decoder.layer_norm.bias"]
    for name in missing:
        del stored[name]
    stored["model.decoder.layers.0.fc2.bias"] = np.zeros(99, np.float32)
    stored["model.encoder.layers.0.stranger"] = np.zeros(3, np.float32)
    save_file(stored, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointMismatch) as caught:
        getattr(pegasus, room.prefix + KINDS["conditional"]).from_pretrained(tmp_path)
    for words in [*missing, "model.decoder.layers.0.fc2.bias", "99"]:
        assert words in str(caught.value)


def test_fields_as_keywords(room, golden, models):
    model = models(room, golden, max_length=7, dropout=0.25)
    assert (model.config.max_length, model.config.dropout) == (7, 0.25)


def test_a_given_configuration_rules(room, golden, models):
    config = golden.config(dropout=0.4)
    cls = getattr(pegasus, room.prefix + KINDS["conditional"])
    model = cls.from_pretrained(models.place(golden), config=config)
    assert model.config.dropout == 0.4


def test_the_folder_can_be_moved(room, golden, models, tmp_path):
    models(room, golden).save_pretrained(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    cls = getattr(pegasus, room.prefix + KINDS["conditional"])
    equal(room.weights(cls.from_pretrained(tmp_path / "b")), room.weights(models(room, golden)))
