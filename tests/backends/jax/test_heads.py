"""Flax models as JAX has it: transformations, random numbers, types, positions and records."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from pegasus import FlaxPegasusForConditionalGeneration, FlaxPegasusModel, PegasusConfig, PegasusModel
from pegasus.backends.jax.model.activations import ACTIVATIONS
from pegasus.backends.torch.model.activations import ACTIVATIONS as TORCH
from pegasus.errors import BadSetting
from pegasus.spec.config_fields import ACTIVATIONS as NAMED

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def tiny(**fields) -> PegasusConfig:
    sizes = {
        "vocab_size": 31,
        "d_model": 8,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 12,
    }
    sizes |= {
        "decoder_ffn_dim": 12,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "init_std": 0.3,
    }
    return PegasusConfig(**{**sizes, "max_position_embeddings": 16, **fields})


IDS = np.array([[5, 9, 7, 1], [6, 3, 1, 0]])


@pytest.fixture(scope="module")
def model() -> FlaxPegasusModel:
    return FlaxPegasusModel(tiny(dropout=0.5))


def test_records_are_trees_and_tuples(model):
    output = model(IDS)
    assert isinstance(output.last_hidden_state, jax.Array)
    assert output[0] is output.last_hidden_state
    doubled = jax.tree.map(lambda one: 2 * one, output)
    assert type(doubled) is type(output)
    np.testing.assert_array_equal(doubled["last_hidden_state"], 2 * output.last_hidden_state)
    assert list(doubled) == list(output)
    plain = model(IDS, return_dict=False)
    assert isinstance(plain, tuple)
    np.testing.assert_array_equal(plain[0], output[0])
    assert isinstance(model.decode(IDS, (output.encoder_last_hidden_state,), return_dict=False), tuple)


def test_jit_grad_and_vmap(model):
    whole = jax.jit(lambda params, ids: model(ids, params=params))(model.params, IDS)
    np.testing.assert_allclose(whole.last_hidden_state, model(IDS).last_hidden_state, atol=1e-6)
    mapped = jax.vmap(lambda ids: model(ids).last_hidden_state)(IDS[:, None])
    np.testing.assert_allclose(mapped[:, 0], whole.last_hidden_state, atol=1e-5)

    def size(params):
        return (model(IDS, params=params).last_hidden_state ** 2).mean()

    value, slopes = jax.value_and_grad(size)(model.params)
    direction = jax.tree.map(
        lambda g: g / jnp.sqrt(sum((x**2).sum() for x in jax.tree.leaves(slopes))), slopes
    )
    step = 1e-2

    def moved(by):
        return float(size(jax.tree.map(lambda p, d: p + by * d, model.params, direction)))

    slope = sum(float((g * d).sum()) for g, d in zip(jax.tree.leaves(slopes), jax.tree.leaves(direction)))
    assert (moved(step) - moved(-step)) / (2 * step) == pytest.approx(slope, rel=0.02)
    assert np.isfinite(float(value))


def test_dropout_is_drawn_by_the_key(model):
    keys = [jax.random.key(1), jax.random.key(1), jax.random.key(2)]
    one, same, other = (np.asarray(model(IDS, train=True, dropout_rng=key)[0]) for key in keys)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1
    assert np.abs(one - np.asarray(model(IDS)[0])).max() > 0.1
    with pytest.raises(BadSetting, match="dropout_rng"):
        model(IDS, train=True)
    output = model.encode(IDS)
    drawn = model.decode(IDS, output, deterministic=False, dropout_rng=keys[0])[0]
    assert (
        np.abs(np.asarray(drawn) - np.asarray(model.decode(IDS, output, deterministic=True)[0])).max() > 0.1
    )


def test_a_skipped_layer_changes_nothing_else():
    model = FlaxPegasusModel(tiny(encoder_layerdrop=1.0, dropout=0.0))
    shown = {"output_hidden_states": True, "train": True, "dropout_rng": jax.random.key(0)}
    states = model.encode(IDS, **shown).hidden_states
    assert len(states) == 2
    normed = np.asarray(states[0]) - np.asarray(states[0]).mean(-1, keepdims=True)
    np.testing.assert_allclose(
        states[1], normed / np.sqrt((normed**2).mean(-1, keepdims=True) + 1e-5), atol=1e-5
    )


def test_remat_changes_no_gradient():
    plain, again = (FlaxPegasusModel(tiny(), gradient_checkpointing=flag) for flag in (False, True))
    draw = {"train": True, "dropout_rng": jax.random.key(3)}

    def slopes(model):
        def size(params):
            return (model(IDS, params=params, **draw).last_hidden_state ** 2).mean()

        return jax.jit(jax.grad(size))

    jaxpr = str(jax.make_jaxpr(slopes(again))(again.params))
    assert "remat" in jaxpr
    assert "remat" not in str(jax.make_jaxpr(slopes(plain))(plain.params))
    for one, other in zip(
        jax.tree.leaves(slopes(plain)(plain.params)), jax.tree.leaves(slopes(again)(again.params))
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("table", ["transformers", "authors"])
def test_positions_have_no_end(table, tmp_path):
    """Longer than the table of the configuration, and at places that the caller names."""
    torch.manual_seed(1)
    theirs = PegasusModel(tiny(position_table=table)).eval()
    theirs.save_pretrained(tmp_path)
    ours = FlaxPegasusModel.from_pretrained(tmp_path)
    ids = np.tile(np.arange(2, 27), (1, 2))
    with torch.no_grad():
        expected = theirs(torch.tensor(ids), decoder_input_ids=torch.tensor(ids)).last_hidden_state
    found = ours(ids, decoder_input_ids=ids).last_hidden_state
    np.testing.assert_allclose(found, expected, atol=1e-5)
    places = np.arange(50)[None]
    np.testing.assert_allclose(
        ours(ids, decoder_input_ids=ids, position_ids=places, decoder_position_ids=places)[0],
        expected,
        atol=1e-5,
    )
    backwards = ours(ids, decoder_input_ids=ids, position_ids=places[:, ::-1].copy())[0]
    assert np.abs(np.asarray(backwards) - expected.numpy()).max() > 0.05
    apart = ours.encode(np.array([[5, 9]]), position_ids=np.array([[40, 41]])).last_hidden_state
    assert np.isfinite(np.asarray(apart)).all()
    assert np.abs(np.asarray(apart) - np.asarray(ours.encode(np.array([[5, 9]]))[0])).max() > 0.01


def test_a_full_memory_is_refused(model):
    encoded = model.encode(IDS)
    cache = model.init_cache(2, 3, encoded)
    cache = model.decode(IDS[:, :2], encoded, past_key_values=cache).past_key_values
    with pytest.raises(BadSetting, match="room for 3"):
        model.decode(IDS[:, :2], encoded, past_key_values=cache)
    with pytest.raises(BadSetting, match="mask covers 4"):
        model.decode(IDS[:, :1], encoded, past_key_values=cache, decoder_attention_mask=np.ones((2, 4)))


def test_a_mask_over_a_memory(model):
    """What it hides is hidden from later tokens too."""
    encoded = model.encode(IDS)
    mask = np.array([[0, 1, 1, 1], [1, 1, 1, 1]])
    whole = model.decode(IDS, encoded, decoder_attention_mask=mask).last_hidden_state
    cache = model.init_cache(2, 6)
    found = []
    for place in range(4):
        output = model.decode(
            IDS[:, place : place + 1], encoded, past_key_values=cache, decoder_attention_mask=mask
        )
        cache, found = output.past_key_values, [*found, output.last_hidden_state[:, 0]]
    np.testing.assert_allclose(np.stack(found, 1)[1], whole[1], atol=1e-5)
    np.testing.assert_allclose(np.stack(found, 1)[0, 1:], whole[0, 1:], atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_of_16_bits(dtype):
    """Parameters and logits stay float32; the numbers are close to those of float32."""
    exact = FlaxPegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")
    rough = FlaxPegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model", dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(rough.params)} == {jnp.dtype("float32")}
    found, expected = (np.asarray(one(IDS).logits) for one in (rough, exact))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < (0.3 if dtype == "bfloat16" else 0.03)


def test_float16_does_not_overflow():
    """The checkpoint whose residual leaves the range of float16 says in it what it says in float32."""
    exact = FlaxPegasusForConditionalGeneration.from_pretrained(GOLDEN / "overflow-model")
    half = FlaxPegasusForConditionalGeneration.from_pretrained(GOLDEN / "overflow-model", dtype=jnp.float16)
    vocabulary = exact.config.vocab_size
    ids = np.random.default_rng(0).integers(4, vocabulary, (2, 12))
    states = exact.encode(ids, output_hidden_states=True).hidden_states
    assert max(float(jnp.abs(one).max()) for one in states) > 65_504
    found, expected = (np.asarray(one(ids).logits) for one in (half, exact))
    assert np.isfinite(found).all()
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.9


def test_every_activation_is_that_of_pytorch():
    values = np.linspace(-12, 12, 4801, dtype=np.float32)
    assert set(ACTIVATIONS) == set(TORCH) == set(NAMED)
    for name, activation in ACTIVATIONS.items():
        expected = TORCH[name](torch.from_numpy(values)).numpy()
        np.testing.assert_allclose(activation(values), expected, atol=2e-6, rtol=2e-6, err_msg=name)


TWO_DEVICES = """
import jax, numpy as np
from functools import partial
from jax.sharding import Mesh, PartitionSpec as P
from pegasus import FlaxPegasusModel, PegasusConfig
sizes = dict(vocab_size=31, d_model=8, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=12)
sizes |= dict(decoder_ffn_dim=12, encoder_attention_heads=2, decoder_attention_heads=2, init_std=0.3)
model = FlaxPegasusModel(PegasusConfig(**sizes, max_position_embeddings=16))
ids = np.array([[5, 9, 7, 1], [6, 3, 1, 0], [8, 2, 4, 1], [7, 7, 7, 1]])
def states(params, ids):
    return model(ids, params=params).last_hidden_state
