"""A whole step in kernels: what the step in plain operations says, and the tokens of ``generate``."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.torch.inference import static_step
from pegasus.backends.torch.inference.kernels.tuning import Tuning
from pegasus.backends.torch.inference.static_cache import Memory, Shape
from pegasus.backends.torch.inference.static_weights import LayerWeights, Weights

pytest.importorskip("triton")
from pegasus.backends.torch.inference.kernels import launch, step

GOLDEN = Path(__file__).resolve().parents[3] / "golden"
#: The three ways through a step, whatever the number of rows is.
WAYS = {
    "few rows": Tuning(columns=32, depth=64),
    "more rows": Tuning(norm_rows=0, wide_columns=32, splits=2, depth=64),
    "many rows": Tuning(norm_rows=0, few_rows=0),
}


def make_weights(numbers, dtype, width=48, heads=3, inner=72, vocabulary=150, activate=functional.relu):
    scale = 1 / 64 if dtype == torch.float16 else 1.0

    def layer() -> LayerWeights:
        return LayerWeights(
            norm=numbers.norm(width), query_key_value=numbers.layer(3 * width, width, dtype),
            out=numbers.layer(width, width, dtype), cross_norm=numbers.norm(width),
            cross_query=numbers.layer(width, width, dtype), cross_key=numbers.layer(width, width, dtype),
            cross_value=numbers.layer(width, width, dtype), cross_out=numbers.layer(width, width, dtype),
            last_norm=numbers.norm(width), inner=numbers.layer(inner, width, dtype),
            outer=numbers.layer(width, inner, dtype),
        )  # fmt: skip

    table, positions = numbers.draw(vocabulary, width, dtype=dtype), numbers.draw(128, width)
    return Weights(
        layers=[layer(), layer()], norm=numbers.norm(width), table_VD=table, head_VD=table,
        bias_V=numbers.draw(vocabulary), positions=lambda count: positions[:count], activate=activate,
        embed_scale=width**0.5, scale=scale, eps=1e-5, heads=heads, zero_start=0,
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_numbers_of_plain_operations(numbers, dtype, way):
    """Steps in which beams change places and texts are of different lengths."""
    activate = functional.gelu if way == "more rows" or dtype == torch.bfloat16 else functional.relu
    weights, texts, beams = make_weights(numbers, dtype, activate=activate), 2, 2
    plain = Memory(weights, Shape(texts, beams, 32, 64))
    states = numbers.draw(texts, 50, weights.width, dtype=dtype)
    plain.look_at(weights, states, torch.arange(50) < torch.tensor([[50], [20]]))
    ours = copy.deepcopy(plain)
    slack = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 8e-2}[dtype]
    for place, (tokens, parents) in enumerate([
        ([0, 0, 0, 0], [0, 1, 2, 3]), ([5, 9, 140, 3], [0, 0, 3, 2]), ([7, 7, 1, 149], [1, 0, 3, 3]),
    ]):  # fmt: skip
        for memory in (plain, ours):
            memory.told.copy_(torch.tensor([*tokens, *parents, place]))
        expected = static_step.take(weights, plain, 32, 5)
        found = step.take(weights, ours, 32, 5, WAYS[way])
        assert found.states_RTD.dtype == dtype
        scale = expected.logits_RV.std()
        torch.testing.assert_close(found.logits_RV, expected.logits_RV, rtol=0, atol=float(slack * scale))
        torch.testing.assert_close(found.states_RTD, expected.states_RTD, rtol=slack, atol=slack)
        assert torch.equal(ours.seen_RKM, plain.seen_RKM)
        values = found.best_RC[:, :5].contiguous().view(torch.float32)
        others = torch.log_softmax(found.logits_RV, dim=-1).topk(5)
        torch.testing.assert_close(values, others.values, rtol=1e-4, atol=1e-4)
        assert torch.equal(found.best_RC[:, 5:].long(), others.indices)


def test_a_step_of_which_only_logits_are_wanted(numbers):
    weights = make_weights(numbers, torch.float32)
    for way in WAYS.values():
        memory = Memory(weights, Shape(1, 1, 32, 64))
        assert step.take(weights, memory, 32, 0, way).best_RC is None


@pytest.mark.parametrize(("rows", "a_layer"), [(8, 9), (24, 12), (80, 6)])
def test_how_many_kernels_a_layer_takes(numbers, monkeypatch, rows, a_layer):
    """Each costs its start, so they are counted; products of many rows are PyTorch's and come on top."""
    started: Counter[int] = Counter()

    def count(layers: int) -> int:
        monkeypatch.setattr(launch, "start", lambda *given, **more: started.update([layers]))
        weights = make_weights(numbers, torch.float16, heads=2)
        weights = replace(weights, layers=weights.layers[:layers])
        step.take(weights, Memory(weights, Shape(rows // 8, 8, 128, 512)), 64, 16)
        return started[layers]

    assert count(2) - count(1) == a_layer


def test_rows_too_wide_for_a_program_are_normalized_once(numbers, monkeypatch):
    started: Counter[str] = Counter()
    monkeypatch.setattr(launch, "start", lambda kernel, *given, **more: started.update([kernel.__name__]))
    weights = make_weights(numbers, torch.float16)
    memory = Memory(weights, Shape(1, 2, 32, 64))
    step.take(weights, memory, 32, 4, Tuning(norm_width=weights.width - 1))
    assert started["_norm_product"] == 0
    assert started["_add_norm"] == 7
    step.take(weights, memory, 32, 4, Tuning(norm_width=weights.width))
    assert started["_norm_product"] == 6


def load(dtype: str = "float32") -> Any:
    model = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model", torch_dtype=dtype)
    model.static_memory, model.static_kernels = True, "triton"
    return model


RECORD = json.loads((GOLDEN / "generation-basic.json").read_text())
INPUTS = torch.tensor(RECORD["inputs"])


BEAMS = {"num_beams": 2, "max_length": 6}


@pytest.mark.parametrize(
    ("dtype", "settings"),
    [
        ("float32", BEAMS),
        ("float16", BEAMS),
        ("bfloat16", BEAMS),
        ("float16", {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.5, "max_length": 5}),
        ("float16", {"no_repeat_ngram_size": 2, "min_length": 4, "max_length": 6}),
        ("float16", {"prompt_lookup_num_tokens": 3, "max_length": 8}),
    ],
)
def test_the_tokens_of_plain_operations(dtype, settings):
    """Searches with beams, with edits of the logits, and with several tokens a pass in between."""
    model, texts = load(dtype), INPUTS[:1]
    found = model.generate(texts, **settings, return_dict_in_generate=True)
    assert model._memories.choice.name == "triton"
    assert {name for memory in model._memories._all for name, *_ in memory.passes} == {"triton"}
    model.static_kernels = "torch"
    expected = model.generate(texts, **settings, return_dict_in_generate=True)
    assert found.sequences.tolist() == expected.sequences.tolist()
    if getattr(expected, "sequences_scores", None) is not None:
        torch.testing.assert_close(found.sequences_scores, expected.sequences_scores, rtol=2e-2, atol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, len(RECORD["records"]), 49))
def test_the_tokens_of_transformers(number):
    """Of the first text: a search of four beams takes the interpreter a minute."""
    record = RECORD["records"][number]
    found = load().generate(INPUTS[:1], **record["settings"], return_dict_in_generate=True)
    rows = [RECORD["rows"][row] for row in record["rows"]][: len(found.sequences)]
    said = ["".join(f"{token:02x}" for token in row) for row in found.sequences.tolist()]
    assert [one.rstrip("0") for one in said] == [row.rstrip("0") for row in rows]
    if "scores" in record:
        expected = record["scores"][: len(said)]
        np.testing.assert_allclose(found.sequences_scores.numpy(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.slow
def test_a_residual_beyond_float16():
    """The model whose residual leaves float16's range: tokens of float32."""
    record = json.loads((GOLDEN / "overflow.json").read_text())
    texts = torch.tensor(record["inputs"])[:4]
    model = PegasusForConditionalGeneration.from_pretrained(
        GOLDEN / "overflow-model", torch_dtype="float16"
    )
    model.static_memory, model.static_kernels = True, "triton"
    settings, rows = record["settings"][0], record["answers"]["4.34.0"]["float32"]["rows"][0]
    said = model.generate(texts, **settings).tolist()
    wanted = [[int(row[at : at + 2], 16) for at in range(0, len(row), 2)] for row in rows[: len(said)]]
    assert [one[: len(row)] for one, row in zip(said, wanted)] == wanted
