"""Wrong calls get a sentence that says what is wrong, what was found and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from pegasus.errors import BadSetting


def ids(room, *shape):
    return room.native(np.full(shape, 5))


def test_no_decoder_input(room, relu, models):
    with pytest.raises(ValueError, match=r"decoder_input_ids.*decoder_inputs_embeds.*labels"):
        room.call(models(room, relu), input_ids=ids(room, 1, 3))


def test_no_input(room, relu, models):
    with pytest.raises(BadSetting, match="either input_ids or inputs_embeds: neither came"):
        room.call(models(room, relu).get_encoder())


def test_two_inputs(room, relu, models):
    embeds = room.native(np.zeros((1, 3, 16), np.float32))
    with pytest.raises(BadSetting, match="both came"):
        room.call(models(room, relu).get_encoder(), input_ids=ids(room, 1, 3), inputs_embeds=embeds)


def test_head_masks_of_the_wrong_size(room, relu, models):
    model = models(room, relu)
    given = {"input_ids": ids(room, 1, 3), "decoder_input_ids": ids(room, 1, 2)}
    for name, layers, heads in (
        ("head_mask", 2, 2),
        ("decoder_head_mask", 3, 4),
        ("cross_attn_head_mask", 3, 4),
    ):
        with pytest.raises(BadSetting, match=f"has {layers + 1} rows; it must have one a layer, {layers}"):
            room.call(model, **given, **{name: room.native(np.ones((layers + 1, heads), np.float32))})
        with pytest.raises(BadSetting, match=rf"one entry a head is needed, \({heads},\)"):
            room.call(model, **given, **{name: room.native(np.ones((layers, heads + 1), np.float32))})


def test_a_decoder_mask_that_does_not_cover_the_cache(room, relu, models):
    model = models(room, relu)
    past = room.call(model, input_ids=ids(room, 1, 3), decoder_input_ids=ids(room, 1, 4)).past_key_values
    with pytest.raises(BadSetting, match="covers 1 tokens; there are 4 earlier and 1 new"):
        room.call(
            model,
            input_ids=ids(room, 1, 3),
            decoder_input_ids=ids(room, 1, 1),
            decoder_attention_mask=ids(room, 1, 1),
            past_key_values=past,
        )


def test_a_model_is_made_from_a_configuration(room, models):
    with pytest.raises(BadSetting, match="from a PegasusConfig, not from dict"):
        models.fresh(room, "bare", {"d_model": 16})


@pytest.mark.parametrize("part", ["get_encoder", "get_decoder"])
@pytest.mark.parametrize("place", ["part", "whole"])
def test_a_part_alone_is_saved_and_loaded(part, place, room, relu, models, tmp_path):
    """From its own folder, and from that of the model that holds it."""
    stack = getattr(models(room, relu), part)()
    stack.save_pretrained(tmp_path / "part")
    folder = tmp_path / "part" if place == "part" else models.place(relu)
    again, info = type(stack).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    first, second = room.weights(stack), room.weights(again)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)
