"""Weights of TF models: every format in, safetensors and h5 out, bit for bit, resized, in 16 bits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.numpy import load_file

from pegasus import (
    PegasusConfig,
    PegasusForConditionalGeneration,
    TFAutoModelForSeq2SeqLM,
    TFPegasusForConditionalGeneration,
    TFPegasusModel,
)
from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.spec.positions import sinusoid_table

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
MODEL = GOLDEN / "generation-model"


def state(model) -> dict[str, np.ndarray]:
    return {name: one.numpy() for name, one in model.variables_by_name().items()}


def equal(one, other) -> None:
    one, other = (x if isinstance(x, dict) else state(x) for x in (one, other))
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def tiny(**fields) -> PegasusConfig:
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    sizes |= dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    sizes |= dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 12)
    return PegasusConfig(
        **{**sizes, "vocab_size": 31, "d_model": 8, "max_position_embeddings": 16, **fields}
    )


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of a file by its path, and every list of names."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]
        elif "weight_names" in item.attrs and name != "top_level_model_weights":
            found[f"{name}@"] = listed(item.attrs["weight_names"])

    with h5py.File(path) as file:
        file.visititems(visit)
        found["@"] = listed(file.attrs["layer_names"])
    return found


def listed(names) -> np.ndarray:
    return np.array(sorted(name.decode() if isinstance(name, bytes) else name for name in names))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_there_and_back_bit_for_bit(dtype, tmp_path):
    """PyTorch → TensorFlow → PyTorch, in every type of weights; one shard a tensor on the way."""
    first = PegasusForConditionalGeneration.from_pretrained(MODEL, dtype=dtype)
    first.save_pretrained(tmp_path / "a", max_shard_size="2KB")
    ours = TFPegasusForConditionalGeneration.from_pretrained(tmp_path / "a", dtype=dtype)
    assert {one.dtype for one in ours.weights} == {dtype}
    ours.save_pretrained(tmp_path / "b")
    assert json.loads((tmp_path / "b" / "config.json").read_text())["architectures"] == [
        "PegasusForConditionalGeneration"
    ]
    second = PegasusForConditionalGeneration.from_pretrained(tmp_path / "b", dtype=dtype)
    found, expected = second.state_dict(), first.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_formats(recorded, tmp_path):
    """A pickle, transformers' h5 and its shards, msgpack and safetensors: the same weights."""
    case = recorded("relu")
    folders = {name: tmp_path / name for name in ("bin", "h5", "shards", "msgpack")}
    for folder in folders.values():
        case.config.save_pretrained(folder)
    weights = {name: torch.tensor(a) for name, a in load_file(GOLDEN / "model-relu.safetensors").items()}
    torch.save(weights, folders["bin"] / "pytorch_model.bin")
    shutil.copyfile(GOLDEN / "tf-model.h5", folders["h5"] / "tf_model.h5")
    shutil.copytree(GOLDEN / "tf-shards", folders["shards"], dirs_exist_ok=True)
    shutil.copyfile(GOLDEN / "flax-model.msgpack", folders["msgpack"] / "flax_model.msgpack")
    expected = state(case.model("conditional"))
    for name, folder in folders.items():
        model, info = TFPegasusForConditionalGeneration.from_pretrained(
            folder, from_pt=name == "bin", output_loading_info=True
        )
        assert not info["missing_keys"] + info["unexpected_keys"], name
        equal(state(model), expected)
    bare = TFPegasusModel.from_pretrained(folders["shards"])
    equal(state(bare), {k.removeprefix("model."): a for k, a in expected.items() if k.startswith("model.")})


def test_our_h5_is_that_of_transformers(recorded, tmp_path):
    """The same groups, lists of names and numbers, whole and in shards."""
    model = recorded("relu").model("conditional")
    model.save_pretrained(tmp_path, safe_serialization=False)
    found, expected = arrays(tmp_path / "tf_model.h5"), arrays(GOLDEN / "tf-model.h5")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    model.save_pretrained(tmp_path, safe_serialization=False, max_shard_size="30KB")
    assert not (tmp_path / "tf_model.h5").exists()
    both = []
    for folder in (tmp_path, GOLDEN / "tf-shards"):
        files = sorted(folder.glob("tf_model-*.h5"))
        assert len(files) > 1
        index = json.loads((folder / "tf_model.h5.index.json").read_text())
        assert set(index["weight_map"].values()) == {file.name for file in files}
        both.append({name: a for file in files for name, a in arrays(file).items() if ":" in name})
    assert both[0].keys() == both[1].keys()
    for name, array in both[1].items():
        np.testing.assert_array_equal(both[0][name], array, err_msg=name)
    equal(TFPegasusForConditionalGeneration.from_pretrained(tmp_path), model)


