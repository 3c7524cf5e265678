"""The small methods of the model classes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

KINDS = ("bare", "conditional", "causal")


def test_decoder_input_from_labels(room, relu, models):
    labels = np.array([[7, 8, 1, -100, -100], [9, 0, 1, -100, 5]])
    made = models(room, relu).prepare_decoder_input_ids_from_labels(room.native(labels))
    np.testing.assert_array_equal(room.numpy(made), [[0, 7, 8, 1, 0], [0, 9, 0, 1, 0]])
    other = models(room, relu, decoder_start_token_id=3, pad_token_id=2)
    made = other.prepare_decoder_input_ids_from_labels(room.native(labels))
    np.testing.assert_array_equal(room.numpy(made), [[3, 7, 8, 1, 2], [3, 9, 0, 1, 2]])


def test_the_given_labels_stay_as_they_are(room, relu, models):
    labels = relu.input("labels").copy()
    given = room.native(labels)
    names = ("input_ids", "attention_mask")
    room.call(models(room, relu), **{name: room.native(relu.input(name)) for name in names}, labels=given)
    np.testing.assert_array_equal(room.numpy(given), relu.input("labels"))


@pytest.mark.parametrize("kind", ["bare", "conditional"])
def test_dummy_inputs_go_through(kind, room, relu, models):
    model = models(room, relu, kind)
    output = room.call(model, **model.dummy_inputs)
    assert output[0].shape[:2] == model.dummy_inputs["decoder_input_ids"].shape


def test_encoder_and_decoder_are_parts_not_copies(room, relu, models):
    bare, conditional = models(room, relu, "bare"), models(room, relu)
    assert bare.get_encoder() is bare.encoder
    assert bare.get_decoder() is bare.decoder
    assert conditional.get_encoder() is conditional.model.encoder
    assert conditional.get_decoder() is conditional.model.decoder


def test_a_causal_model_may_get_another_decoder(room, relu, models, close):
    causal, bare = models(room, relu, "causal"), models(room, relu, "bare")
    room.set_weights(bare, lambda name, array: array * 1.1 if "layers" in name else array)
    causal.set_decoder(bare.get_decoder())
    assert causal.get_decoder() is bare.get_decoder()
    ids = room.native(relu.input("decoder_input_ids"))
    plain = room.call(models(room, relu, "causal"), input_ids=ids)
    assert (
        np.abs(room.numpy(room.call(causal, input_ids=ids).logits) - room.numpy(plain.logits)).max() > 1e-3
    )


def test_a_causal_model_says_that_it_is_a_decoder_and_leaves_the_given_configuration_alone(
    room, relu, models
):
    config = relu.config()
    model = models.fresh(room, "causal", config)
    assert (model.config.is_decoder, model.config.is_encoder_decoder) == (True, False)
    assert (config.is_decoder, config.is_encoder_decoder) == (False, True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_is_in_evaluation_mode_and_a_made_one_is_not_shared(kind, room, relu, models):
    one, other = models(room, relu, kind), models(room, relu, kind)
    assert not one.training
    assert one.config is not other.config
    room.set_weights(one, lambda name, array: array * 0)
    assert any(array.any() for array in room.weights(other).values())


@pytest.mark.parametrize("kind", KINDS)
def test_forward_is_described(kind, room, relu, models):
    """Every argument has a name, a default of None, and the method a docstring."""
    forward = type(models(room, relu, kind)).forward
    assert inspect.getdoc(forward)
    for parameter in list(inspect.signature(forward).parameters.values())[1:]:
        assert parameter.default is None


def test_inputs_of_other_integer_types(room, relu, models, close):
    """Loaders make int32; embeddings of every framework take it."""
    model = models(room, relu)
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    wide, narrow = (
        room.call(model, **{name: room.native(relu.input(name).astype(kind)) for name in names}).logits
        for kind in (np.int64, np.int32)
    )
    close(room.numpy(narrow), room.numpy(wide), tolerance=0)


def test_labels_of_32_bits(room, relu, models, close):
    model = models(room, relu)
    names = ("input_ids", "attention_mask", "labels")
    output = room.call(model, **{name: room.native(relu.input(name).astype(np.int32)) for name in names})
    close(room.numpy(output.loss), relu.answers("labels")["loss"])
