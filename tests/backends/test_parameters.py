"""What a model holds is exactly what ``spec.parameters`` says; fresh weights are what they should be."""

from __future__ import annotations

import numpy as np
import pytest

from pegasus import PegasusConfig
from pegasus.spec.parameters import parameters
from pegasus.spec.positions import sinusoid_table

SMALL = {
    "vocab_size": 61,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 18,
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["bare", "conditional", "causal"])
def test_names_and_shapes_are_the_spec(kind, tied, room, models):
    config = PegasusConfig(**SMALL, tie_word_embeddings=tied)
    weights = room.weights(models.fresh(room, kind, config))
    found = {name: array.shape for name, array in weights.items()}
    assert found == {name: leaf.shape for name, leaf in parameters(config, kind).items()}


def test_the_golden_weights_are_all_of_them(golden):
    """transformers' own names, so that the two tests above and below are about the same thing."""
    spec = {
        name
        for name, leaf in parameters(golden.config(), "conditional").items()
        if leaf.kind != "positions"
    }
    assert set(golden.weights) == spec


def test_fresh_weights(room, models):
    config = PegasusConfig(**SMALL | {"d_model": 64, "encoder_ffn_dim": 256}, init_std=0.05)
    weights = room.weights(models.fresh(room, "conditional", config))
    spec = parameters(config, "conditional")
    for name, array in weights.items():
        kind = spec[name].kind
        if kind in ("bias", "shift", "logits_bias"):
            assert not array.any(), name
        elif kind == "scale":
            assert (array == 1).all(), name
        elif kind == "positions":
            np.testing.assert_array_equal(array, sinusoid_table(*array.shape))
        else:
            assert array.std() == pytest.approx(0.05, rel=0.15), name
            assert abs(array.mean()) < 0.01, name
    embedding = weights["model.shared.weight"]
    assert not embedding[config.pad_token_id].any()
    assert embedding[1:].any(axis=1).all()


def test_two_fresh_models_differ(room, models):
    config = PegasusConfig(**SMALL)
    one, other = (room.weights(models.fresh(room, "bare", config)) for _ in range(2))
    assert any((one[name] != other[name]).any() for name in one)


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_new", "silu", "swish", "tanh"])
def test_every_activation_that_the_configuration_allows(activation, room, models):
    config = PegasusConfig(**SMALL, activation_function=activation)
    output = room.call(
        models.fresh(room, "bare", config),
        input_ids=room.native(np.array([[5, 1]])),
        decoder_input_ids=room.native(np.array([[0, 4]])),
    )
    assert np.isfinite(room.numpy(output[0])).all()
