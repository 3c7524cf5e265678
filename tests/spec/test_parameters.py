"""The table of parameters: names, shapes, and what is only another name."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import STACKS, Model, copies, optional, parameters

LARGE = {
    "vocab_size": 96103,
    "max_position_embeddings": 1024,
    "encoder_layers": 16,
    "decoder_layers": 16,
    "d_model": 1024,
}
BASE = {
    "encoder_layers": 12,
    "decoder_layers": 12,
    "d_model": 768,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
}
SMALL = {
    "vocab_size": 30,
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "max_position_embeddings": 10,
}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 4}


def _count(config: PegasusConfig, model: Model, kinds: set[str]) -> int:
    return sum(math.prod(leaf.shape) for leaf in parameters(config, model).values() if leaf.kind in kinds)


def test_the_size_of_pegasus_large() -> None:
    config = PegasusConfig(**LARGE)
    trained = {"embedding", "kernel", "bias", "scale", "shift"}
    assert _count(config, "conditional", trained) == 568_699_904
    assert _count(config, "bare", trained) == 568_699_904
    assert _count(config, "conditional", {"positions"}) == 2_097_152
    assert _count(config, "conditional", {"logits_bias"}) == 96_103


@pytest.mark.parametrize(
    ("fields", "without_biases", "with_biases"),
    [
        ({}, 568_503_296, 568_699_904),
        ({"decoder_layers": 12}, 501_349_376, 501_513_216),
        ({"decoder_layers": 8}, 434_195_456, 434_326_528),
        ({"decoder_layers": 4}, 367_041_536, 367_139_840),
        ({"encoder_layers": 12, "decoder_layers": 12}, 450_980_864, 451_128_320),
        ({"encoder_layers": 12, "decoder_layers": 6}, 350_249_984, 350_348_288),
        (BASE, 272_175_360, None),
        ({**BASE, "vocab_size": 32_000}, 222_944_256, None),
    ],
)
def test_sizes_with_and_without_the_biases_of_attention(
    fields: dict[str, int], without_biases: int, with_biases: int | None
) -> None:
    trained = _trained(PegasusConfig(**{**LARGE, **fields}))
    plain = sum(size for name, size in trained.items() if not _is_attention_bias(name))
    assert plain == without_biases
    assert with_biases in (None, sum(trained.values()))


def test_the_authors_large_model_has_485_weights() -> None:
    trained = _trained(PegasusConfig(**LARGE))
    assert sum(not _is_attention_bias(name) for name in trained) == 485
    assert sum(_is_attention_bias(name) for name in trained) == 192


def _trained(config: PegasusConfig) -> dict[str, int]:
    leaves = parameters(config, "conditional").values()
    return {leaf.name: math.prod(leaf.shape) for leaf in leaves if not optional(leaf)}


def _is_attention_bias(name: str) -> bool:
    return "_attn." in name and name.endswith("_proj.bias")


def test_names_and_their_order() -> None:
    names = list(parameters(PegasusConfig(**SMALL, **HEADS), "conditional"))
    assert names[:5] == [
        "final_logits_bias",
        "model.shared.weight",
        "model.encoder.embed_positions.weight",
        "model.encoder.layers.0.self_attn.k_proj.weight",
        "model.encoder.layers.0.self_attn.k_proj.bias",
    ]
    assert names[-2:] == ["model.decoder.layer_norm.weight", "model.decoder.layer_norm.bias"]
    assert len(names) == len(set(names)) == 92


@pytest.mark.parametrize(("model", "with_copies"), [("bare", 93), ("conditional", 95), ("causal", 57)])
def test_with_the_copies_it_is_the_state_of_transformers_4_34(model: Model, with_copies: int) -> None:
    config = PegasusConfig(**SMALL, **HEADS)
    leaves, others = parameters(config, model), copies(config, model)
    assert not others.keys() & leaves.keys()
    assert set(others.values()) <= leaves.keys()
    assert len(leaves) + len(others) == with_copies


@pytest.mark.parametrize("model", ["conditional", "causal"])
def test_an_untied_head_is_a_parameter(model: Model) -> None:
    config = PegasusConfig(**SMALL, **HEADS, tie_word_embeddings=False)
    assert parameters(config, model)["lm_head.weight"].shape == (30, 8)
    assert "lm_head.weight" not in copies(config, model)


def test_encoder_and_decoder_may_differ() -> None:
    config = PegasusConfig(
        **{**SMALL, "decoder_layers": 1}, **HEADS, encoder_ffn_dim=12, decoder_ffn_dim=20
    )
    leaves = parameters(config, "conditional")
    assert leaves["model.encoder.layers.1.fc1.weight"].shape == (12, 8)
    assert leaves["model.decoder.layers.0.fc2.weight"].shape == (8, 20)
    assert "model.decoder.layers.1.fc1.weight" not in leaves
    assert not [name for name in leaves if "encoder.layers" in name and "encoder_attn" in name]


def test_pruned_heads_make_attention_narrower() -> None:
    pruned = {"encoder.0": [1], "decoder.1": [0, 2], "cross.1": [3]}
    leaves = parameters(PegasusConfig(**SMALL, **HEADS, pruned_heads=pruned), "conditional")
    assert leaves["model.encoder.layers.0.self_attn.q_proj.weight"].shape == (4, 8)
    assert leaves["model.encoder.layers.0.self_attn.out_proj.weight"].shape == (8, 4)
    assert leaves["model.encoder.layers.0.self_attn.k_proj.bias"].shape == (4,)
    assert leaves["model.encoder.layers.0.self_attn.out_proj.bias"].shape == (8,)
    assert leaves["model.encoder.layers.1.self_attn.q_proj.weight"].shape == (8, 8)
    assert leaves["model.decoder.layers.1.self_attn.v_proj.weight"].shape == (4, 8)
    assert leaves["model.decoder.layers.1.encoder_attn.v_proj.weight"].shape == (6, 8)
    assert leaves["model.decoder.layers.0.encoder_attn.v_proj.weight"].shape == (8, 8)


def test_what_may_be_absent() -> None:
    leaves = parameters(PegasusConfig(**SMALL, **HEADS), "conditional")
    assert [name for name, leaf in leaves.items() if optional(leaf)] == [
        "final_logits_bias",
        "model.encoder.embed_positions.weight",
        "model.decoder.embed_positions.weight",
    ]


def test_there_are_three_models_and_their_parts() -> None:
    assert get_args(Model) == ("bare", "conditional", "causal", *STACKS, "own")


@pytest.mark.parametrize("part", STACKS)
def test_a_part_has_the_shapes_that_it_has_in_the_whole(part: Model) -> None:
    config = PegasusConfig(**SMALL, **HEADS)
    whole = {name: leaf.shape for name, leaf in parameters(config, "conditional").items()}
    side = "encoder" if part == "encoder" else "decoder"
    for name, leaf in parameters(config, part).items():
        inner = name.removeprefix(STACKS[part])
        place = "shared.weight" if inner == "embed_tokens.weight" else f"{side}.{inner}"
        assert leaf.shape == whole[f"model.{place}"], name
