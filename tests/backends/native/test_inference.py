"""The native engine against the plain modules: encoder states, and logits step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pegasus.backends import native
from pegasus.errors import BadSetting

#: How far logits (of size about 10) may be from those of the plain modules in float32.
TOLERANCE = {"float32": 2e-5, "float16": 0.02, "bfloat16": 0.15, "int8": 0.4}
#: Head widths 8, 9 (with padding inside a head) and 32 (each thread does whole heads).
SHAPES: dict[str, dict[str, Any]] = {
    "narrow": {},
    "odd": {"d_model": 27, "activation_function": "gelu"},
    "wide": {
        "d_model": 128,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 160,
        "decoder_ffn_dim": 96,
        "vocab_size": 1111,
        "init_std": 0.1,
    },
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", TOLERANCE)
def test_encoder_states_equal_those_of_the_plain_modules(building: Any, shape: str, kind: str) -> None:
    model, engine = building.make(kind, **SHAPES[shape])
    ids, offsets = building.texts(model)
    np.testing.assert_allclose(
        engine.encode(ids, offsets), building.encoded(model, ids, offsets), rtol=0, atol=TOLERANCE[kind] / 2
    )


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_new", "silu", "swish", "tanh"])
def test_every_activation(building: Any, activation: str) -> None:
    model, engine = building.make(activation_function=activation)
    ids, offsets = building.texts(model)
    np.testing.assert_allclose(
        engine.encode(ids, offsets), building.encoded(model, ids, offsets), rtol=0, atol=1e-5
    )


def test_many_texts_are_encoded_some_at_a_time(building: Any) -> None:
    model, engine = building.make(max_position_embeddings=700)
    ids, offsets = building.texts(model, (600, 500, 40, 650, 1, 2, 699))
    np.testing.assert_allclose(
        engine.encode(ids, offsets), building.encoded(model, ids, offsets), rtol=0, atol=2e-5
    )


@torch.no_grad()
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", TOLERANCE)
def test_steps_equal_whole_passes_of_the_plain_modules(
    building: Any, shape: str, kind: str, threads: int
) -> None:
    model, engine = building.make(kind, threads, **SHAPES[shape])
    ids, offsets = building.texts(model)
    states = building.encoded(model, ids, offsets)
    decoding, reference = engine.open(states, offsets), building.Reference(model, states, offsets)
    for turn in building.conversation(model.config.vocab_size):
        logits, hidden = building.ask(decoding, turn)
        expected, expected_hidden = reference.step(**turn)
        np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE[kind])
        np.testing.assert_allclose(hidden, expected_hidden, rtol=0, atol=TOLERANCE[kind])
        assert decoding.length == len(reference.history[0])


@torch.no_grad()
def test_a_cache_that_outgrows_its_first_chunks(building: Any) -> None:
    """More than 256 words in all and more than 64 positions: new chunks of the cache, longer lines."""
    model, engine = building.make(max_position_embeddings=120)
    ids, offsets = building.texts(model, (9, 4))
    states = building.encoded(model, ids, offsets)
    decoding, reference = engine.open(states, offsets), building.Reference(model, states, offsets)
    rng = np.random.default_rng(5)
    for step in range(90):
        parents = None if step == 0 else np.concatenate([rng.integers(0, 3, 3), rng.integers(3, 6, 3)])
        tokens = rng.integers(0, 97, (6, 1))
        decoding.step(tokens, parents)
        old = [[] for _ in range(6)] if parents is None else [reference.history[p] for p in parents]
        reference.history = [[*row, int(new)] for row, (new,) in zip(old, tokens)]
    logits, _ = building.ask(decoding, {"tokens": tokens})
    expected, _ = reference.step(tokens)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=3e-5)
    assert decoding.bytes > 0


@torch.no_grad()
def test_the_last_word_of_a_row_is_that_of_the_row_alone(building: Any) -> None:
    """Rows and texts beside it change nothing in float32, not even the last bit."""
    model, engine = building.make(**SHAPES["wide"])
    ids, offsets = building.texts(model)
    states = building.encoded(model, ids, offsets)
    together = engine.open(states, offsets)
    words = np.random.default_rng(2).integers(0, 1111, (4, 6))
    together.step(words)
    alone = engine.open(states[offsets[1] : offsets[2]], np.array([0, 33]))
    for word in words[1]:
        alone.step(np.array([[word]]))
    np.testing.assert_allclose(alone.scores().view()[0], together.scores().view()[1], rtol=0, atol=2e-5)


@torch.no_grad()
def test_a_decoder_that_stands_alone(building: Any) -> None:
    model, engine = building.make()
    words = np.random.default_rng(2).integers(0, 97, (3, 5))
    expected = model.get_decoder()(torch.from_numpy(words))[0].numpy()
    hidden = engine.open(None, None).step(words, hidden=True)
    assert hidden is not None
    np.testing.assert_allclose(hidden, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_layers_may_have_lost_heads(building: Any) -> None:
    model, _ = building.make()
    model.get_decoder().layers[1].self_attn.prune_heads([0])
    model.get_decoder().layers[2].encoder_attn.prune_heads([1, 2])
    model.get_encoder().layers[0].self_attn.prune_heads([2])
    engine = building.start(model)
    ids, offsets = building.texts(model)
    states = building.encoded(model, ids, offsets)
    np.testing.assert_allclose(engine.encode(ids, offsets), states, rtol=0, atol=1e-5)
    decoding, reference = engine.open(states, offsets), building.Reference(model, states, offsets)
    for turn in building.conversation(97):
        np.testing.assert_allclose(
            building.ask(decoding, turn)[0], reference.step(**turn)[0], rtol=0, atol=2e-5
        )


@torch.no_grad()
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "int8"])
def test_a_residual_beyond_float16_stays_finite(building: Any, kind: str) -> None:
    """A residual of 7e4 has been seen in checkpoints of 16 layers; float16 ends at 65,504."""
    model, _ = building.make()
    for stack in (model.get_encoder(), model.get_decoder()):
        stack.layers[0].fc2.bias[5] += 7.3e4
    engine = building.start(model, kind)
    ids, offsets = building.texts(model)
    expected = building.encoded(model, ids, offsets)
    states = engine.encode(ids, offsets)
    np.testing.assert_allclose(states, expected, rtol=0, atol=0.3)
    decoding, reference = engine.open(expected, offsets), building.Reference(model, expected, offsets)
    for turn in building.conversation(97):
        logits, _ = building.ask(decoding, turn)
        np.testing.assert_allclose(logits, reference.step(**turn)[0], rtol=0, atol=TOLERANCE[kind])


@torch.no_grad()
def test_every_level_of_instructions_agrees(building: Any) -> None:
    library = native.library()
    model, engine = building.make("float32", **SHAPES["wide"])
    small = building.start(model, "bfloat16")
    ids, offsets = building.texts(model)
    best, found = library.pg_cpu_best(), []
    try:
        for level in filter(library.pg_cpu_has, range(best + 1)):
            assert library.pg_cpu_use(level) == level
            states = engine.encode(ids, offsets)
            decoding, rounded = engine.open(states, offsets), small.open(states, offsets)
            exact, coarse = [], []
            for turn in building.conversation(1111):
                exact.append(building.ask(decoding, turn)[0])
                coarse.append(building.ask(rounded, turn)[0])
            found.append((states, np.concatenate(exact), np.concatenate(coarse)))
    finally:
        library.pg_cpu_use(best)
    for states, exact, coarse in found[1:]:
        np.testing.assert_allclose(states, found[0][0], rtol=0, atol=2e-5)
        np.testing.assert_allclose(exact, found[0][1], rtol=0, atol=4e-5)
        np.testing.assert_allclose(coarse, found[0][2], rtol=0, atol=TOLERANCE["bfloat16"])


def test_what_does_not_fit_is_refused_and_changes_nothing(building: Any) -> None:
    model, engine = building.make()
    ids, offsets = building.texts(model)
    with pytest.raises(BadSetting, match="outside the vocabulary"):
        engine.encode(ids + 90, offsets)
    with pytest.raises(BadSetting, match="positions"):
        engine.encode(np.ones(81, np.int64), np.array([0, 81]))
    with pytest.raises(BadSetting):
        engine.encode(ids, np.array([0, 5, 5, 9]))
    decoding = engine.open(engine.encode(ids, offsets), offsets)
    words = np.ones((8, 2), np.int64)
    for wrong in (
        {"tokens_RT": words[:7]},
        {"tokens_RT": words, "parents_R": np.zeros(8, np.int64)},
        {"tokens_RT": words, "texts_B": np.array([0, 4])},
        {"tokens_RT": words * 97},
        {"tokens_RT": words, "positions": 3},
    ):
        with pytest.raises(BadSetting):
            decoding.step(**wrong)
    decoding.step(words)
    for wrong in (
        {"tokens_RT": words[:4]},
        {"tokens_RT": words, "parents_R": np.full(8, 8)},
        {"tokens_RT": words, "parents_R": np.arange(7)},
        {"tokens_RT": np.ones((8, 79), np.int64)},
    ):
        with pytest.raises(BadSetting):
            decoding.step(**wrong)
    assert decoding.length == 2


def test_longer_tables_of_positions_may_come_later(building: Any) -> None:
    model, engine = building.make(max_position_embeddings=8)
    words = np.ones((1, 12), np.int64)
    decoding = engine.open(None, None)
    with pytest.raises(BadSetting, match="positions"):
        decoding.step(words)
    table = building.array(model.get_position_embeddings()[1](12))
    engine.set_positions(None, table)
    assert engine.position_rows == (8, 12)
    with torch.no_grad():
        expected = model.get_decoder()(torch.from_numpy(words))[0].numpy()
    hidden = decoding.step(words, hidden=True)
    assert hidden is not None
    np.testing.assert_allclose(hidden, expected, rtol=0, atol=1e-5)


def test_scores_and_their_sums_do_not_depend_on_who_computed_them(building: Any) -> None:
    """To the last bit: threads take over from each other what they find undone."""
    found = []
    for threads in (1, 2, 3, 2):
        model, engine = building.make(threads=threads, vocab_size=5_003)
        ids, offsets = building.texts(model)
        decoding = engine.open(engine.encode(ids, offsets), offsets)
        decoding.step(np.ones((4 * (len(offsets) - 1), 1), np.int64))
        scores = decoding.scores()
        found.append((scores.view().copy(), scores.logsumexp()))
    for values, sums in found[1:]:
        np.testing.assert_array_equal(values, found[0][0])
        np.testing.assert_array_equal(sums, found[0][1])


def test_the_clock_says_where_time_went(building: Any) -> None:
    model, engine = building.make(threads=1)  # it is the first thread's, whose work others may take
    engine.profile()
    ids, offsets = building.texts(model)
    engine.open(engine.encode(ids, offsets), offsets).step(np.ones((4, 1), np.int64))
    parts = engine.profile()
    assert {"attention", "cross attention", "head", "waiting"} <= {
        name for name, s in parts.items() if s > 0
    }
    assert sum(engine.profile().values()) == 0
