"""The encoder's attention over texts that lie one behind the other, and an encoder around it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from pegasus import PegasusForConditionalGeneration

pytest.importorskip("triton")
from pegasus.backends.torch.inference.kernels import packed_attention

GOLDEN = Path(__file__).resolve().parents[3] / "golden"
HEADS = 2
CASES = [([1], 16), ([63, 5], 16), ([64, 1, 65], 24), ([3, 100], 80), ([17, 30], 64)]


def check(numbers, same, dtype, lengths, width):
    model, tokens = HEADS * width, sum(lengths)
    joined = numbers.draw(tokens + 3, 3 * model, dtype=dtype)  # with rows behind that are no token
    starts = torch.tensor([0, *lengths]).cumsum(0)
    found = packed_attention.attend_packed(joined, starts, max(lengths) + 70, HEADS)
    at = 0
    for length in lengths:
        split = joined[at : at + length].float().view(length, 3, HEADS, width)
        query, key, value = split.permute(1, 2, 0, 3)
        weights = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(width), dim=-1)
        same(found[at : at + length], (weights @ value).transpose(0, 1).reshape(length, model), dtype)
        at += length
    assert found.isfinite().all()


@pytest.mark.parametrize(("lengths", "width"), CASES)
def test_each_text_looks_at_itself(numbers, same, dtype, lengths, width):
    check(numbers, same, dtype, lengths, width)


@pytest.mark.slow
def test_a_long_text(numbers, same, dtype):
    check(numbers, same, dtype, [500, 64], 64)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_an_encoder_in_kernels(kind):
    model = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model", torch_dtype=kind)
    ids = torch.randint(3, 100, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    expected = model.get_encoder()(ids, mask.long()).last_hidden_state
    model.static_memory, model.static_encoder, model.static_kernels = True, True, "triton"
    from pegasus.generation.model_inputs import Request

    decoder = model.open_session(Request(input_ids=ids, attention_mask=mask.long())).decoder
    slack = 1e-2 if kind == "float16" else 6e-2
    torch.testing.assert_close(decoder._source[0][mask], expected[mask], rtol=slack, atol=slack)