def test_h5_of_a_bare_and_of_an_untied_model(tmp_path):
    for cls, fields in (
        (TFPegasusModel, {}),
        (TFPegasusForConditionalGeneration, {"tie_word_embeddings": False}),
    ):
        model = cls(tiny(**fields), seed=1)
        model.save_pretrained(tmp_path / cls.__name__, safe_serialization=False)
        equal(cls.from_pretrained(tmp_path / cls.__name__), model)
    with pytest.raises(BadSetting, match="BF16"):
        TFPegasusModel(tiny(), dtype="bfloat16").save_pretrained(tmp_path, safe_serialization=False)


def test_fresh_weights():
    """Drawn by the seed: padding is zero, norms are one, positions are computed."""
    one, same, other = (TFPegasusModel(tiny(init_std=0.3), seed=seed) for seed in (1, 1, 2))
    equal(one, same)
    found = state(one)
    assert (found["shared.weight"] != state(other)["shared.weight"]).any()
    assert not found["shared.weight"][0].any()
    assert 0.2 < found["shared.weight"][1:].std() < 0.4
    assert (found["encoder.layer_norm.weight"] == 1).all()
    assert not found["encoder.layer_norm.bias"].any()
    np.testing.assert_array_equal(found["decoder.embed_positions.weight"], sinusoid_table(16, 8))
    tf.keras.utils.set_random_seed(3)
    first = state(TFPegasusModel(tiny()))
    tf.keras.utils.set_random_seed(3)
    equal(state(TFPegasusModel(tiny())), first)


def test_a_stored_table_of_positions_is_not_lost(tmp_path):
    torch.manual_seed(0)
    theirs = PegasusForConditionalGeneration(tiny()).eval()
    with torch.no_grad():
        theirs.model.encoder.embed_positions.weight.normal_()
    theirs.save_pretrained(tmp_path / "a")
    ours = TFPegasusForConditionalGeneration.from_pretrained(tmp_path / "a")
    ids = np.array([[5, 9, 7, 1]])
    with torch.no_grad():
        expected = theirs(torch.tensor(ids), decoder_input_ids=torch.tensor(ids)).logits
    np.testing.assert_allclose(ours(ids, decoder_input_ids=ids).logits, expected, atol=1e-5)
    ours.save_pretrained(tmp_path / "b")
    held = load_file(tmp_path / "b" / "model.safetensors")
    assert [name for name in held if "positions" in name] == ["model.encoder.embed_positions.weight"]


@pytest.mark.parametrize("table", ["transformers", "authors"])
def test_positions_have_no_end(table, tmp_path):
    """Longer than the table of the configuration, all at once, and step by step in a graph."""
    torch.manual_seed(1)
    theirs = PegasusForConditionalGeneration(tiny(position_table=table, init_std=0.3)).eval()
    theirs.save_pretrained(tmp_path)
    ours = TFPegasusForConditionalGeneration.from_pretrained(tmp_path)
    ids = np.tile(np.arange(4, 27), (1, 2))
    with torch.no_grad():
        expected = theirs(torch.tensor(ids), decoder_input_ids=torch.tensor(ids)).logits
    np.testing.assert_allclose(ours(ids, decoder_input_ids=ids).logits, expected, atol=1e-5)
    settings = {"min_length": 40, "max_length": 40, "num_beams": 2}
    np.testing.assert_array_equal(
        ours.generate(ids, **settings), theirs.generate(torch.tensor(ids), **settings)
    )


