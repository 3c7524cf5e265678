"""Parameters of Flax models: from every format and back, fresh, cast, masked, and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax.core import freeze
from safetensors.numpy import load_file

from pegasus import (
    FlaxPegasusForConditionalGeneration,
    FlaxPegasusModel,
    PegasusConfig,
    PegasusForConditionalGeneration,
)
from pegasus.errors import BadSetting, UnsupportedArgument

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
MODEL = GOLDEN / "generation-model"


def equal(one, other) -> bool:
    same = jax.tree.map(lambda a, b: a.dtype == b.dtype and bool((a == b).all()), one, other)
    return all(jax.tree.leaves(same))


def tiny(**fields) -> PegasusConfig:
    sizes = {
        "vocab_size": 31,
        "d_model": 8,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 12,
    }
    sizes |= {"decoder_ffn_dim": 12, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return PegasusConfig(**{**sizes, "max_position_embeddings": 16, **fields})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_there_and_back_bit_for_bit(dtype, tmp_path):
    """PyTorch → JAX → PyTorch, in every type of parameters; one shard a tensor on the way."""
    first = PegasusForConditionalGeneration.from_pretrained(MODEL, dtype=dtype)
    first.save_pretrained(tmp_path / "a", max_shard_size="2KB")
    ours = FlaxPegasusForConditionalGeneration.from_pretrained(tmp_path / "a", torch_dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(ours.params)} == {jnp.dtype(dtype)}
    ours.save_pretrained(tmp_path / "b")
    second = PegasusForConditionalGeneration.from_pretrained(tmp_path / "b", dtype=dtype)
    state, expected = second.state_dict(), first.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_formats(tmp_path):
    """A pickle, transformers' msgpack, our msgpack and safetensors: the same parameters."""
    fields = json.loads((GOLDEN / "model-relu.json").read_text())["config"]
    folders = {name: tmp_path / name for name in ("safetensors", "bin", "msgpack")}
    for folder in folders.values():
        PegasusConfig(**fields).save_pretrained(folder)
    shutil.copyfile(GOLDEN / "model-relu.safetensors", folders["safetensors"] / "model.safetensors")
    shutil.copyfile(GOLDEN / "flax-model.msgpack", folders["msgpack"] / "flax_model.msgpack")
    state = {name: torch.tensor(a) for name, a in load_file(GOLDEN / "model-relu.safetensors").items()}
    torch.save(state, folders["bin"] / "pytorch_model.bin")
    models = {k: FlaxPegasusForConditionalGeneration.from_pretrained(f) for k, f in folders.items()}
    assert equal(models["bin"].params, models["safetensors"].params)
    assert equal(models["msgpack"].params, models["safetensors"].params)
    models["bin"].save_pretrained(tmp_path / "own")
    models["bin"].save_pretrained(tmp_path / "own", safe_serialization=False)
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [
        "config.json",
        "flax_model.msgpack",
        "generation_config.json",
    ]
    own = FlaxPegasusForConditionalGeneration.from_pretrained(tmp_path / "own", from_pt=False)
    assert equal(own.params, models["bin"].params)


def test_without_parameters_of_its_own(tmp_path):
    model, params = FlaxPegasusForConditionalGeneration.from_pretrained(MODEL, _do_init=False)
    with pytest.raises(BadSetting, match="_do_init=False"):
        _ = model.params
    with pytest.raises(BadSetting, match="_do_init=False"):
        model.params = params
    whole = FlaxPegasusForConditionalGeneration.from_pretrained(MODEL)
    assert equal(params, whole.params)
    ids = np.array([[5, 9, 1]])
    np.testing.assert_array_equal(model(ids, params=params).logits, whole(ids).logits)
    found = model.generate(ids, params=params, max_length=6).sequences
    np.testing.assert_array_equal(found, whole.generate(ids, max_length=6).sequences)
    with pytest.raises(BadSetting, match="_do_init=False"):
        model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, params=params)
    assert equal(FlaxPegasusForConditionalGeneration.from_pretrained(tmp_path).params, params)


