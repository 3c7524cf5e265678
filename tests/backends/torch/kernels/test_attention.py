"""Attention over histories that cross and over padded sources, against softmax written out."""

from __future__ import annotations

import math

import pytest
import torch

from pegasus.backends.torch.inference.kernels.tuning import Tuning
from pegasus.backends.torch.inference.static_cache import Memory, Shape
from pegasus.backends.torch.inference.static_weights import Weights

pytest.importorskip("triton")
from pegasus.backends.torch.inference.kernels import ancestry, attention

HEADS = 2


def remember(numbers, dtype, texts, beams, places, width, taken, source=64):
    """A memory of one layer in which ``taken`` places hold something, each row's history in any beam's."""
    table = torch.zeros((4, HEADS * width), dtype=dtype)
    pair = (table, table[0])
    weights = Weights(
        layers=[None], norm=pair, table_VD=table, head_VD=table, bias_V=None, activate=torch.relu,
        scale=1.0, positions=lambda count: torch.zeros(count, HEADS * width), embed_scale=1.0, eps=1e-5,
        heads=HEADS,
    )  # fmt: skip
    memory = Memory(weights, Shape(texts, beams, places, source))
    for one in (*memory.keys, *memory.values, *memory.cross_keys, *memory.cross_values):
        one.copy_(numbers.draw(*one.shape, dtype=dtype))
    rows = texts * beams
    owners = torch.randint(beams, (rows, taken), generator=numbers.generator)
    memory.seen_RKM[:, :taken] = torch.nn.functional.one_hot(owners, beams).bool()
    picks = torch.randint(beams, (rows,), generator=numbers.generator)
    memory.told[rows : 2 * rows] = torch.arange(rows) // beams * beams + picks
    memory.told[-1] = taken
    return memory, owners


def history(memory, owners, layer, row, places):
    """Keys and values [H, K, E] of a row's history."""
    text, k = row // memory.beams, torch.arange(places)
    return (one[layer][text][:, k, owners[row, :places]].float() for one in (memory.keys, memory.values))


CASES = [
    # texts, beams, places, head width, places taken, places a part
    (1, 1, 32, 16, 0, 256),
    (2, 1, 32, 16, 31, 256),
    (2, 4, 128, 16, 70, 256),
    (1, 8, 64, 64, 33, 256),
    (1, 3, 128, 80, 64, 256),
    (2, 3, 128, 16, 100, 32),
    (1, 2, 128, 24, 64, 32),
    (1, 2, 128, 16, 5, 64),
]


@pytest.mark.parametrize(("texts", "beams", "places", "width", "taken", "whole"), CASES)
def test_a_row_looks_at_its_history(numbers, same, dtype, texts, beams, places, width, taken, whole):
    memory, owners = remember(numbers, dtype, texts, beams, places, width, taken)
    rows, model = texts * beams, HEADS * width
    parents = memory.told[rows : 2 * rows]
    owners = owners[parents]
    joined = numbers.draw(rows, 3 * model, dtype=dtype)
    keys, values = memory.keys[0].clone(), memory.values[0].clone()

    found_owners = ancestry.look_up(memory, places)
    assert torch.equal(found_owners[:, :taken].long(), owners)
    seen = torch.zeros_like(memory.seen_RKM)
    seen[:, :taken] = torch.nn.functional.one_hot(owners, beams).bool()
    seen[torch.arange(rows), taken, torch.arange(rows) % beams] = True
    assert torch.equal(memory.seen_RKM, seen)

    found = attention.attend_history(
        joined, memory.keys[0], memory.values[0], found_owners, memory, Tuning(places_whole=whole)
    )
    query, new_key, new_value = (one.view(rows, HEADS, width) for one in joined.chunk(3, dim=1))
    for row in range(rows):
        text, beam = divmod(row, beams)
        keys[text, :, taken, beam], values[text, :, taken, beam] = new_key[row], new_value[row]
    assert torch.equal(memory.keys[0], keys)
    assert torch.equal(memory.values[0], values)
    owners = torch.cat([owners, (torch.arange(rows) % beams)[:, None]], dim=1)
    for row in range(rows):
        key, value = history(memory, owners, 0, row, taken + 1)
        scores = (query[row].float()[:, None] * key).sum(-1) / math.sqrt(width)
        expected = torch.softmax(scores, dim=-1)[:, None] @ value
        same(found[row], expected.reshape(-1), dtype)


def test_rows_of_a_text_that_nobody_uses_look_at_themselves(numbers):
    memory, _ = remember(numbers, torch.float32, 1, 2, 32, 16, 0)
    memory.told[-1] = 3  # others are further on
    assert ancestry.look_up(memory, 32)[:, :4].tolist() == [[0] * 4, [1] * 4]


SOURCES = [
    # texts, beams, source, of it padding, head width, programs wanted
    (1, 1, 1, 0, 16, 128),
    (2, 4, 63, 10, 16, 128),
    (1, 8, 64, 0, 64, 1),
    (2, 3, 65, 64, 80, 128),
    (1, 4, 200, 150, 24, 1),
    (1, 17, 130, 5, 16, 6),
]


def check_source(numbers, same, dtype, texts, beams, source, padding, width, programs):
    room = -(-source // 64) * 64
    keys, values = (numbers.draw(texts, HEADS, room, width, dtype=dtype) for _ in range(2))
    query = numbers.draw(texts * beams, HEADS * width, dtype=dtype)
    mask = torch.zeros((texts, 1, 1, room), dtype=dtype)
    mask[0, ..., source - padding : source] = torch.finfo(dtype).min
    mask[..., source:] = -torch.inf
    found = attention.attend_source(query, keys, values, mask, beams, Tuning(programs=programs))
    split = query.float().view(texts, beams, HEADS, width).transpose(1, 2)
    scores = split @ keys.float().transpose(2, 3) / math.sqrt(width)
    scores = torch.where(mask == 0, scores, mask.float())
    expected = torch.softmax(scores, dim=-1) @ values.float()
    same(found, expected.transpose(1, 2).reshape(texts * beams, -1), dtype)


@pytest.mark.parametrize(("texts", "beams", "source", "padding", "width", "programs"), SOURCES)
def test_all_beams_look_at_their_source(
    numbers, same, dtype, texts, beams, source, padding, width, programs
):
    check_source(numbers, same, dtype, texts, beams, source, padding, width, programs)


def test_a_source_of_nothing_but_padding_is_averaged(numbers, same, dtype):
    check_source(numbers, same, dtype, 1, 2, 70, 70, 16, 128)


@pytest.mark.slow
@pytest.mark.parametrize("programs", [1, 128])
def test_a_long_source(numbers, same, dtype, programs):
    check_source(numbers, same, dtype, 2, 8, 500, 77, 64, programs)