def test_resizing(tmp_path):
    model = TFPegasusForConditionalGeneration(tiny(), seed=4)
    ids = np.array([[5, 9, 7, 1]])
    before, first = model(ids).logits.numpy(), model.generate(ids, max_length=6).numpy()
    table = model.get_input_embeddings().embeddings.numpy()
    layer = model.resize_token_embeddings(40)
    assert layer is model.get_output_embeddings()
    np.testing.assert_array_equal(layer.embeddings.numpy()[:31], table)
    assert layer.embeddings.numpy()[31:].any()
    after = model(ids).logits.numpy()
    assert after.shape[-1] == 40
    np.testing.assert_allclose(after[..., :31], before, atol=1e-6)
    assert model.get_bias()["final_logits_bias"].shape == (1, 40)
    assert len(model.generate(ids, max_length=6)[0]) > 1
    model.save_pretrained(tmp_path)
    equal(TFPegasusForConditionalGeneration.from_pretrained(tmp_path), model)
    model.resize_token_embeddings(31)
    np.testing.assert_array_equal(model.generate(ids, max_length=6).numpy(), first)
    with pytest.raises(BadSetting, match="1 tokens"):
        model.resize_token_embeddings(1)


def test_the_bias_of_the_logits():
    model = TFPegasusForConditionalGeneration(tiny(), seed=4)
    ids = np.array([[5, 9, 1]])
    before = model(ids).logits.numpy()
    model.set_bias({"final_logits_bias": np.arange(31, dtype=np.float32)[None]})
    np.testing.assert_allclose(
        model(ids).logits.numpy() - before, np.tile(np.arange(31.0), (1, 3, 1)), atol=1e-5
    )
    with pytest.raises(BadSetting, match=r"\[1, 31\]"):
        model.set_bias({"final_logits_bias": np.zeros((1, 5))})


def test_the_auto_class(recorded):
    found = TFAutoModelForSeq2SeqLM.from_pretrained(recorded("relu").folder, trust_remote_code=False)
    assert isinstance(found, TFPegasusForConditionalGeneration)
    assert isinstance(TFAutoModelForSeq2SeqLM.from_config(tiny()), TFPegasusForConditionalGeneration)
    with pytest.raises(TypeError, match="from_pretrained"):
        TFAutoModelForSeq2SeqLM()


def test_what_is_refused(tmp_path):
    with pytest.raises(BadSetting, match="PegasusConfig"):
        TFPegasusModel({"d_model": 8})
    with pytest.raises(UnsupportedArgument, match="colour"):
        TFPegasusModel(tiny(), colour="red")
    model = TFPegasusModel(tiny())
    with pytest.raises(UnsupportedArgument, match="push_to_hub"):
        model.save_pretrained(tmp_path, safe_serialization=False, push_to_hub=True)


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**kept, **environment},
        check=False,
    )


@pytest.mark.parametrize("way", ["variable", "file", "imported"])
def test_keras_on_another_framework(way, tmp_path):
    """A sentence that says who chose it, before anything is imported."""
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    chosen = {
        "variable": {"KERAS_BACKEND": "jax"},
        "file": {"KERAS_HOME": str(tmp_path)},
        "imported": {"KERAS_BACKEND": "numpy"},
    }[way]
    code = (
        "import sys\n"
        + ("import keras\n" if way == "imported" else "")
        + "import pegasus\ntry:\n    pegasus.TFPegasusModel\nexcept ImportError as problem:\n"
        "    print(type(problem).__name__, problem)\nprint('tensorflow' in sys.modules)"
    )
    run = python(code, **chosen)
    assert run.returncode == 0, run.stderr
    said = run.stdout.splitlines()
    assert said[0].startswith("BackendMissing Keras computes with")
    assert {"variable": "by KERAS_BACKEND", "file": "keras.json", "imported": "imported already"}[
        way
    ] in said[0]
    assert "KERAS_BACKEND=tensorflow" in said[0]
    assert said[1] == "False"


def test_tensorflow_never_loads_another_framework():
    code = (
        "import sys; from pegasus.backends.choose import open_model; from pathlib import Path\n"
        f"model = open_model(Path({str(MODEL)!r}), backend='tensorflow', device='cpu')\n"
        "model.generate([[5, 9, 1]], max_length=4)\n"
        # TensorFlow itself imports JAX where it is installed.
        "print([name for name in ('torch', 'flax', 'tf_keras') if name in sys.modules])"
    )
    run = python(code)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"
