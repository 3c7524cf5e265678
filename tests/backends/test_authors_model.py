"""The authors' model, written out in NumPy from its description, against a reading of the spec.

Two layers on each side, float64 here and float32 there; positions by their table, epsilon 1e-12, and a
decoder that starts from a vector of zeros.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pegasus import PegasusConfig, PegasusForConditionalGeneration
from pegasus.spec.positions import sinusoid_table

WIDTH, HEADS, VOCABULARY = 8, 2, 40
FIELDS = {
    "vocab_size": VOCABULARY, "d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS, "max_position_embeddings": 16, "activation_function": "relu",
    "scale_embedding": True, "layer_norm_eps": 1e-12, "position_table": "authors", "dropout": 0.0,
}  # fmt: skip
SOURCE = np.array([[5, 9, 17, 33, 1], [8, 21, 1, 0, 0]])
TARGET = np.array([[7, 30, 12, 1], [25, 6, 1, 0]])


class Plain:
    """The forward pass of a checkpoint: weights by name, texts in rows."""

    def __init__(self, weights):
        self.weights = {name: tensor.double().numpy() for name, tensor in weights.items()}

    def norm(self, states, name):
        centred = states - states.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def linear(self, states, name, biased):
        product = states @ self.weights[f"{name}.weight"].T
        return product + self.weights[f"{name}.bias"] if biased else product

    def attend(self, asking, memory, bias, name):
        def heads(states, which):
            projected = self.linear(states, f"{name}.{which}_proj", biased=False)
            return projected.reshape(*states.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)

        queries = heads(asking, "q") * (WIDTH // HEADS) ** -0.5
        scores = queries @ heads(memory, "k").transpose(0, 1, 3, 2) + bias
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        found = shares / shares.sum(-1, keepdims=True) @ heads(memory, "v")
        joined = found.transpose(0, 2, 1, 3).reshape(asking.shape)
        return self.linear(joined, f"{name}.out_proj", biased=False)

    def feed_forward(self, states, layer):
        inner = self.linear(self.norm(states, f"{layer}.final_layer_norm"), f"{layer}.fc1", biased=True)
        return states + self.linear(np.maximum(inner, 0), f"{layer}.fc2", biased=True)

    def positions(self, length):
        return sinusoid_table(length, WIDTH, "authors").astype(np.float64)

    def logits(self, source, target):
        """What each step of the target thinks of every token, [B, T, V]."""
        table = self.weights["model.shared.weight"]
        least = np.finfo(np.float32).min
        unseen = np.where(source == 0, least, 0.0)[:, None, None, :]
        states = table[source] * WIDTH**0.5 + self.positions(source.shape[1])
        for layer in (f"model.encoder.layers.{i}" for i in range(2)):
            normed = self.norm(states, f"{layer}.self_attn_layer_norm")
            states = states + self.attend(normed, normed, unseen, f"{layer}.self_attn")
            states = self.feed_forward(states, layer)
        memory = self.norm(states, "model.encoder.layer_norm")
        future = np.triu(np.full((target.shape[1],) * 2, least), 1)
        embedded = table[target] * WIDTH**0.5
        shifted = np.concatenate([np.zeros_like(embedded[:, :1]), embedded[:, :-1]], 1)
        states = shifted + self.positions(target.shape[1])
        for layer in (f"model.decoder.layers.{i}" for i in range(2)):
            normed = self.norm(states, f"{layer}.self_attn_layer_norm")
            states = states + self.attend(normed, normed, future, f"{layer}.self_attn")
            normed = self.norm(states, f"{layer}.encoder_attn_layer_norm")
            states = states + self.attend(normed, memory, unseen, f"{layer}.encoder_attn")
            states = self.feed_forward(states, layer)
        return self.norm(states, "model.decoder.layer_norm") @ table.T


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = PegasusForConditionalGeneration(PegasusConfig(**FIELDS)).eval()
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if "embed_positions" in name:
                continue
            # As the authors: no bias in attention. Norms and feed-forward get numbers that matter.
            tensor.zero_() if "_attn." in name and name.endswith("bias") else tensor.normal_(0, 0.4)
        made.model.shared.weight[0] = 0  # of padding, which is the token the decoder starts from
    return made


def given(source, target):
    start = np.concatenate([np.zeros_like(target[:, :1]), target[:, :-1]], 1)
    return {
        "input_ids": torch.from_numpy(source),
        "attention_mask": torch.from_numpy((source != 0).astype(np.int64)),
        "decoder_input_ids": torch.from_numpy(start),
    }


def test_logits_are_those_of_the_description(model):
    with torch.no_grad():
        found = model(**given(SOURCE, TARGET)).logits.numpy()
    expected = Plain(model.state_dict()).logits(SOURCE, TARGET)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_step_by_step_with_a_cache_they_are_the_same(model):
    whole = given(SOURCE, TARGET)
    start, past, steps = whole.pop("decoder_input_ids"), None, []
    with torch.no_grad():
        for place in range(start.shape[1]):
            step = model(
                **whole,
                decoder_input_ids=start[:, place : place + 1],
                past_key_values=past,
                use_cache=True,
            )
            past = step.past_key_values
            steps.append(step.logits.numpy())
    expected = Plain(model.state_dict()).logits(SOURCE, TARGET)
    np.testing.assert_allclose(np.concatenate(steps, 1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("place", range(4))
def test_a_target_token_changes_only_what_comes_after_it(model, place):
    other = TARGET.copy()
    other[:, place] = 38
    with torch.no_grad():
        one, two = (model(**given(SOURCE, target)).logits.numpy() for target in (TARGET, other))
    np.testing.assert_array_equal(one[:, : place + 1], two[:, : place + 1])
    if place < 3:
        assert (one[:, place + 1] != two[:, place + 1]).any()


def test_the_first_step_does_not_look_at_the_row_of_padding(model):
    plain = Plain(model.state_dict())
    first = plain.logits(SOURCE[:1], TARGET[:1])[:, 0, 1:]  # the source of the first text has no padding
    plain.weights["model.shared.weight"][0] = 3.0
    np.testing.assert_array_equal(plain.logits(SOURCE[:1], TARGET[:1])[:, 0, 1:], first)
    with torch.no_grad():
        found = model(**given(SOURCE[:1], TARGET[:1])).logits[:, 0, 1:].numpy()
    np.testing.assert_allclose(found, first, atol=1e-5, rtol=0)
