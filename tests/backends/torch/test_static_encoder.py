"""The encoder over packed rows, made to run on the CPU: the states of the modules, at any lengths."""

from __future__ import annotations

import copy
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.torch.inference import encoder_passes
from pegasus.backends.torch.inference.encoder_passes import EncoderPasses, fits, lengths_of
from pegasus.backends.torch.inference.kernel_choice import Choice
from pegasus.backends.torch.inference.static_encoder import Packed, encode, prepare
from pegasus.generation.model_inputs import Request

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
FILE = json.loads((GOLDEN / "generation-basic.json").read_text())
INPUTS = torch.tensor(FILE["inputs"])
TORCH = Choice("torch", "torch")


def load(folder: str = "generation-model", **fields: Any) -> Any:
    model = PegasusForConditionalGeneration.from_pretrained(GOLDEN / folder, **fields)
    model.static_encoder = True
    return model


@pytest.fixture(scope="module")
def model():
    return load()


def batch(*lengths: int, source: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(source) < torch.tensor(lengths)[:, None]
    ids = torch.randint(3, 128, mask.shape, generator=torch.Generator().manual_seed(seed))
    return ids * mask, mask.long()


@pytest.mark.parametrize("lengths", [(1,), (23,), (64, 64), (65, 1, 30), (7, 90, 64, 3, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_states_of_the_modules(lengths, dtype):
    model = load(torch_dtype=dtype)
    ids, mask = batch(*lengths, source=max(lengths) + 2 * (len(lengths) > 2))
    with torch.no_grad():
        expected = model.get_encoder()(ids, mask).last_hidden_state
        found = EncoderPasses().encode(model, ids, lengths_of(ids, mask), TORCH)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    slack = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 6e-2}[dtype]
    torch.testing.assert_close(found[mask == 1], expected[mask == 1], rtol=slack, atol=slack)


def test_buffers_hold_one_batch_after_another(model):
    """What a recorded pass does: smaller batches in the room of larger ones, nothing left over of those."""
    weights, packed = prepare(model), Packed(4, 64, 192, torch.device("cpu"))
    positions = weights.positions(64)
    for number, lengths in enumerate([(60, 40, 3, 64), (5,), (64, 64), (1, 2, 3)]):
        ids, mask = batch(*lengths, source=max(lengths), seed=number)
        packed.tell(ids, np.array(lengths))
        with torch.no_grad():
            found = encode(weights, packed, positions, kernels=False)
            expected = model.get_encoder()(ids, mask).last_hidden_state
        assert found.isfinite().all()
        kept = found[: len(lengths), : max(lengths)][mask == 1]
        torch.testing.assert_close(kept, expected[mask == 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("number", range(0, len(FILE["records"]), 40))
def test_the_tokens_of_transformers(model, static, number):
    record = FILE["records"][number]
    model.static_memory = static
    found = model.generate(INPUTS, **record["settings"], return_dict_in_generate=True)
    rows = [FILE["rows"][row] for row in record["rows"]]
    assert found.sequences.tolist() == [
        [int(row[at : at + 2], 16) for at in range(0, len(row), 2)] for row in rows
    ]
    assert model._memories.encoders._weights is not None


def test_a_residual_beyond_float16():
    record = json.loads((GOLDEN / "overflow.json").read_text())
    model, texts = load("overflow-model", torch_dtype="float16"), torch.tensor(record["inputs"])
    for settings, rows in zip(record["settings"], record["answers"]["4.34.0"]["float32"]["rows"]):
        said = model.generate(texts, **settings).tolist()
        wanted = [[int(row[at : at + 2], 16) for at in range(0, len(row), 2)] for row in rows]
        assert [one[: len(row)] for one, row in zip(said, wanted)] == wanted


def test_lengths():
    ids, mask = batch(3, 5, source=6)
    assert lengths_of(ids, mask).tolist() == [3, 5]
    assert lengths_of(ids, None).tolist() == [6, 6]
    holes, nothing, before = mask.clone(), mask.clone(), mask.flip(1)
    holes[1, 2], nothing[0] = 0, 0
    assert all(lengths_of(ids, one) is None for one in (holes, nothing, before, mask[:1, :1]))


def test_texts_with_padding_elsewhere_are_left_to_the_modules(model):
    ids, mask = batch(6, 6, source=6)
    for row, place in ((0, 0), (1, 3)):
        mask[row, place] = 0
    plain = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")
    expected = plain.generate(ids, attention_mask=mask, num_beams=2, max_length=9)
    assert model.generate(ids, attention_mask=mask, num_beams=2, max_length=9).tolist() == expected.tolist()


def test_who_gets_it(model, monkeypatch):
    request = Request(input_ids=INPUTS, attention_mask=(INPUTS != 0).long())
    assert fits(model, request)
    assert not fits(model, Request(inputs_embeds=torch.zeros(1, 2, 32)))
    assert not fits(model, Request(input_ids=INPUTS, head_mask=torch.ones(2, 4)))
    assert not fits(load().train(), request)
    pruned, unasked = load(), load()
    pruned.prune_heads({("encoder", 0): [1]})
    for stack in ("get_encoder", "get_decoder"):
        wrapped = load()
        getattr(wrapped, stack)().layers[0].fc1.__class__ = type("Adapter", (torch.nn.Linear,), {})
        assert not fits(wrapped, request)
    unasked.static_encoder = None
    assert not fits(pruned, request)
    monkeypatch.setattr(encoder_passes, "AUTO", True)
    assert not fits(unasked, request)  # not on a CPU
    with torch.autocast("cpu", torch.bfloat16):
        assert not fits(model, request)


def test_changed_weights_are_seen_and_copies_start_anew(model):
    other = copy.deepcopy(model)
    before = other.generate(INPUTS, num_beams=2).tolist()
    with torch.no_grad():
        other.get_encoder().layers[0].self_attn.k_proj.weight.mul_(-3)
    plain = copy.deepcopy(other)
    plain.static_encoder = False
    assert (
        other.generate(INPUTS, num_beams=2).tolist()
        == plain.generate(INPUTS, num_beams=2).tolist()
        != before
    )


def test_a_size_is_recorded_when_it_comes_again(model, monkeypatch):
    """Control of recording, with a graph that computes when it is replayed, as a CUDA graph does."""
    weights, recorded = prepare(model), []

    class Graph:
        def replay(self):
            one._compute()

    @contextmanager
    def graph(made, pool):
        monkeypatch.setattr(one, "_compute", lambda: None)  # recording runs nothing
        yield
        monkeypatch.undo()
        recorded.append(pool)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    one = encoder_passes.EncoderPass(weights, Packed(2, 64, 128, torch.device("cpu")), TORCH, "pool", True)
    for number, lengths in enumerate([(64, 60), (9,), (20, 30)]):
        ids, mask = batch(*lengths, source=max(lengths), seed=number)
        with torch.no_grad():
            found = one.run(ids, np.array(lengths))
            expected = model.get_encoder()(ids, mask).last_hidden_state
        torch.testing.assert_close(found[mask == 1], expected[mask == 1], rtol=1e-5, atol=1e-5)
        assert len(recorded) == min(number, 1)
    assert isinstance(one.graph, Graph)
    assert recorded == ["pool"]


def test_sizes_are_few():
    assert [encoder_passes._bucket(n) for n in (1, 64, 65, 500, 513, 1025, 9000)] == [
        64, 64, 128, 512, 640, 1280, 10240,
    ]  # fmt: skip
