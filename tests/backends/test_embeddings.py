"""Everything that changes the shape of a model: vocabulary, tying, replaced embeddings, pruned heads."""

from __future__ import annotations

import numpy as np
import pytest

from pegasus.errors import BadSetting
from pegasus.spec.parameters import parameters


def asked(golden, room):
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    return {name: room.native(golden.input(name)) for name in names}


def test_growing_the_vocabulary(room, golden, models, close):
    model = models(room, golden)
    old = golden.fields["vocab_size"]
    before = room.numpy(room.call(model, **asked(golden, room)).logits)
    returned = model.resize_token_embeddings(old + 9)
    assert returned is model.get_input_embeddings()
    assert model.config.vocab_size == old + 9
    after = room.numpy(room.call(model, **asked(golden, room)).logits)
    assert after.shape[-1] == old + 9
    close(after[..., :old], before, tolerance=1e-6)
    weights = room.weights(model)
    assert weights["model.shared.weight"][old:].any(axis=1).all(), "new rows are drawn, not zero"
    assert not weights["model.shared.weight"][0].any(), "the row of padding stays zero"
    assert weights["final_logits_bias"].shape == (1, old + 9)
    assert not weights["final_logits_bias"][:, old:].any()
    close(weights["final_logits_bias"][:, :old], golden.weights["final_logits_bias"], tolerance=0)
    assert {n: a.shape for n, a in weights.items()} == {
        n: leaf.shape for n, leaf in parameters(model.config, "conditional").items()
    }


def test_shrinking_the_vocabulary(room, golden, models, close):
    model = models(room, golden)
    few = golden.fields["vocab_size"] - 6
    given = {k: room.native(golden.input(k) % few) for k in ("input_ids", "decoder_input_ids")}
    before = room.numpy(room.call(model, **given).logits)
    model.resize_token_embeddings(few)
    after = room.numpy(room.call(model, **given).logits)
    assert model.config.vocab_size == few
    close(after, before[..., :few], tolerance=1e-6)


@pytest.mark.parametrize("kind", ["bare", "causal"])
def test_resizing_the_other_models(kind, room, relu, models):
    model = models(room, relu, kind)
    model.resize_token_embeddings(50)
    found = {n: a.shape for n, a in room.weights(model).items()}
    assert found == {n: leaf.shape for n, leaf in parameters(model.config, kind).items()}
    assert model.get_input_embeddings().weight.shape[0] == 50


def test_rounding_and_leaving_the_vocabulary(room, relu, models):
    model = models(room, relu)
    assert model.resize_token_embeddings(pad_to_multiple_of=16).weight.shape[0] == 48
    assert model.resize_token_embeddings(49, pad_to_multiple_of=16).weight.shape[0] == 64
    assert model.resize_token_embeddings().weight.shape[0] == 64
    with pytest.raises(BadSetting, match="0 tokens"):
        model.resize_token_embeddings(0)


def test_a_resized_model_is_saved_and_loaded(room, relu, models, close, tmp_path):
    model = models(room, relu)
    model.resize_token_embeddings(47)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert again.config.vocab_size == 47
    for name, array in room.weights(model).items():
        close(room.weights(again)[name], array, name, tolerance=0)


def test_a_resized_model_still_learns_every_row(room, relu, models):
    model = models(room, relu)
    model.resize_token_embeddings(45)
    given = {k: room.native(relu.input(k)) for k in ("input_ids", "attention_mask")}
    labels = np.where(relu.input("labels") == -100, -100, 44)
    _, gradients = room.gradients(model, **given, labels=room.native(labels))
    assert np.abs(gradients["model.shared.weight"][41:]).max(axis=1).min() > 0


def test_tying_is_by_identity(room, golden, models):
    model = models(room, golden)
    table = model.get_input_embeddings().weight
    assert model.get_output_embeddings().weight is table
    assert model.get_encoder().get_input_embeddings().weight is table
    assert model.get_decoder().get_input_embeddings().weight is table
    causal = models(room, golden, "causal")
    assert causal.get_output_embeddings().weight is causal.get_input_embeddings().weight
    assert models(room, golden, "bare").get_output_embeddings() is None


def test_an_untied_head_has_its_own_weights(room, relu, models, close, tmp_path):
    config = relu.config(tie_word_embeddings=False)
    model = models.fresh(room, "conditional", config)
    weights = room.weights(model)
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    assert np.abs(weights["lm_head.weight"] - weights["model.shared.weight"]).max() > 1e-3
    model.resize_token_embeddings(44)
    assert room.weights(model)["lm_head.weight"].shape == (44, 16)
    model.save_pretrained(tmp_path)
    again = room.weights(type(model).from_pretrained(tmp_path))
    for name, array in room.weights(model).items():
        close(again[name], array, name, tolerance=0)


