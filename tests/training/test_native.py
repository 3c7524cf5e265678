"""Learning with the native library against the plain modules, in float32 and under autocast."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pegasus import PegasusConfig, PegasusForConditionalGeneration
from pegasus.backends.contract import IGNORED
from pegasus.backends.contract.learning import Objective
from pegasus.backends.native import batches
from pegasus.backends.native.learning import not_offered
from pegasus.backends.torch.learning.learner import Learner, to_device
from pegasus.backends.torch.learning.native_loss import reason_against
from pegasus.errors import BadSetting

pytestmark = pytest.mark.skipif(not_offered() is not None, reason=str(not_offered()))

SCALES = {"target": 0.5, "mlm": 0.3}


def model_of(**settings):
    rest = {
        "vocab_size": 1003, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2,
        "encoder_attention_heads": 2, "decoder_attention_heads": 1, "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 96, "activation_function": "relu", "scale_embedding": True,
        "max_position_embeddings": 48, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
    }  # fmt: skip
    torch.manual_seed(0)
    model = PegasusForConditionalGeneration(PegasusConfig(**{**rest, **settings}))
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            level = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            torch.nn.init.normal_(weight, level, 0.08)
    model.get_input_embeddings().weight.data[0] = 0
    return model


def batch_of(hidden: bool = True):
    """Texts of very different lengths, one with a hole; labels with one; longer than the position table."""
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(2, 1003, (5, 70)), rng.integers(2, 1003, (5, 37))
    mask, mlm = np.ones((5, 70), np.int64), np.full((5, 70), IGNORED)
    for row, (source, target) in enumerate([(70, 37), (33, 5), (64, 32), (1, 1), (45, 20)]):
        mask[row, source:] = ids[row, source:] = 0
        labels[row, target:] = IGNORED
    mask[0, 5] = 0
    labels[2, 7] = IGNORED
    mlm[0, 3], mlm[2, 10], mlm[4, 44] = 7, 9, 1002
    rest = {"mlm_labels": mlm} if hidden else {}
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, **rest}


class Watched:
    """A learner, and whether its last pass was native."""

    def __init__(self, model, **objective):
        self.model = model
        self.learner = Learner(model, Objective(parts=("target", "mlm"), **objective)).train()

    def learn(self, batch, monkeypatch, native=True, lower=True, seed=0, smoothing=0.1):
        self.native = False
        compute = self.learner._native_loss.compute

        def watched(*args):
            self.native = True
            return compute(*args)

        self.model.zero_grad(set_to_none=True)
        torch.manual_seed(seed)
        with monkeypatch.context() as patch:
            patch.setenv("PEGASUS_NO_NATIVE", "0" if native else "1")
            patch.setattr(self.learner._native_loss, "compute", watched)
            with torch.autocast("cpu", torch.bfloat16, enabled=lower):
                loss, sums = self.learner(to_device(batch, torch.device("cpu")), SCALES, smoothing)
        if loss.requires_grad:
            loss.backward()
        gradients = {n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None}
        return loss.item(), sums.numpy(), gradients


def distance(found, wanted):
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-9))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_and_gradients_are_as_near_to_float32_as_under_autocast(monkeypatch, smoothing):
    watched = Watched(model_of())
    exact = watched.learn(batch_of(), monkeypatch, native=False, lower=False, smoothing=smoothing)
    lower = watched.learn(batch_of(), monkeypatch, native=False, smoothing=smoothing)
    assert not watched.native
    found = watched.learn(batch_of(), monkeypatch, smoothing=smoothing)
    assert watched.native
    np.testing.assert_allclose(found[0], exact[0], rtol=3e-4)
    np.testing.assert_allclose(found[1], exact[1], rtol=3e-4)
    assert found[2].keys() == exact[2].keys()
    for name, wanted in exact[2].items():
        assert distance(found[2][name], wanted) < 2 * distance(lower[2][name], wanted) + 5e-3, name
    together = [torch.cat([part[2][n].flatten() for n in exact[2]]) for part in (found, lower, exact)]
    assert distance(together[0], together[2]) < 1.4 * distance(together[1], together[2])


def test_without_a_mask_or_mlm_tokens(monkeypatch):
    batch = {name: array[:, :33] for name, array in batch_of(hidden=False).items() if "mask" not in name}
    batch["labels"] = np.where(batch["labels"] == IGNORED, 5, batch["labels"])
    watched = Watched(model_of())
    exact = watched.learn(batch, monkeypatch, native=False, lower=False)
    found = watched.learn(batch, monkeypatch)
    assert watched.native
    np.testing.assert_allclose(found[1], exact[1], rtol=3e-4)
    name = "model.encoder.layers.0.self_attn.q_proj.weight"
    assert distance(found[2][name], exact[2][name]) < 0.05


def test_threads_and_portions_change_rounding_only(monkeypatch):
    watched = Watched(model_of())
    whole = watched.learn(batch_of(), monkeypatch)
    again = watched.learn(batch_of(), monkeypatch)
    assert all(torch.equal(whole[2][name], again[2][name]) for name in whole[2])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        monkeypatch.setattr(batches, "PORTION_TOKENS", 40)
        parts = watched.learn(batch_of(), monkeypatch)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-5)
    for name, wanted in whole[2].items():
        assert distance(parts[2][name], wanted) < 0.02, name


@pytest.mark.parametrize("rates", [(0.3, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, 0.3), (0.1, 0.1, 0.1)])
def test_dropout_comes_back_as_it_went(monkeypatch, rates):
    """With the same numbers dropped, the loss along its gradient changes as fast as that is long."""
    names = ("dropout", "attention_dropout", "activation_dropout")
    watched = Watched(model_of(**dict(zip(names, rates, strict=True))))
    loss, _, gradients = watched.learn(batch_of(), monkeypatch, seed=3)
    assert watched.native
    assert watched.learn(batch_of(), monkeypatch, seed=3)[0] == loss
    assert watched.learn(batch_of(), monkeypatch, seed=4)[0] != loss
    length = float(torch.cat([g.flatten() for g in gradients.values()]).norm())
    ends = []
    for step in (0.02, -0.02):
        weights = dict(watched.model.named_parameters())
        with torch.no_grad():
            kept = {name: weights[name].clone() for name in gradients}
            for name, gradient in gradients.items():
                weights[name] += step * gradient / length
            ends.append(watched.learn(batch_of(), monkeypatch, seed=3)[0])
            for name, weight in kept.items():
                weights[name].copy_(weight)
    assert (ends[0] - ends[1]) / 0.04 == pytest.approx(length, rel=0.1)


def test_dropout_keeps_the_mean(monkeypatch):
    """What is left is scaled up, so that the losses of many draws lie around the plain one."""
    plain = Watched(model_of()).learn(batch_of(), monkeypatch)[0]
    watched = Watched(model_of(dropout=0.05, attention_dropout=0.05, activation_dropout=0.05))
    losses = [watched.learn(batch_of(), monkeypatch, seed=seed)[0] for seed in range(12)]
    assert np.std(losses) > 1e-3
    assert abs(np.mean(losses) - plain) < 0.15 * plain
    watched.learner.eval()
    assert watched.learn(batch_of(), monkeypatch)[0] == pytest.approx(plain, rel=1e-6)


def test_frozen_parts_get_no_gradient(monkeypatch):
    watched = Watched(model_of(), frozen=("encoder", "embeddings"))
    whole = Watched(model_of()).learn(batch_of(), monkeypatch)[2]
    found = watched.learn(batch_of(), monkeypatch)[2]
    assert watched.native
    assert all(".decoder." in name for name in found)
    assert found
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, whole[name])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"activation_function": "gelu"}, "relu"),
        ({"encoder_ffn_dim": 100}, "multiple"),
        ({"encoder_attention_heads": 4}, "multiple"),
        ({"encoder_layerdrop": 0.1}, "drops layers"),
        ({"tie_word_embeddings": False}, "output layer"),
    ],
)
def test_other_models_are_taught_plainly(monkeypatch, settings, why):
    model = model_of(**settings)
    assert why in reason_against(model)
    watched = Watched(model)
    assert np.isfinite(watched.learn(batch_of(), monkeypatch)[0])
    assert not watched.native


def test_other_settings_are_taught_plainly(monkeypatch):
    watched = Watched(model_of(dropout=0.1), dropout="broadcast")
    watched.learn(batch_of(), monkeypatch)
    assert not watched.native
    watched = Watched(model_of())
    watched.learn(batch_of(), monkeypatch, lower=False)
    assert not watched.native
    empty = batch_of(hidden=False)
    empty["attention_mask"][1] = 0
    watched.learn(empty, monkeypatch)
    assert not watched.native
    monkeypatch.setenv("PEGASUS_NO_NATIVE", "1")
    assert "PEGASUS_NO_NATIVE" in reason_against(model_of())


@pytest.mark.parametrize(
    ("name", "token"), [("input_ids", 1003), ("input_ids", -100), ("labels", 1003), ("mlm_labels", 1003)]
)
def test_tokens_beyond_the_vocabulary_are_an_error(monkeypatch, name, token):
    watched, batch = Watched(model_of()), batch_of()
    batch[name][0, 3] = token
    said = r"out of (range|bounds)|knows the tokens"
    with pytest.raises((IndexError, RuntimeError, BadSetting), match=said):
        watched.learn(batch, monkeypatch)
    assert not watched.native
