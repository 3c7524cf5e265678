"""What the recipe teaches: a teacher's distribution, hidden words, targets that sources bear out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pegasus import PegasusConfig, Summary

SETTINGS = {
    "label_smoothing": 0.0, "soft": 1.0, "temperature": 2.0, "matrix_rate": 0.02, "vector_rate": 0.003,
    "word_ratio": 0.3, "mlm_weight": 0.5,
}  # fmt: skip


def model(width, seed):
    from learn import fresh_model

    config = PegasusConfig(
        vocab_size=120, d_model=width, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=width, decoder_ffn_dim=width, dropout=0.0,
        attention_dropout=0.0, max_position_embeddings=64, scale_embedding=True, activation_function="relu",
    )  # fmt: skip
    return fresh_model(config, seed)


def batch(rows=6, seed=0):
    from feeding import as_batch

    rng = np.random.default_rng(seed)
    source, target = rng.integers(105, 120, (rows, 24)), rng.integers(105, 120, (rows, 8))
    source[:, 20:], target[rows // 2 :, 6:] = 0, 0
    return as_batch(source, target)


def step(lesson, some):
    from learn import optimizers

    optims = optimizers(lesson.learner, SETTINGS)
    for one in some:
        lesson.learner.zero_grad()
        found = lesson(one)
        found["loss"].backward()
        for optim in optims:
            optim.step()
    return {name: float(value.detach()) for name, value in found.items()}


def test_a_pupil_comes_to_say_what_its_teacher_says(script):
    from lessons import Distilled

    teacher = model(48, 1)
    lesson = Distilled(model(32, 2), teacher, SETTINGS)
    before = [weight.clone() for weight in teacher.parameters()]
    first = step(lesson, [batch()])
    last = step(lesson, [batch()] * 25)
    assert last["teacher"] < 0.5 * first["teacher"]
    assert all(torch.equal(one, other) for one, other in zip(before, teacher.parameters(), strict=True))
    assert not teacher.training


def test_the_loss_is_its_two_parts(script):
    from lessons import Distilled

    for share in (0.0, 0.3, 1.0):
        found = Distilled(model(32, 2), model(48, 1), {**SETTINGS, "soft": share})(batch())
        expected = (1 - share) * found["target"] + share * found["teacher"]
        torch.testing.assert_close(found["loss"], expected)


def test_divergence_is_that_of_the_tempered_distributions(script):
    from lessons import divergence

    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    p, q = (torch.softmax(one / 3.0, -1) for one in logits)
    expected = 9.0 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(divergence(*logits, 3.0), expected)
    assert float(divergence(logits[0], logits[0], 3.0)) == pytest.approx(0.0, abs=1e-6)


def test_words_are_hidden_only_where_sentences_are(script):
    from feeding import hide

    from pegasus.data.mask import Symbols

    known = Symbols(120, 105, np.ones(120, bool))
    plain = batch()
    plain["input_ids"][:3, 5] = 2
    (found,) = [next(hide(lambda first: iter([plain] * (9 - first)), SETTINGS, known, 1)(4))]
    hidden = found["mlm_labels"] != -100
    assert hidden[:3].any(1).all()
    assert not hidden[3:].any()
    assert (found["input_ids"][3:] == plain["input_ids"][3:]).all()
    assert (found["mlm_labels"][hidden] == plain["input_ids"][hidden]).all()
    assert (found["input_ids"][:3, 5] == 2).all()
    fifth = list(hide(lambda first: iter([plain] * (9 - first)), SETTINGS, known, 1)(0))[4]
    assert (fifth["input_ids"] == found["input_ids"]).all()


def test_hidden_words_are_learned_beside_the_target(script):
    from lessons import Plain

    some = batch()
    covered = np.where(some["input_ids"] == 110, 110, -100)
    hidden = {**some, "input_ids": np.where(covered == 110, 3, some["input_ids"]), "mlm_labels": covered}
    lesson = Plain(model(32, 2), SETTINGS)
    first = step(lesson, [hidden])
    last = step(lesson, [hidden] * 12)
    assert last["mlm"] < 0.7 * first["mlm"]
    assert last["loss"] == pytest.approx(last["target"] + 0.5 * last["mlm"], rel=1e-4)


def test_batches_made_ahead_are_the_same(script):
    from feeding import ahead

    def feed(first):
        return (batch(seed=number) for number in range(first, 9))

    here, there = list(feed(2)), list(ahead(feed)(2))
    assert len(here) == len(there) == 7
    for one, other in zip(here, there, strict=True):
        assert all((one[name] == other[name]).all() for name in one)


SOURCE = (
    "Ann Marlow opened the new bridge over the river Tay in 1966. It cost nine million pounds to build."
)
WRITTEN = Summary("", 0.0, 30, 30, False, 12, "eos")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Ann Marlow opened the bridge in 1966.", "Ann Marlow opened the bridge in 1966."),
        ("Ann Marlow opened the bridge. John Smith built the bridge.", "Ann Marlow opened the bridge."),
        ("Ann Marlow opened the bridge in 1967.", ""),
        ("The bridge cost nine million. " * 6, ""),
        ("", ""),
    ],
    ids=["borne out", "a wrong name later", "a wrong number", "in circles", "empty"],
)
def test_a_target_says_what_its_source_says(script, prepared, text, kept):
    from pseudo import good
    from scales import read_recipe
    from sentencepiece import SentencePieceProcessor

    recipe = read_recipe(script.SCALES["gpu"])
    settings = {**recipe["pairs"], **recipe["pseudo"], "target_tokens": 200}
    pieces = SentencePieceProcessor(model_file=str(prepared / "spiece.model"))
    assert good(replace(WRITTEN, text=text), SOURCE, pieces, settings) == kept
    assert good(replace(WRITTEN, text=text, finish_reason="length"), SOURCE, pieces, settings) == ""


def test_the_gpu_scale_says_only_what_differs(script):
    from scales import finetuning, pretraining, read_recipe

    small, large = (read_recipe(script.SCALES[scale]) for scale in ("cpu", "gpu"))
    assert large["model"] == small["model"]
    assert large["vocabulary"] == small["vocabulary"]
    for teacher in (False, True):
        assert len(pretraining(large, teacher)) == len(large["pretrain"])
    assert finetuning(large, "distill")["target_tokens"] == small["finetune"]["target_tokens"]
    assert sum(large["distill"]["share"].values()) < 1


def test_a_recipe_without_a_teacher_says_so(script):
    from scales import read_recipe
    from stages import everything

    small, large = (read_recipe(script.SCALES[scale]) for scale in ("cpu", "gpu"))
    assert everything(small) == [
        "vocabulary",
        "prepare",
        "pairs",
        "pretrain",
        "finetune",
        "export",
        "evaluate",
    ]
    assert "finetune" not in everything(large)
    with pytest.raises(ValueError, match="scale gpu"):
        script.run(script.Job(small, None, None, again=False), ["distill"])