expected = np.asarray(states(model.params, ids))
each = jax.pmap(states, in_axes=(None, 0))(model.params, ids.reshape(2, 2, 4))
np.testing.assert_allclose(np.asarray(each).reshape(expected.shape), expected, atol=1e-5)
mesh = Mesh(np.array(jax.devices()), ("data",))
shared = jax.shard_map(states, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"))
found = jax.jit(shared)(model.params, ids)
assert len(found.sharding.device_set) == 2
np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)
from pegasus import FlaxPegasusForConditionalGeneration
from pegasus.backends.jax.model.sharding import tensor_shardings
model = FlaxPegasusForConditionalGeneration(PegasusConfig(**sizes, max_position_embeddings=16))
logits = np.asarray(model(ids).logits)
settings = dict(num_beams=2, max_length=9, min_length=8)
said = [np.asarray(model.generate(ids, trace=trace, **settings).sequences) for trace in (True, False)]
shardings = tensor_shardings(model.config, "conditional", Mesh(np.array(jax.devices()), ("model",)))
model.params = jax.device_put(model.params, shardings)
layer = model.params["model"]["decoder"]["layers"]["0"]
shapes = lambda array: {shard.data.shape for shard in array.addressable_shards}
assert shapes(layer["self_attn"]["q_proj"]["kernel"]) == {(8, 4)}
assert shapes(layer["encoder_attn"]["v_proj"]["kernel"]) == {(8, 4)}
assert shapes(layer["self_attn"]["q_proj"]["bias"]) == {(4,)}
assert shapes(layer["self_attn"]["out_proj"]["kernel"]) == {(4, 8)}
assert (shapes(layer["fc1"]["kernel"]), shapes(layer["fc2"]["kernel"])) == ({(8, 6)}, {(6, 8)})
assert shapes(layer["final_layer_norm"]["scale"]) == {(8,)}
assert shapes(model.params["model"]["shared"]["embedding"]) == {(31, 4)}
np.testing.assert_allclose(model(ids).logits, logits, atol=1e-5)
for trace, words in zip((True, False), said):
    np.testing.assert_array_equal(model.generate(ids, trace=trace, **settings).sequences, words)
"""


def test_pmap_shard_map_and_tensor_parallelism():
    """Rows over two devices of the host by either, and parameters by ``tensor_shardings``."""
    flags = "--xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