def test_replaced_input_embeddings_are_used_on_both_sides(room, relu, models, close):
    model, other = models(room, relu), models(room, relu)
    room.set_weights(other, lambda name, array: array * 1.5 if "shared" in name else array)
    model.set_input_embeddings(other.get_input_embeddings())
    assert model.get_input_embeddings() is other.get_input_embeddings()
    model.tie_weights()
    expected = room.call(other, **asked(relu, room)).logits
    close(room.numpy(room.call(model, **asked(relu, room)).logits), room.numpy(expected))


def test_replaced_output_embeddings(room, relu, models, close):
    model, other = (
        models(room, relu),
        models.fresh(room, "conditional", relu.config(tie_word_embeddings=False)),
    )
    before = room.call(model, **asked(relu, room), output_hidden_states=True)
    model.set_output_embeddings(other.get_output_embeddings())
    after = room.numpy(room.call(model, **asked(relu, room)).logits)
    states = room.numpy(before.decoder_hidden_states[-1])
    expected = states @ room.weights(other)["lm_head.weight"].T + relu.weights["final_logits_bias"]
    close(after, expected)


def test_the_start_embedding_is_zero(room, golden, models, close):
    """The decoder starts from padding, whose row is zero, so its first state is the position alone."""
    output = room.call(models(room, golden), **asked(golden, room), output_hidden_states=True)
    first = room.numpy(output.decoder_hidden_states[0])[:, 0]
    close(first, np.broadcast_to(golden.expected["positions"][0], first.shape))


PRUNED = {("encoder", 0): [1], ("decoder", 1): [0, 2], ("cross", 0): [3], ("cross", 2): [0, 1]}


def masked(golden):
    """Head masks that switch the same heads off."""
    config = golden.fields
    encoder = np.ones((config["encoder_layers"], config["encoder_attention_heads"]), np.float32)
    decoder, cross = (
        np.ones((config["decoder_layers"], config["decoder_attention_heads"]), np.float32) for _ in "12"
    )
    table = {"encoder": encoder, "decoder": decoder, "cross": cross}
    for (part, layer), heads in PRUNED.items():
        table[part][layer, heads] = 0
    return {"head_mask": encoder, "decoder_head_mask": decoder, "cross_attn_head_mask": cross}


def test_a_pruned_head_is_one_masked_to_zero(room, relu, models, close):
    model = models(room, relu)
    masks = {name: room.native(mask) for name, mask in masked(relu).items()}
    expected = room.numpy(room.call(model, **asked(relu, room), **masks).logits)
    model.prune_heads(PRUNED)
    output = room.call(model, **asked(relu, room), output_attentions=True)
    close(room.numpy(output.logits), expected)
    assert [a.shape[1] for a in output.encoder_attentions] == [1, 2]
    assert [a.shape[1] for a in output.decoder_attentions] == [4, 2, 4]
    assert [a.shape[1] for a in output.cross_attentions] == [3, 4, 2]


def test_pruning_twice_names_heads_as_they_were(room, relu, models, close):
    one, two = models(room, relu), models(room, relu)
    one.prune_heads({("decoder", 0): [1, 3]})
    two.prune_heads({("decoder", 0): [1]})
    two.prune_heads({("decoder", 0): [3]})
    assert one.config.pruned_heads == two.config.pruned_heads
    close(*(room.numpy(room.call(m, **asked(relu, room)).logits) for m in (one, two)), tolerance=0)


def test_a_pruned_model_is_saved_and_loaded(room, relu, models, close, tmp_path):
    model = models(room, relu)
    model.prune_heads(PRUNED)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert again.config.pruned_heads == model.config.pruned_heads
    close(*(room.numpy(room.call(m, **asked(relu, room)).logits) for m in (model, again)), tolerance=0)


def test_a_layer_number_means_the_encoder_and_in_a_causal_model_the_decoder(room, relu, models):
    model = models(room, relu)
    model.prune_heads({1: [0]})
    assert model.get_encoder().layers[1].self_attn.num_heads == 1
    causal = models(room, relu, "causal")
    causal.prune_heads({2: [0]})
    assert causal.get_decoder().layers[2].self_attn.num_heads == 3


@pytest.mark.parametrize(
    ("heads", "words"),
    [
        ({0: [2]}, "heads \\[2\\] of encoder.0"),
        ({9: [0]}, "9 is no attention"),
        ({("middle", 0): [0]}, "no attention"),
        ({0: [0, 1]}, "leave at least one"),
    ],
)
def test_what_cannot_be_pruned(heads, words, room, relu, models):
    with pytest.raises(BadSetting, match=words):
        models(room, relu).prune_heads(heads)