def test_fresh_parameters():
    """Drawn by the seed; what is given stays, what lacks is drawn; padding is zero."""
    one, same, other = (FlaxPegasusModel(tiny(init_std=0.3), seed=seed) for seed in (1, 1, 2))
    assert equal(one.params, same.params)
    assert not equal(one.params, other.params)
    table = np.asarray(one.params["shared"]["embedding"])
    assert (table[0] == 0).all()
    assert 0.2 < table[1:].std() < 0.4
    norm = one.params["encoder"]["layer_norm"]
    assert (norm["scale"] == 1).all()
    assert (norm["bias"] == 0).all()
    part = {"shared": {"embedding": jnp.ones((31, 8))}}
    filled = one.init_weights(jax.random.PRNGKey(1), (1, 1), part)
    assert equal({**filled, "shared": None}, {**one.params, "shared": None})
    assert (filled["shared"]["embedding"] == 1).all()


def test_parameters_are_checked():
    model = FlaxPegasusModel(tiny())
    model.params = freeze(model.params)
    lacking = {key: value for key, value in model.params.items() if key != "shared"}
    with pytest.raises(BadSetting, match="1 parameters are missing, such as shared/embedding"):
        model.params = lacking
    with pytest.raises(BadSetting, match="PegasusConfig"):
        FlaxPegasusModel({"d_model": 8})
    with pytest.raises(BadSetting, match="dtype"):
        FlaxPegasusModel(tiny(), dtype="int8")
    with pytest.raises(UnsupportedArgument, match="max_shard_size"):
        model.save_pretrained("nowhere", safe_serialization=False, max_shard_size="1GB")


def test_casts_and_masks():
    model = FlaxPegasusModel(tiny())
    assert {leaf.dtype for leaf in jax.tree.leaves(model.to_bf16(model.params))} == {
        jnp.dtype(jnp.bfloat16)
    }
    mask = jax.tree_util.tree_map_with_path(lambda path, _: "norm" not in str(path), model.params)
    half = model.to_fp16(model.params, mask)
    assert half["encoder"]["layer_norm"]["scale"].dtype == jnp.float32
    assert half["shared"]["embedding"].dtype == jnp.float16
    back = model.to_fp32(half)
    assert {leaf.dtype for leaf in jax.tree.leaves(back)} == {jnp.dtype(jnp.float32)}
    assert model.params["shared"]["embedding"].dtype == jnp.float32


def test_a_stored_table_of_positions_is_not_lost(tmp_path):
    """A checkpoint that brought its own positions computes with them, and they are saved again."""
    torch.manual_seed(0)
    theirs = PegasusForConditionalGeneration(tiny()).eval()
    with torch.no_grad():
        theirs.model.encoder.embed_positions.weight.normal_()
    theirs.save_pretrained(tmp_path / "a")
    ours = FlaxPegasusForConditionalGeneration.from_pretrained(tmp_path / "a")
    ids = np.array([[5, 9, 1]])
    expected = theirs(torch.tensor(ids), decoder_input_ids=torch.tensor(ids)).logits.detach().numpy()
    np.testing.assert_allclose(ours(ids, decoder_input_ids=ids).logits, expected, atol=1e-5)
    ours.save_pretrained(tmp_path / "b")
    again = PegasusForConditionalGeneration.from_pretrained(tmp_path / "b")
    assert torch.equal(
        again.model.encoder.embed_positions.weight, theirs.model.encoder.embed_positions.weight
    )


def test_pruned_heads(tmp_path):
    torch.manual_seed(0)
    theirs = PegasusForConditionalGeneration(tiny(init_std=0.3)).eval()
    theirs.prune_heads({("encoder", 0): [1], ("cross", 0): [0], ("decoder", 0): [1]})
    theirs.save_pretrained(tmp_path)
    ours = FlaxPegasusForConditionalGeneration.from_pretrained(tmp_path)
    ids = np.array([[5, 9, 1]])
    expected = theirs.generate(torch.tensor(ids), max_length=7, num_beams=2).numpy()
    np.testing.assert_array_equal(ours.generate(ids, max_length=7, num_beams=2).sequences, expected)
