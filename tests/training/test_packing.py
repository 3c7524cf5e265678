"""Packed batches: losses and gradients of the padded form, with nothing of the padding computed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from pegasus.backends.contract.learning import (
    DistillationSettings,
    LoraSettings,
    Objective,
    OptimSettings,
    Placement,
)
from pegasus.backends.learning.alone import Alone
from pegasus.backends.torch.learning.engine import TorchEngine
from pegasus.backends.torch.learning.spans import find_spans
from pegasus.backends.torch.model import packing
from pegasus.backends.torch.model.layers import Attention
from pegasus.errors import NotOffered

CPU = torch.device("cpu")


def varlen(queries, keys, values, query_ends, key_ends, longest, longest_key, *, window_size):
    """What ``torch.nn.attention.varlen.varlen_attn`` says it does, a text at a time."""
    assert longest == int(query_ends.diff().max())
    assert longest_key == int(key_ends.diff().max())
    parts = []
    for i in range(len(query_ends) - 1):
        some = slice(int(query_ends[i]), int(query_ends[i + 1]))
        seen = slice(int(key_ends[i]), int(key_ends[i + 1]))
        q, k, v = (x.transpose(0, 1) for x in (queries[some], keys[seen], values[seen]))
        causal = window_size == (-1, 0)
        parts.append(functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(0, 1))
    return torch.cat(parts)


@pytest.fixture(params=["padded kernels", "varlen"])
def kernel(request, monkeypatch):
    """Both ways of attention, the second as it is on a GPU."""
    if request.param == "varlen":
        monkeypatch.setattr(packing, "packed_kernel", lambda *_: varlen)
    return request.param


def engine(tiny, packed, kind="conditional", placement=None, fields=None, **objective):
    return TorchEngine(
        tiny.model(kind, **(fields or {})),
        OptimSettings(name="adamw", rate=1e-2, schedule="constant", warmup_steps=0),
        Objective(**objective),
        Placement(device="cpu", packing=packed, **(placement or {})),
        Alone(),
    )


def learned(one, batch):
    """Measures of a step, and the gradients that it took."""
    seen = {}
    real = one.optimizer.step

    def keep():
        pairs = one.model.named_parameters()
        seen.update({name: p.grad.clone() for name, p in pairs if p.grad is not None})
        return real()

    one.optimizer.step = keep
    return one.step([batch]), seen


def compare(tiny, batch, **settings):
    padded, packed = (engine(tiny, choice, **settings) for choice in (False, True))
    (one, wanted), (other, found) = learned(padded, batch), learned(packed, batch)
    assert other.counts == one.counts
    assert other.sums == pytest.approx(one.sums, rel=1e-5)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
    assert packed.measure(batch).loss == pytest.approx(padded.measure(batch).loss, rel=1e-4)


SETTINGS = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1, "mlm_weight": 0.5},
    "gap sentences alone": {"parts": ("target",)},
    "hidden words alone": {"parts": ("mlm",)},
    "starts from zeros": {"fields": {"decoder_start": "zeros"}},
    "recomputed": {"placement": {"gradient_checkpointing": True}},
    "lora": {"lora": LoraSettings(rank=2)},
    "beyond the table of positions": {"fields": {"max_position_embeddings": 4}},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_losses_and_gradients_are_those_of_the_padded_form(settings, tiny, kernel):
    compare(tiny, tiny.batch(1, rows=5), **settings)


def test_a_decoder_alone_is_packed_too(tiny, kernel):
    compare(tiny, {"labels": tiny.batch(6)["labels"]}, kind="causal", parts=("target",))


@pytest.mark.parametrize("change", ["left", "holes", "no mask", "one text", "one token", "labels between"])
def test_batches_of_any_form(change, tiny, kernel):
    batch = tiny.batch(3, rows=4)
    match change:
        case "left":
            for name in ("input_ids", "attention_mask", "mlm_labels"):
                batch[name] = np.flip(batch[name], 1).copy()
        case "holes":
            batch["attention_mask"][:, 1] = 0
            batch["mlm_labels"][:, 1] = -100
        case "no mask":
            del batch["attention_mask"]
        case "one text":
            batch = {name: array[:1] for name, array in batch.items()}
        case "one token":
            batch = {name: array[:, :1] for name, array in batch.items()}
        case "labels between":
            batch["labels"] = np.where(np.arange(6) == 1, -100, tiny.batch(4, rows=4)["labels"])
            batch["labels"][:, 5] = 9
    assert find_spans(batch, CPU) is not None
    compare(tiny, batch)


@pytest.mark.parametrize("missing", ["source", "target", "seen label"])
def test_what_cannot_be_packed_stays_padded_and_is_learned(missing, tiny):
    batch = tiny.batch(3, rows=4)
    match missing:
        case "source":
            batch["attention_mask"][2] = 0
        case "target":
            batch["labels"][1] = -100
        case "seen label":
            batch["attention_mask"][0, 3], batch["mlm_labels"][0, 3] = 0, 7
    assert find_spans(batch, CPU) is None
    compare(tiny, batch)


def test_no_layer_sees_padding(tiny, monkeypatch):
    seen = set()
    real = Attention.forward

    def forward(self, hidden_states, key_value_states=None, **rest):
        seen.add(
            (hidden_states.shape[:2], None if key_value_states is None else key_value_states.shape[:2])
        )
        return real(self, hidden_states, key_value_states, **rest)

    monkeypatch.setattr(Attention, "forward", forward)
    batch = tiny.batch(1, rows=5)
    found = engine(tiny, True).step([batch])
    source, target = (1, found.source_tokens), (1, found.counts["target"])
    assert seen == {(source, None), (target, None), (target, source)}
    assert found.source_tokens < batch["input_ids"].size
    assert found.counts["target"] < batch["labels"].size


def test_spans_say_where_every_token_comes_from(tiny):
    batch = tiny.batch(2, rows=5)
    spans = find_spans(batch, CPU)
    for one, key, filled in (
        (spans.source, "input_ids", batch["attention_mask"] > 0),
        (spans.target, "labels", batch["labels"] >= 0),
    ):
        assert batch[key].ravel()[one.places].tolist() == batch[key][filled].tolist()
        assert one.ends.tolist() == [0, *filled.sum(1).cumsum().tolist()]
        assert (one.count, one.longest, one.width) == (5, filled.sum(1).max(), filled.sum(1).max())
        heads = torch.arange(int(one.ends[-1]) * 6.0).view(1, 2, -1, 3)
        assert torch.equal(one.pack(one.pad(heads)), heads)
        assert one.seen().tolist() == filled[:, : one.longest].tolist()


@pytest.mark.parametrize(
    "rate", [{"dropout": 0.3}, {"attention_dropout": 0.3}, {"activation_dropout": 0.3}]
)
def test_dropout_drops_in_a_packed_batch(rate, tiny):
    batch = tiny.batch(1, rows=5)
    one = engine(tiny, True, fields=rate)
    before = one.measure(batch).loss
    assert before == pytest.approx(engine(tiny, False, fields=rate).measure(batch).loss, rel=1e-5)
    assert abs(one.step([batch]).loss - before) > 1e-5


def test_bfloat16_is_near(tiny):
    losses = [
        engine(tiny, choice, placement={"precision": "bfloat16"}).step([tiny.batch(1, rows=5)]).loss
        for choice in (False, True)
    ]
    assert math.isfinite(losses[0])
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"dropout": "broadcast"}, "elementwise"),
        ({"distillation": DistillationSettings(logits=1.0)}, "distillation"),
    ],
)
def test_what_needs_padded_batches_is_refused(settings, word, tiny):
    with pytest.raises(NotOffered, match=word):
        engine(tiny, True, **settings)


def test_the_kernel_is_pytorchs_own_and_serves_gpus_alone():
    kernel = packing.varlen_kernel()
    assert kernel is not None
    assert kernel.__module__ == "torch.nn.attention.varlen"
    assert packing.packed_kernel(torch.zeros(1, dtype=torch.bfloat16), 64, False) is None
