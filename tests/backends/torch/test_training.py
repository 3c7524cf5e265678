"""What only PyTorch has: checkpointed gradients, layerdrop, dropout, compiling, dtypes, moving."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.torch.model.layers import DecoderLayer, EncoderLayer


@pytest.fixture
def load(relu, tmp_path_factory):
    folder = relu.write(tmp_path_factory.mktemp("relu"))
    return lambda **fields: PegasusForConditionalGeneration.from_pretrained(folder, **fields)


@pytest.fixture
def batch(relu):
    return {name: torch.from_numpy(relu.input(name)) for name in ("input_ids", "attention_mask", "labels")}


def gradients(model, batch):
    model.zero_grad()
    model(**batch).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


def test_training_without_dropout_equals_evaluation(load, batch):
    model = load(**NO_DROPOUT)
    assert not model.training
    with torch.no_grad():
        evaluated = model(**batch).logits
        torch.testing.assert_close(model.train()(**batch).logits, evaluated)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradient_checkpointing_gives_equal_gradients(dropout, load, batch):
    model = load(**{**NO_DROPOUT, "dropout": dropout, "attention_dropout": dropout}).train()
    torch.manual_seed(0)
    expected = gradients(model, batch)
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    torch.manual_seed(0)
    found = gradients(model, batch)
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], msg=name)
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_gradient_checkpointing_computes_layers_twice_and_keeps_no_cache(load, batch):
    model = load(**NO_DROPOUT).train()
    model.gradient_checkpointing_enable()
    runs = []
    for layer in [*model.get_encoder().layers, *model.get_decoder().layers]:
        layer.fc1.register_forward_hook(lambda *_: runs.append(1))
    model(**batch).loss.backward()
    assert len(runs) == 2 * 5
    ids = batch["input_ids"]
    assert model(input_ids=ids, decoder_input_ids=ids[:, :2], use_cache=True).past_key_values is None
    assert (
        model.eval()(input_ids=ids, decoder_input_ids=ids[:, :2], use_cache=True).past_key_values
        is not None
    )


@pytest.mark.parametrize(
    "settings",
    [{"gradient_checkpointing_kwargs": {"use_reentrant": True}}, {"every_n_layers": 2}],
    ids=["reentrant", "every second layer"],
)
def test_other_kinds_of_checkpoints_give_the_same_gradients(settings, load, batch):
    model = load(dropout=0.0).train()
    expected = gradients(model, batch)
    model.gradient_checkpointing_enable(**settings)
    assert model.is_gradient_checkpointing
    torch.testing.assert_close(gradients(model, batch), expected)


def test_dropout_draws_only_in_training(load, batch):
    model = load()
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, model(**batch).logits, atol=0, rtol=0)
        model.train()
        assert not torch.equal(model(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "activation_dropout"])
def test_each_dropout_reaches_the_numbers(name, load, batch):
    model = load(**{**NO_DROPOUT, name: 0.5}).train()
    with torch.no_grad():
        assert not torch.allclose(model(**batch).logits, model(**batch).logits)


def test_layerdrop_of_everything_leaves_embeddings(load, batch):
    model = load(encoder_layerdrop=1.0, decoder_layerdrop=1.0, **NO_DROPOUT)
    with torch.no_grad():
        whole = model(**batch).encoder_last_hidden_state
        output = model.train()(**batch, output_hidden_states=True, output_attentions=True)
    expected = model.get_encoder().layer_norm(output.encoder_hidden_states[0])
    torch.testing.assert_close(output.encoder_last_hidden_state, expected)
    assert not torch.allclose(output.encoder_last_hidden_state, whole)
    assert output.encoder_attentions == (None, None)


def test_layerdrop_draws_layers_at_its_rate(load, batch):
    model = load(encoder_layerdrop=0.3, decoder_layerdrop=0.6, **NO_DROPOUT).train()
    runs = {"encoder": 0, "decoder": 0}
    for side, stack in (("encoder", model.get_encoder()), ("decoder", model.get_decoder())):
        for layer in stack.layers:
            layer.register_forward_hook(lambda *_, side=side: runs.__setitem__(side, runs[side] + 1))
    torch.manual_seed(1)
    with torch.no_grad():
        for _ in range(150):
            model(**batch)
    assert runs["encoder"] / (150 * 2) == pytest.approx(0.7, abs=0.08)
    assert runs["decoder"] / (150 * 3) == pytest.approx(0.4, abs=0.08)


def test_a_dropped_layer_gets_no_gradient_and_the_rest_do(load, batch):
    model = load(encoder_layerdrop=1.0, **NO_DROPOUT).train()
    names = gradients(model, batch)
    assert not any(name.startswith("model.encoder.layers") for name in names)
    assert any(name.startswith("model.decoder.layers") for name in names)


def test_the_pad_row_gets_a_gradient_from_the_head_only(load, batch):
    """As in transformers: looking padding up teaches nothing, but the tied head does."""
    model = load()
    tied = gradients(model, batch)["model.shared.weight"][0]
    assert tied.any()
    torch.manual_seed(0)
    model.set_output_embeddings(torch.nn.Linear(16, 41, bias=False))
    assert not gradients(model, batch)["model.shared.weight"][0].any()


def test_the_position_table_is_not_trained(load, batch):
    model = load()
    assert not any("embed_positions" in name for name in gradients(model, batch))
    tables = [p for name, p in model.named_parameters() if "embed_positions" in name]
    assert [p.requires_grad for p in tables] == [False, False]


def test_frozen_parts_stay(load, batch):
    model = load(**NO_DROPOUT)
    for parameter in model.get_encoder().layers.parameters():
        parameter.requires_grad_(False)
    assert not any(name.startswith("model.encoder.layers") for name in gradients(model, batch))


def test_all_labels_ignored(load, batch):
    """There is nothing to average: as in transformers, the loss is not a number."""
    assert load()(**{**batch, "labels": torch.full((3, 6), -100)}).loss.isnan()


def test_labels_need_not_be_contiguous(load, batch):
    labels = batch["labels"].t().contiguous().t()
    assert not labels.is_contiguous()
    model = load()
    torch.testing.assert_close(model(**{**batch, "labels": labels}).loss, model(**batch).loss)


def layers(config):
    return EncoderLayer(config).eval(), DecoderLayer(config).eval()


@pytest.mark.parametrize("exact", [False, True])
def test_layers_have_no_graph_break(exact, relu):
    """Traced whole (fullgraph refuses a break) and run by the tracer itself, which needs no compiler."""
    config = relu.config()
    encoder, decoder = layers(config)
    states, mask = torch.randn(2, 5, 16), torch.zeros(2, 1, 1, 5)
    torch._dynamo.reset()
    with torch.no_grad():
        for layer, rest in (
            (encoder, (mask, None, exact)),
            (decoder, (torch.zeros(2, 1, 5, 5), states, mask, None, None, None, exact)),
        ):
            compiled = torch.compile(layer, fullgraph=True, backend="eager")
            expected, found = layer(states, *rest), compiled(states, *rest)
            torch.testing.assert_close(found[0], expected[0])
            assert (found[1] is not None) == exact


def test_a_decoder_layer_without_a_cache(relu):
    _, layer = layers(relu.config())
    states = torch.randn(2, 5, 16)
    with torch.no_grad():
        kept, left = (layer(states, encoder_hidden_states=states, use_cache=use) for use in (True, False))
    assert torch.equal(kept[0], left[0])
    assert len(kept[3]) == 4
    assert left[3] is None


def test_a_decoder_layer_with_a_cache_has_no_graph_break(relu):
    _, layer = layers(relu.config())
    memory = torch.randn(2, 7, 16)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    with torch.no_grad():
        first = layer(torch.randn(2, 3, 16), None, memory)
        step = torch.randn(2, 1, 16)
        found = compiled(step, None, memory, None, None, None, first[3])
        expected = layer(step, None, memory, None, None, None, first[3])
    torch.testing.assert_close(found[0], expected[0])
    # Beams that share one copy of the memory.
    with torch.no_grad():
        beams = torch.randn(6, 1, 16)
        torch.testing.assert_close(compiled(beams, None, memory)[0], layer(beams, None, memory)[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
def test_a_whole_model_compiles(load, batch):
    """By inductor, which makes C++ or Triton of it: forward and backward."""
    model = load().eval()  # dropout would draw other numbers
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="inductor")
    answers = []
    for one in (model, compiled):
        model.zero_grad()
        out = one(**batch)
        out.loss.backward()
        gradients = {
            name: weight.grad.clone()
            for name, weight in model.named_parameters()
            if weight.grad is not None
        }
        answers.append((out.loss.detach(), out.logits.detach(), gradients))
    torch.testing.assert_close(answers[1], answers[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "tolerance"), [("bfloat16", 0.15), ("float16", 0.02), ("float64", 1e-5)])
def test_other_dtypes(name, tolerance, load, batch, relu):
    dtype = getattr(torch, name)
    model = load(torch_dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert model.dtype == dtype
    with torch.no_grad():
        logits = model(**batch).logits
    assert logits.dtype == (torch.float64 if name == "float64" else torch.float32)
    expected = torch.from_numpy(relu.answers("labels")["logits"])
    assert (logits.float() - expected).abs().max() < tolerance * expected.abs().max()


def test_an_empty_text_in_half_precision(load, batch):
    """Padding only: the mask must not turn into NaN."""
    for dtype in (torch.float16, torch.bfloat16):
        model = load(torch_dtype=dtype)
        with torch.no_grad():
            mask = batch["attention_mask"].clone()
            mask[1] = 0
            assert torch.isfinite(model(**{**batch, "attention_mask": mask}).logits).all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int32])
def test_masks_of_any_dtype(dtype, load, batch):
    model = load()
    with torch.no_grad():
        expected = model(**batch).logits
        found = model(**{**batch, "attention_mask": batch["attention_mask"].to(dtype)}).logits
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_copies_and_pickles_are_whole(load, batch):
    model = load()
    expected = model(**batch).logits
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(again(**batch).logits, expected)
        assert again.get_output_embeddings().weight is again.get_input_embeddings().weight
        assert again.get_input_embeddings().weight is not model.get_input_embeddings().weight


def test_a_state_dict_of_transformers_loads_strictly(load, relu):
    """Its copies of the embeddings and its position tables are names that we have too."""
    model = load()
    shared = torch.from_numpy(relu.weights["model.shared.weight"])
    state = {name: torch.from_numpy(value) for name, value in relu.weights.items()}
    state |= {f"model.{side}.embed_tokens.weight": shared for side in ("encoder", "decoder")}
    table = torch.from_numpy(relu.expected["positions"])
    state |= {f"model.{side}.embed_positions.weight": table for side in ("encoder", "decoder")}
    state["lm_head.weight"] = shared
    assert set(model.state_dict()) == set(state)
    model.load_state_dict(state, strict=True)


def test_torch_save_and_load(load, batch):
    model = load()
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    other = load()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    torch.testing.assert_close(other(**batch).logits, model(**batch).logits)


def test_num_parameters(load, relu):
    model = load()
    table = 2 * 24 * 16
    bias = relu.weights["final_logits_bias"].size
    own = sum(value.size for value in relu.weights.values()) - bias
    assert model.num_parameters() == own + table
    assert model.num_parameters(only_trainable=True) == own
    assert model.num_parameters(exclude_embeddings=True) == own - 41 * 16


def test_an_optimizer_learns_the_batch(load, batch):
    model = load(**NO_DROPOUT).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 3
    assert losses[-1] < 0.2
    assert np.isfinite(losses).all()
