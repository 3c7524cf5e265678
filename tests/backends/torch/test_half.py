"""Numbers of 16 bits: nothing overflows, and what float32 says is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pegasus import PegasusForCausalLM, PegasusForConditionalGeneration
from pegasus.backends.contract.learning import Objective, OptimSettings, Placement
from pegasus.backends.learning.alone import Alone
from pegasus.backends.torch.learning.engine import TorchEngine
from pegasus.backends.torch.model import half
from pegasus.backends.torch.model.layers import EncoderLayer

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
#: What two versions of transformers said in float32 and in float16 (scripts/golden-overflow).
RECORD = json.loads((GOLDEN / "overflow.json").read_text())
TEXTS = torch.tensor(RECORD["inputs"])


@pytest.fixture(params=[torch.float16, torch.bfloat16], ids=str)
def dtype(request):
    return request.param


def load(dtype, **fields):
    return PegasusForConditionalGeneration.from_pretrained(
        GOLDEN / "overflow-model", torch_dtype=dtype, **fields
    )


def passed(model, **more):
    batch = {"input_ids": TEXTS, "attention_mask": (TEXTS != 0).long(), "decoder_input_ids": TEXTS[:, :4]}
    return model(**batch, **more)


def said(model, settings):
    rows = model.generate(TEXTS, **settings).tolist()
    words = [[f"{token:02x}" for token in row] for row in rows]
    return ["".join(row[: max(i + 1 for i, word in enumerate(row) if word != "00")]) for row in words]


def test_the_recorded_model_leaves_the_range_of_float16():
    """And transformers, which says the same in float32 as we, has its words wrong there."""
    for answers in RECORD["answers"].values():
        assert all(float(value) > 7e4 for value in answers["float32"]["largest"].values())
        assert answers["float16"]["largest"]["decoder"] in ("inf", "nan")
        for full, low in zip(answers["float32"]["rows"], answers["float16"]["rows"]):
            assert sum(map(str.__eq__, full, low)) <= 0.1 * len(full)
    assert len(TEXTS) >= 10


@pytest.mark.parametrize("how", ["float32", "float16", "half()"])
@pytest.mark.parametrize("number", range(len(RECORD["settings"])))
@pytest.mark.parametrize("version", RECORD["answers"])
def test_the_words_of_float32(version, number, how):
    model = load("float32" if how == "float32" else "float16")
    if how == "half()":
        model = load("float32").half()
    found = said(model, RECORD["settings"][number])
    assert found == RECORD["answers"][version]["float32"]["rows"][number]


def test_under_autocast_too():
    model = load("float32")
    with torch.autocast("cpu", torch.float16):
        found = said(model, RECORD["settings"][0])
    assert found == RECORD["answers"]["4.34.0"]["float32"]["rows"][0]


def test_logits_are_near_and_nothing_is_lost(dtype):
    with torch.no_grad():
        full, low = (passed(load(one), output_hidden_states=True) for one in (torch.float32, dtype))
    assert max(float(states.abs().max()) for states in low.encoder_hidden_states) > 7e4
    assert max(float(states.abs().max()) for states in low.decoder_hidden_states) > 7e4
    difference = (low.logits - full.logits).abs().max() / full.logits.std()
    assert 0 < difference < {torch.float16: 0.1, torch.bfloat16: 0.8}[dtype]


def test_types_that_come_back(dtype):
    with torch.no_grad():
        found = passed(load(dtype), output_hidden_states=True, output_attentions=True, use_cache=True)
    assert found.logits.dtype == torch.float32
    assert found.encoder_last_hidden_state.dtype == dtype
    for states in (found.encoder_hidden_states, found.decoder_hidden_states):
        assert [one.dtype for one in states] == [torch.float32] * (len(states) - 1) + [dtype]
    for weights in (found.encoder_attentions, found.decoder_attentions, found.cross_attentions):
        assert {one.dtype for one in weights} == {dtype}
    assert {one.dtype for layer in found.past_key_values for one in layer} == {dtype}


def test_states_of_32_bits_may_be_given(dtype):
    """What another model or float32 code computed: encoder states, embeddings."""
    model = load(dtype)
    with torch.no_grad():
        expected = passed(model)
        states = expected.encoder_last_hidden_state.float()
        mask = (TEXTS != 0).long()
        found = model(encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=TEXTS[:, :4])
        torch.testing.assert_close(found.logits, expected.logits)
        embeds = model.get_input_embeddings()(TEXTS).float() * model.get_encoder().embed_scale
        found = model(inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=TEXTS[:, :4])
        torch.testing.assert_close(found.logits, expected.logits)


def test_a_decoder_alone_in_half_precision(dtype):
    folder = GOLDEN / "generation-causal-model"
    full, low = (PegasusForCausalLM.from_pretrained(folder, torch_dtype=one) for one in ("float32", dtype))
    with torch.no_grad():
        expected, found = full(TEXTS).logits, low(TEXTS).logits
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.1 * expected.std()


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
def test_a_large_product_of_any_activation(activation, relu):
    """One place of the feed-forward part drives the residual to 90,000; the rest is as in float32."""
    torch.manual_seed(0)
    layer = EncoderLayer(relu.config(activation_function=activation)).eval()
    with torch.no_grad():
        layer.fc1.bias[2] = 900.0
        layer.fc2.weight[5], layer.fc2.weight[:, 2] = 0, 0
        # tanh ends at 1, so the weight itself must be large, and the bias adds the rest.
        layer.fc2.weight[5, 2] = 60000.0 if activation == "tanh" else 100.0
        layer.fc2.bias[5] = 30000.0 if activation == "tanh" else 0.0
        states = torch.randn(2, 5, 16)
        expected = layer(states)[0]
        found = layer.half()(states)[0]
    assert found.dtype == torch.float32
    assert expected[..., 5].min() > 8.9e4
    torch.testing.assert_close(found[..., 5], expected[..., 5], rtol=2e-3, atol=0)
    rest = [place for place in range(16) if place != 5]
    torch.testing.assert_close(found[..., rest], expected[..., rest], rtol=0, atol=0.02)


def test_scaled_layers_are_multiples():
    torch.manual_seed(1)
    layer, states = torch.nn.Linear(7, 5), torch.randn(3, 7)
    adapter = torch.nn.Sequential(layer)
    for one in (layer, adapter):
        torch.testing.assert_close(half.scaled(one, states / 64, 1 / 64) * 64, layer(states))
    norm = half.LayerNorm(7)
    torch.testing.assert_close(norm(states, 1 / 64) * 64, norm(states))
    assert torch.equal(norm(states), torch.nn.functional.layer_norm(states, (7,), norm.weight, norm.bias))


def test_logits_are_rounded_once(dtype):
    """The product of 16-bit numbers comes back in 32, and so do its gradients, whole or in slices."""
    torch.manual_seed(2)
    head = torch.nn.Linear(24, half.SLICE + 37, bias=False).to(dtype)
    states = (torch.randn(2, 3, 24) * 4).to(dtype).requires_grad_()
    found = half.logits(head, states)
    wide = head.weight.detach().float().requires_grad_()
    other = states.detach().float().requires_grad_()
    expected = other @ wide.T
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (head(states).float() - expected).abs().max() > 1e-3
    slope = torch.randn_like(found)
    found.backward(slope)
    expected.backward(slope)
    for narrow, exact in ((states.grad, other.grad), (head.weight.grad, wide.grad)):
        assert narrow.dtype == dtype
        assert (narrow.float() - exact).norm() < 0.01 * exact.norm()


def test_training_in_float16_parameters():
    """Plain PyTorch: float16 weights, a scaled loss, finite gradients everywhere."""
    model = load("float16")
    loss = passed(model, labels=TEXTS[:, :4]).loss
    assert loss.dtype == torch.float32
    (loss * 16).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert model.model.encoder.layers[0].fc2.weight.grad.any()


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_the_engine_learns_beyond_the_range_of_float16(precision):
    """Autocast and a scaled loss; the residual of the model passes 70,000 in both stacks."""
    engine = TorchEngine(
        load("float32", dropout=0.0),
        OptimSettings(name="adamw", rate=1e-4, schedule="constant", warmup_steps=0),
        Objective(parts=("target",)),
        Placement(device="cpu", precision=precision),
        Alone(),
    )
    ids = np.array(RECORD["inputs"])
    rows = [list(bytes.fromhex(row))[1:] for row in RECORD["answers"]["4.34.0"]["float32"]["rows"][0]]
    rows = [row + [-100] * (11 - len(row)) for row in rows]
    batch = {"input_ids": ids, "attention_mask": (ids != 0).astype(int), "labels": np.array(rows)}
    losses = [engine.step([batch]) for _ in range(16)]
    # The scale finds its place: a gradient that is not finite is skipped and halves it.
    assert not any(one.skipped for one in losses[4:])
    assert losses[0].loss == pytest.approx(engine_loss(batch), rel=0.02)
    assert losses[-1].loss < 0.6 * losses[0].loss


def engine_loss(batch):
    model = load("float32")
    with torch.no_grad():
        return float(model(**{name: torch.from_numpy(array) for name, array in batch.items()}).loss)
