"""Positions: two tables, no end, and a table that can be resized."""

from __future__ import annotations

import numpy as np
import pytest

from pegasus import PegasusConfig
from pegasus.errors import BadSetting
from pegasus.spec.positions import sinusoid_table


def logits(room, model, length, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, model.config.vocab_size, (2, length))
    asked = {"input_ids": room.native(ids), "decoder_input_ids": room.native(ids)}
    return room.numpy(room.call(model, **asked).logits)


def test_input_beyond_the_table(room, golden, models, close):
    """transformers ends in a bare index error here; the sinusoid has no end."""
    end = golden.fields["max_position_embeddings"]
    expected = logits(room, models(room, golden, max_position_embeddings=3 * end), 2 * end + 3)
    close(logits(room, models(room, golden), 2 * end + 3), expected)


def test_decoding_step_by_step_beyond_the_table(room, relu, models, close):
    model = models(room, relu, max_position_embeddings=8)
    ids = room.native(np.random.default_rng(1).integers(2, 41, (1, 12)))
    source = {"input_ids": ids}
    whole = room.numpy(room.call(model, **source, decoder_input_ids=ids).logits)
    past = room.call(model, **source, decoder_input_ids=ids[:, :7]).past_key_values
    for at in range(7, 12):
        output = room.call(model, **source, decoder_input_ids=ids[:, at : at + 1], past_key_values=past)
        past = output.past_key_values
        close(room.numpy(output.logits)[:, 0], whole[:, at], f"position {at}")


@pytest.mark.parametrize("count", [7, 50])
def test_resizing_the_table(count, room, golden, models, close):
    model = models(room, golden)
    before = logits(room, model, 6)
    model.resize_position_embeddings(count)
    assert model.config.max_position_embeddings == count
    for table in model.get_position_embeddings():
        close(room.numpy(table.weight), sinusoid_table(count, golden.fields["d_model"]), tolerance=0)
    close(logits(room, model, 6), before, tolerance=0)


def test_a_resized_table_is_saved_and_loaded(room, relu, models, close, tmp_path):
    model = models(room, relu)
    model.resize_position_embeddings(70)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert again.config.max_position_embeddings == 70
    assert again.get_position_embeddings()[0].weight.shape == (70, 16)
    close(logits(room, again, 60), logits(room, model, 60), tolerance=0)


def test_a_table_of_no_positions_is_refused(room, relu, models):
    with pytest.raises(BadSetting, match="0 positions"):
        models(room, relu).resize_position_embeddings(0)


def test_the_authors_table_is_a_switch(room, relu, models, close, tmp_path):
    model = models(room, relu, position_table="authors")
    for table in model.get_position_embeddings():
        close(room.numpy(table.weight), sinusoid_table(24, 16, "authors"), tolerance=0)
    expected = logits(room, model, 30)
    assert np.abs(expected - logits(room, models(room, relu), 30)).max() > 1e-2
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert again.config.position_table == "authors"
    close(logits(room, again, 30), expected, tolerance=0)


def test_layer_norm_eps_is_a_switch(room, relu, models):
    """Tiny at ordinary sizes, so it is tried where it shows: a large eps."""
    plain = logits(room, models(room, relu), 5)
    assert np.abs(logits(room, models(room, relu, layer_norm_eps=1e-12), 5) - plain).max() < 1e-2
    assert np.abs(logits(room, models(room, relu, layer_norm_eps=1.0), 5) - plain).max() > 1e-2


def test_positions_are_counted_from_the_first_column(room, relu, models, close):
    """A pad has a position too: the same text further right is another input."""
    model = models(room, relu)
    ids = relu.input("input_ids")[:1, :6]
    target = room.native(np.array([[0, 5, 9]]))
    moved = {
        "input_ids": np.pad(ids, ((0, 0), (2, 0))),
        "attention_mask": np.pad(np.ones_like(ids), ((0, 0), (2, 0))),
    }
    one = room.call(model, input_ids=room.native(ids), decoder_input_ids=target)
    other = room.call(model, **{k: room.native(v) for k, v in moved.items()}, decoder_input_ids=target)
    assert np.abs(room.numpy(one.logits) - room.numpy(other.logits)).max() > 1e-3


def test_a_fresh_model_has_the_table_of_its_configuration(room, models, close):
    config = PegasusConfig(
        vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=6,
        position_table="authors",
    )  # fmt: skip
    for table in models.fresh(room, "bare", config).get_position_embeddings():
        close(room.numpy(table.weight), sinusoid_table(6, 8, "authors"), tolerance=0)
