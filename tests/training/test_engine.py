"""One process of the PyTorch engine: what an update is, and what a run must remember."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from pegasus.backends.contract.learning import Measures, Objective, OptimSettings, Placement
from pegasus.backends.learning.alone import Alone
from pegasus.backends.learning.scale import LossScale
from pegasus.backends.torch import backend
from pegasus.backends.torch.inference.cpu_attention import attend_in_bfloat16, attend_with_dropout
from pegasus.backends.torch.learning import loss
from pegasus.backends.torch.learning.engine import TorchEngine
from pegasus.backends.torch.model.dropout import draw, dropout, relu_dropout
from pegasus.backends.torch.model.layers import Attention
from pegasus.errors import BadSetting, CheckpointMismatch

DROPS = {"dropout": 0.2, "attention_dropout": 0.2, "activation_dropout": 0.2}


@pytest.fixture
def make(tiny):
    """An engine for a tiny model; settings of the optimizer, the objective and the placement mixed."""

    def engine(model=None, *, kind="conditional", optim=None, placement=None, fields=None, **objective):
        optim = {"rate": 1e-2, "schedule": "constant", "warmup_steps": 0, **(optim or {})}
        return TorchEngine(
            tiny.model(kind, **(fields or {})) if model is None else model,
            OptimSettings(**optim),
            Objective(**objective),
            Placement(device="cpu", **(placement or {})),
            Alone(),
        )

    return engine


def weights(engine) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in engine.model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def rows(batch, start, stop):
    return {name: array[start:stop] for name, array in batch.items()}


# -- what an update is ---------------------------------------------------------------------------------


def test_the_loss_is_that_of_the_model_over_all_tokens(make, tiny):
    engine, batch = make(), tiny.batch(1, mlm=False)
    ids, mask, labels = (
        torch.from_numpy(batch[name]).long() for name in ("input_ids", "attention_mask", "labels")
    )
    with torch.no_grad():
        expected = engine.model(input_ids=ids, attention_mask=mask, labels=labels).loss
    for found in (engine.measure(batch), engine.step([batch])):
        assert found.loss == pytest.approx(float(expected), rel=1e-6)
        assert found.counts["target"] == int((labels != -100).sum())
        assert found.source_tokens == int(mask.sum())


def test_gradients_are_those_of_the_plain_loss(make, tiny, monkeypatch):
    batch = tiny.batch(2)
    engine = make(label_smoothing=0.1, mlm_weight=0.5)
    seen = {}

    def validate():
        learning = {n: p for n, p in engine.model.named_parameters() if p.grad is not None}
        seen.update({name: parameter.grad.clone() for name, parameter in learning.items()})

    monkeypatch.setattr(engine.optimizer, "step", validate)
    engine.step([batch])
    model = tiny.model()
    ids, mask, labels, hidden = (
        torch.from_numpy(batch[name]).long()
        for name in ("input_ids", "attention_mask", "labels", "mlm_labels")
    )
    logits = model(input_ids=ids, attention_mask=mask, labels=labels).logits
    encoded = model.get_encoder()(ids, mask).last_hidden_state
    table = model.get_input_embeddings().weight
    target = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)
    mlm = functional.cross_entropy((encoded @ table.T).flatten(0, 1), hidden.flatten())
    (target + 0.5 * mlm).backward()
    for name, parameter in model.named_parameters():
        if name.endswith(("embed_positions.weight", "k_proj.bias")):
            assert name not in seen
        elif name == "model.shared.weight":
            # Padding is the last of the plain sum that the engine leaves out.
            torch.testing.assert_close(seen[name][1:], parameter.grad[1:])
            assert not seen[name][0].any()
        else:
            torch.testing.assert_close(seen[name], parameter.grad, msg=name)


def test_the_biases_of_keys_change_nothing_which_is_why_they_do_not_learn(tiny):
    model, batch = tiny.model().eval(), tiny.batch(3, mlm=False)
    ids, labels = torch.from_numpy(batch["input_ids"]).long(), torch.from_numpy(batch["labels"]).long()
    before = model(input_ids=ids, labels=labels).logits
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("k_proj.bias"):
                parameter.normal_()
    torch.testing.assert_close(model(input_ids=ids, labels=labels).logits, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["adafactor", "adafactor-absolute", "adamw"])
def test_accumulating_equals_one_large_batch(name, make, tiny):
    whole, parts = make(optim={"name": name}), make(optim={"name": name})
    for step in range(5):
        batch = tiny.batch(step, rows=6)
        one = whole.step([batch])
        several = parts.step([rows(batch, 0, 1), rows(batch, 1, 4), rows(batch, 4, 6)])
        assert several.loss == pytest.approx(one.loss, rel=1e-6)
        assert several.counts == one.counts
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[key], value, rtol=0, atol=1e-5, msg=key)


def test_the_authors_mean_weighs_micro_batches_alike(make, tiny):
    batch = tiny.batch(4, rows=6, mlm=False)
    some, rest = rows(batch, 0, 1), rows(batch, 1, 6)
    assert (some["labels"] >= 0).sum() != (rest["labels"] >= 0).sum()
    engine = make(normalize="batches")
    losses = engine.measure(some).loss, engine.measure(rest).loss
    captured = []
    real = engine.learner.forward
    engine.learner.forward = lambda *args: captured.append(real(*args)) or captured[-1]
    engine.step([some, rest])
    assert sum(float(total.detach()) for total, _ in captured) == pytest.approx(sum(losses) / 2, rel=1e-6)


@pytest.mark.parametrize("parts", [("target",), ("mlm",), ("target", "mlm")])
def test_losses_together_and_apart(parts, make, tiny):
    engine, batch = make(parts=parts), tiny.batch(5)
    before = weights(engine)
    found = engine.step([batch])
    assert tuple(found.counts) == parts
    assert found.loss == pytest.approx(sum(found.mean(part) for part in parts))
    changed = {name for name, value in weights(engine).items() if not torch.equal(value, before[name])}
    assert any(".encoder." in name for name in changed)
    assert any(".decoder." in name for name in changed) == ("target" in parts)


def test_a_batch_without_labels_is_refused_by_name(make, tiny):
    batch = tiny.batch(5)
    del batch["labels"]
    with pytest.raises(BadSetting, match="must have labels"):
        make(parts=("target",)).step([batch])


def test_a_decoder_alone_learns_running_text(make, tiny):
    engine = make(kind="causal", optim={"rate": 0.05})
    batch = {"labels": tiny.batch(6)["labels"]}
    labels = torch.from_numpy(batch["labels"]).long()
    shifted = functional.pad(labels, (1, -1)).clamp(min=0)
    with torch.no_grad():
        expected = engine.model(input_ids=shifted, labels=labels).loss
    assert engine.measure(batch).loss == pytest.approx(float(expected), rel=1e-6)
    losses = [engine.step([batch]).loss for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]


def test_it_learns_what_it_is_shown(make, tiny):
    engine, batch = make(label_smoothing=0.0, optim={"rate": 0.05}), tiny.batch(7, mlm=False)
    first = engine.measure(batch).loss
    for _ in range(60):
        engine.step([batch])
    assert engine.measure(batch).loss < 0.3 * first


def test_the_row_of_padding_stays_zero(make, tiny):
    for name in ("adafactor", "adamw", "muon"):
        engine = make(optim={"name": name})
        for step in range(4):
            engine.step([tiny.batch(step)])
        table = engine.model.get_input_embeddings().weight
        assert not table[0].any()
        assert table[1:].any(dim=1).all()


@pytest.mark.parametrize("part", ["embeddings", "encoder", "decoder"])
def test_what_is_frozen_does_not_change_and_the_rest_does(part, make, tiny):
    engine = make(frozen=(part,))
    before = weights(engine)
    for step in range(2):
        engine.step([tiny.batch(step)])
    still = {name for name, value in weights(engine).items() if torch.equal(value, before[name])}
    place = "model.shared" if part == "embeddings" else f"model.{part}."
    for name in before:
        never = name.endswith(("embed_positions.weight", "k_proj.bias"))
        assert (name in still) == (never or name.startswith(place)), name


def test_an_unknown_part_is_not_frozen_silently(make):
    with pytest.raises(BadSetting, match="choose embeddings"):
        make(frozen=("head",))


def test_the_gradient_is_clipped_to_its_norm(make, tiny):
    seen = []
    engine = make(optim={"clip_norm": 1e-3})
    step = engine.optimizer.step
    engine.optimizer.step = lambda: (
        seen.append(
            torch.nn.utils.get_total_norm([p.grad for p in engine.model.parameters() if p.grad is not None])
        )
        or step()
    )
    found = engine.step([tiny.batch(1)])
    assert found.norm > 0.1
    assert float(seen[0]) == pytest.approx(1e-3, rel=1e-3)


def test_gradient_checkpoints_change_no_bit(make, tiny):
    plain, saving = make(fields=DROPS), make(fields=DROPS, placement={"gradient_checkpointing": True})
    assert saving.model.is_gradient_checkpointing
    for engine in (plain, saving):
        torch.manual_seed(11)
        for step in range(3):
            engine.step([tiny.batch(step)])
    assert same(weights(plain), weights(saving))


# -- numbers of fewer bits -----------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_learns_nearly_the_same(precision, make, tiny):
    full, low = make(), make(placement={"precision": precision})
    for step in range(4):
        one, other = full.step([tiny.batch(step)]), low.step([tiny.batch(step)])
        assert other.loss == pytest.approx(one.loss, rel=0.01)
        assert other.norm == pytest.approx(one.norm, rel=0.05)
    assert {value.dtype for value in weights(low).values()} == {torch.float32}


def test_a_gradient_that_is_not_finite_is_skipped_and_the_scale_halved(make, tiny, monkeypatch):
    engine = make(placement={"precision": "float16"})
    engine.step([tiny.batch(0)])
    before, scale, updates = weights(engine), engine.scale.value, engine.updates
    real = loss._slope_
    monkeypatch.setattr(loss, "_slope_", lambda *args: real(*args) * math.inf)
    assert engine.step([tiny.batch(1)]).skipped
    assert same(weights(engine), before)
    assert (engine.scale.value, engine.updates) == (scale / 2, updates + 1)
    monkeypatch.undo()
    assert not engine.step([tiny.batch(1)]).skipped
    assert not same(weights(engine), before)


def test_the_scale_doubles_after_patience():
    scale = LossScale(True, start=4.0, patience=3)
    for finite in (True, True, False, True, True, True):
        scale.update(finite)
    assert scale.value == 4.0
    again = LossScale(True)
    again.restore(scale.state())
    assert again.state() == scale.state()
    off = LossScale(False)
    off.update(False)
    assert off.value == 1.0


# -- dropout -------------------------------------------------------------------------------------------


def test_shared_masks_have_one_fate_along_their_axes():
    torch.manual_seed(0)
    dropped = dropout(torch.ones(3, 50, 40), 0.5, True, (1,))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0], dropped[1])
    assert torch.equal(dropout(torch.ones(3, 4), 0.5, False, (1,)), torch.ones(3, 4))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_on_a_cpu_drops_its_share_and_keeps_the_mean(rate):
    torch.manual_seed(4)
    values = torch.ones(300, 1001, requires_grad=True)
    dropped = dropout(values, rate, True)
    dropped.backward(torch.full_like(dropped, 3.0))
    zeros = (dropped == 0).detach()
    assert float(zeros.float().mean()) == pytest.approx(rate, abs=0.005)
    assert float(dropped.detach().mean()) == pytest.approx(1.0, abs=0.03)
    torch.testing.assert_close(values.grad, 3 * dropped.detach())
    torch.testing.assert_close(
        dropped[~zeros], torch.full_like(dropped[~zeros], 1 / (1 - rate)), rtol=1e-4, atol=0
    )
    # No pattern along the four numbers of a draw, nor from one draw to the next.
    for lag in (1, 2, 3, 4, 8):
        both = (zeros.flatten()[lag:] & zeros.flatten()[:-lag]).float().mean()
        assert float(both) == pytest.approx(rate**2, abs=0.006)
    torch.manual_seed(4)
    assert torch.equal(dropout(values, rate, True), dropped)


def attention_that_shows_its_masks() -> Attention:
    """Two heads of four; all probabilities are 1/4, and what comes out are those that were kept."""
    attention = Attention(8, 2, dropout=0.5).train()
    with torch.no_grad():
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
            layer.bias.zero_()
        attention.q_proj.weight.zero_()
        attention.v_proj.weight.copy_(torch.eye(8))
        attention.out_proj.weight.copy_(torch.eye(8))
    return attention


@pytest.mark.parametrize("broadcast", [False, True])
def test_texts_and_heads_share_their_attention_mask_as_the_authors_have_it(broadcast):
    torch.manual_seed(1)
    attention = attention_that_shows_its_masks()
    attention.broadcast_dropout = broadcast
    found, _, _ = attention(torch.eye(4).repeat(3, 1, 2))
    kept = found.detach().view(3, 4, 2, 4)  # texts, queries, heads, keys
    assert set(kept.unique().tolist()) == {0.0, 0.5}
    assert torch.equal(kept, kept[:1, :, :1].expand_as(kept)) == broadcast


def test_the_objective_chooses_the_kind_of_dropout(make, tiny):
    for kind, chosen in (("broadcast", True), ("elementwise", False)):
        engine = make(fields={**DROPS, "activation_function": "gelu"}, dropout=kind)
        found = {m.broadcast_dropout for m in engine.model.modules() if hasattr(m, "broadcast_dropout")}
        assert found == {chosen}
        seen = []
        layer = engine.model.model.decoder.layers[0]
        layer.fc2.register_forward_pre_hook(
            lambda module, args, seen=seen: seen.append(args[0].detach() == 0)
        )
        engine.step([tiny.batch(1, mlm=False)])
        assert 0.1 < float(seen[0].float().mean()) < 0.3
        assert torch.equal(seen[0], seen[0][:, :1].expand_as(seen[0])) == chosen


# -- remembering ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("adafactor", "float32"),
        ("adamw", "float32"),
        ("muon", "bfloat16"),
        ("adafactor-absolute", "float16"),
    ],
)
def test_a_saved_run_goes_on_bit_by_bit(name, precision, make, tiny, tmp_path):
    settings = {"optim": {"name": name}, "placement": {"precision": precision}, "fields": DROPS, "seed": 5}
    engine = make(**settings)
    for step in range(3):
        engine.step([tiny.batch(step)])
    engine.save(tmp_path)
    found = [engine.step([tiny.batch(step)]) for step in range(3, 6)]
    again = make(tiny.model(seed=9, **DROPS), **settings)
    torch.manual_seed(12345)
    again.load(tmp_path)
    assert again.updates == 3
    repeated = [again.step([tiny.batch(step)]) for step in range(3, 6)]
    assert [(one.sums, one.norm, one.rate) for one in repeated] == [
        (one.sums, one.norm, one.rate) for one in found
    ]
    assert same(weights(again), weights(engine))


@pytest.mark.parametrize("fused", [False, True])
def test_adamw_in_one_kernel_goes_on_with_a_run_in_many_and_the_other_way(fused, make, tiny, tmp_path):
    def engine(one_kernel):
        made = make(optim={"name": "adamw"})
        for group in made.optimizer.param_groups:
            group |= {"fused": one_kernel, "foreach": False}
        return made

    first = engine(fused)
    for step in range(3):
        first.step([tiny.batch(step)])
    first.save(tmp_path)
    other = engine(not fused)
    other.load(tmp_path)
    for step in range(3, 6):
        assert other.step([tiny.batch(step)]).loss == pytest.approx(first.step([tiny.batch(step)]).loss)
    for name, value in weights(first).items():
        torch.testing.assert_close(weights(other)[name], value, rtol=0, atol=1e-5, msg=name)


def test_another_optimizer_or_model_is_refused(make, tiny, tmp_path):
    engine = make()
    engine.step([tiny.batch(0)])
    engine.save(tmp_path)
    with pytest.raises(CheckpointMismatch, match="adamw"):
        make(optim={"name": "adamw"}).load(tmp_path)
    with pytest.raises(CheckpointMismatch, match="has"):
        make(tiny.model(d_model=32)).load(tmp_path)


def test_the_exported_model_says_what_the_engine_knows(make, tiny, tmp_path):
    engine = make()
    engine.step([tiny.batch(0)])
    engine.export(tmp_path)
    model = backend.models["conditional"].from_pretrained(tmp_path)
    for name, value in model.named_parameters():
        assert torch.equal(value, weights(engine)[name]), name


def test_fresh_weights_as_the_authors_drew_them(tiny):
    config = tiny.config(vocab_size=4000, d_model=64, encoder_ffn_dim=256)
    model = backend.fresh("conditional", config, "authors", 3)
    table = model.get_input_embeddings().weight.detach()
    assert float(table[1:].std()) == pytest.approx(64**-0.5, rel=0.02)
    assert not table[0].any()
    assert model.lm_head.weight is model.get_input_embeddings().weight
    kernel = model.model.encoder.layers[0].fc1.weight.detach()
    bound = math.sqrt(6 / (64 + 256))
    assert 0.98 * bound < float(kernel.abs().max()) <= bound
    again = backend.fresh("conditional", config, "authors", 3)
    assert torch.equal(again.lm_head.weight, table)
    usual = backend.fresh("conditional", config, "transformers", 3)
    assert float(usual.model.encoder.layers[0].fc1.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_measures_join_by_tokens():
    one = Measures({"target": 6.0}, {"target": 2}, source_tokens=3, norm=1.0)
    two = Measures(
        {"target": 1.0, "mlm": 5.0}, {"target": 2, "mlm": 1}, {"mlm": 0.5}, source_tokens=4, norm=2.0
    )
    joined = Measures.joined([one, two])
    assert joined.mean("target") == 7 / 4
    assert joined.loss == 7 / 4 + 0.5 * 5
    assert (joined.tokens, joined.norm) == (11, 2.0)
    assert math.isnan(Measures({}, {}).loss)


def test_arrays_of_any_integer_type_do(make, tiny):
    engine, batch = make(), tiny.batch(1)
    wide = {name: array.astype(np.int64) for name, array in batch.items()}
    assert engine.measure(wide).loss == engine.measure(batch).loss


# -- what a CPU does differently -----------------------------------------------------------------------


def same_gradients(one, other, inputs, tolerance=1e-5):
    """Both functions give the same, and the same gradients; each begins with the same draws."""
    found = []
    for function in (one, other):
        torch.manual_seed(21)
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        result = function(*leaves)
        weights = torch.linspace(-1, 1, result.numel()).view(result.shape).to(result.dtype)
        found.append((result.detach(), *torch.autograd.grad((result * weights).sum(), leaves)))
    for first, second in zip(*found):
        torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mask", ["none", "padding", "causal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_text_by_text_equals_attention_written_out(mask, dtype):
    torch.manual_seed(2)
    length, source = (7, 7) if mask == "causal" else (5, 9)
    queries = torch.randn(3, 2, length, 8)
    keys, values = torch.randn(3, 2, source, 8), torch.randn(3, 2, source, 8)
    allowed = torch.ones(length, source).tril().bool()[None, None]
    if mask == "padding":
        allowed = torch.arange(source)[None, None, None] < torch.tensor([9, 4, 6])[:, None, None, None]
    least = torch.finfo(torch.float32).min
    added = None if mask == "none" else torch.zeros(allowed.shape).masked_fill(~allowed, least)

    def plain(queries, keys, values):
        scores = (queries.float() * 0.3) @ keys.float().transpose(2, 3)
        weights = torch.softmax(scores if added is None else scores + added, dim=-1)
        found = []
        for text in range(3):  # drawn in the same order
            kept, scale = draw(weights.shape[1:], 0.4)
            found.append(weights[text] * kept * scale @ values[text].float())
        return torch.stack(found).to(queries.dtype)

    def quick(queries, keys, values):
        return attend_with_dropout(queries, keys, values, added, 0.3, 0.4)

    inputs = [tensor.to(dtype) for tensor in (queries, keys, values)]
    same_gradients(plain, quick, inputs, 1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("mask", ["none", "causal", "padding"])
def test_attention_in_bfloat16_equals_the_fused_kernel(mask):
    torch.manual_seed(2)
    length, source = (7, 7) if mask == "causal" else (5, 9)
    allowed = torch.ones(length, source).tril().bool()[None, None]
    if mask == "padding":
        allowed = torch.arange(source)[None, None, None] < torch.tensor([9, 4, 6])[:, None, None, None]
    least = torch.finfo(torch.bfloat16).min
    added = None if mask == "none" else torch.zeros(allowed.shape).masked_fill(~allowed, least).bfloat16()

    def plain(queries, keys, values):
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=added, scale=0.3)

    def quick(queries, keys, values):
        return attend_in_bfloat16(queries, keys, values, added, 0.3)

    inputs = [torch.randn(3, 2, n, 8).bfloat16() for n in (length, source, source)]
    same_gradients(plain, quick, inputs, 0.03)


def test_relu_and_dropout_in_one_equal_the_two():
    torch.manual_seed(3)
    values = torch.randn(40, 31)

    def plain(values):
        kept, scale = draw(values.shape, 0.3)
        return functional.relu(values) * kept * scale

    same_gradients(plain, lambda values: relu_dropout(values * 1.0, 0.3), [values])


def test_training_on_a_cpu_keeps_no_probabilities(make, tiny, largest_tensor):
    """With dropout, no tensor of the size of all texts' probabilities is made in a whole update."""
    fields = {
        **DROPS,
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 8,
        "max_position_embeddings": 64,
    }
    engine = make(fields=fields)
    batch = tiny.batch(1, rows=8, source=64, target=4, mlm=False)

    with largest_tensor() as largest:
        engine.step([batch])
    assert largest.numbers < 8 * 8 * 64 * 64 / 2
