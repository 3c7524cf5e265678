"""``generate`` on PyTorch: inputs in every form, functions of the caller, refusals."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pegasus import (
    GenerationConfig,
    PegasusConfig,
    PegasusForCausalLM,
    PegasusForConditionalGeneration,
    PegasusModel,
)
from pegasus.errors import BadSetting, NotOffered, UnsupportedArgument
from pegasus.generation.stopping import MaxLengthCriteria, MaxTimeCriteria, StoppingCriteriaList
from pegasus.generation.streaming import BaseStreamer

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
INPUTS = torch.tensor(json.loads((GOLDEN / "generation-basic.json").read_text())["inputs"])
MASK = (INPUTS != 0).long()
STRATEGIES = [
    {},
    {"num_beams": 3},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    {"force_words_ids": [[40, 41]], "num_beams": 3},
]


@pytest.fixture(scope="module")
def model():
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


@pytest.fixture(scope="module")
def causal():
    return PegasusForCausalLM.from_pretrained(GOLDEN / "generation-causal-model")


def small(**changes):
    torch.manual_seed(3)
    sizes = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
    }
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return PegasusConfig(vocab_size=128, init_std=0.5, **sizes, **heads, **changes)


# -- the source and the prompt ---------------------------------------------------------------------


@pytest.mark.parametrize("settings", STRATEGIES, ids=str)
def test_one_text_in_a_batch_or_alone(model, settings):
    together = model.generate(INPUTS, **settings)
    for text in range(len(INPUTS)):
        alone = model.generate(INPUTS[text : text + 1, : int(MASK[text].sum())], **settings)
        row = together[text].tolist()
        assert row[: alone.shape[1]] == alone[0].tolist()
        assert set(row[alone.shape[1] :]) <= {0}


@pytest.mark.parametrize("settings", STRATEGIES, ids=str)
def test_the_same_source_in_every_form(model, settings):
    expected = model.generate(INPUTS, **settings).tolist()
    assert model.generate(input_ids=INPUTS, attention_mask=MASK, **settings).tolist() == expected
    embeds = model.get_input_embeddings()(INPUTS) * model.get_encoder().embed_scale
    assert model.generate(inputs_embeds=embeds, attention_mask=MASK, **settings).tolist() == expected
    encoded = model.get_encoder()(INPUTS, attention_mask=MASK)
    assert model.generate(encoder_outputs=encoded, attention_mask=MASK, **settings).tolist() == expected


@pytest.mark.parametrize(
    "settings", [*STRATEGIES[:3], {"num_beams": 3, "return_dict_in_generate": False}], ids=str
)
def test_without_a_cache(model, settings):
    expected = model.generate(INPUTS, max_new_tokens=9, **settings).tolist()
    assert model.generate(INPUTS, max_new_tokens=9, use_cache=False, **settings).tolist() == expected


@pytest.mark.parametrize("beams", [1, 3])
def test_going_on_from_a_memory(model, beams):
    """A prompt that was read before is not read again."""
    prompt = torch.tensor([[0, 0x2F, 0x11]] * len(INPUTS))
    expected = model.generate(INPUTS, decoder_input_ids=prompt, num_beams=beams)
    past = model(
        INPUTS, attention_mask=MASK, decoder_input_ids=prompt[:, :2], use_cache=True
    ).past_key_values
    found = model.generate(INPUTS, decoder_input_ids=prompt, past_key_values=past, num_beams=beams)
    assert found.tolist() == expected.tolist()


def test_masked_places_of_the_prompt_are_not_looked_at(model):
    mask = torch.tensor([[1, 0, 1]] * len(INPUTS))

    def said(word):
        prompt = torch.tensor([[0, word, 0x2F]] * len(INPUTS))
        found = model.generate(INPUTS, decoder_input_ids=prompt, decoder_attention_mask=mask, num_beams=2)
        return found[:, 3:].tolist()

    assert said(0x20) == said(0x55)


def test_head_masks(model):
    heads = torch.ones(2, 4)
    expected = model.generate(INPUTS).tolist()
    same = {"head_mask": heads, "decoder_head_mask": heads, "cross_attn_head_mask": heads}
    assert model.generate(INPUTS, **same).tolist() == expected
    for name in same:
        changed = same | {name: heads * torch.tensor([0.0, 1.0, 0.0, 1.0])}
        assert model.generate(INPUTS, **changed).tolist() != expected, name


def test_a_decoder_alone_goes_on(causal):
    prompt = INPUTS[:, :5].clamp(min=4)
    found = causal.generate(prompt, max_new_tokens=6, num_beams=2)
    assert found[:, :5].tolist() == prompt.tolist()
    assert causal.generate(max_new_tokens=4, bos_token_id=7)[0, 0] == 7


def test_a_decoder_alone_looks_at_encoder_states():
    """With encoder states the decoder says what the whole model says."""
    whole = PegasusForConditionalGeneration(small()).eval()
    alone = PegasusForCausalLM(small()).eval()
    alone.model.decoder.load_state_dict(whole.model.decoder.state_dict())
    alone.lm_head.weight = whole.lm_head.weight
    states = whole.get_encoder()(INPUTS, attention_mask=MASK).last_hidden_state
    start = torch.zeros(len(INPUTS), 1, dtype=torch.long)
    for beams in (1, 3):
        expected = whole.generate(INPUTS, num_beams=beams, max_length=12)
        found = alone.generate(
            start,
            attention_mask=torch.ones_like(start),
            encoder_hidden_states=states,
            encoder_attention_mask=MASK,
            num_beams=beams,
            max_length=12,
        )
        assert found.tolist() == expected.tolist()
    assert (
        alone.generate(start, attention_mask=torch.ones_like(start), max_length=12).tolist()
        != expected.tolist()
    )


# -- settings ---------------------------------------------------------------------


def test_settings_of_the_model_of_a_config_and_of_the_call(model):
    assert model.generation_config.max_length == 24
    assert model.generate(INPUTS, min_length=40).shape[1] == 24
    config = GenerationConfig.from_model_config(model.config)
    config.max_length, config.min_length = 12, 40
    assert model.generate(INPUTS, config).shape[1] == 12
    assert model.generate(INPUTS, generation_config=config, max_length=9).shape[1] == 9


def test_old_fields_of_the_configuration_are_followed_until_settings_are_changed():
    model = PegasusForConditionalGeneration(small())
    model.config.max_length = 7
    assert model.generation_config.max_length == 7
    model.generation_config.num_beams = 3
    model.config.max_length = 9
    assert (model.generation_config.max_length, model.generation_config.num_beams) == (7, 3)


def test_settings_travel_with_the_checkpoint(tmp_path, model):
    copy = PegasusForConditionalGeneration(small())
    copy.generation_config = GenerationConfig(num_beams=5, length_penalty=0.6, eos_token_id=1)
    copy.save_pretrained(tmp_path)
    again = PegasusForConditionalGeneration.from_pretrained(tmp_path).generation_config
    assert (again.num_beams, again.length_penalty, again.pad_token_id, again.decoder_start_token_id) == (
        5,
        0.6,
        0,
        0,
    )


def test_the_authors_search(model):
    """Another search with other words; with many beams its summaries end."""
    ours = model.generate(INPUTS, num_beams=8, search="authors", return_dict_in_generate=True)
    assert ours.sequences.tolist() != model.generate(INPUTS, num_beams=8).tolist()
    again = model.generate(
        INPUTS,
        num_beams=8,
        length_normalization="authors",
        length_penalty=0.8,
        return_dict_in_generate=True,
    )
    theirs = model.generate(INPUTS, num_beams=8, length_penalty=0.8, return_dict_in_generate=True)
    assert again.sequences_scores.tolist() != theirs.sequences_scores.tolist()


@pytest.mark.parametrize("beams", [1, 3])
def test_without_an_end(model, beams):
    """With no EOS token every summary goes to the limit."""
    found = model.generate(
        INPUTS,
        eos_token_id=None,
        forced_eos_token_id=None,
        num_beams=beams,
        max_new_tokens=9,
        return_dict_in_generate=True,
    )
    assert found.sequences.shape == (len(INPUTS), 10)
    assert not found.finished.any()


def test_sampling_follows_the_frameworks_seed(model):
    def drawn(**settings):
        torch.manual_seed(11)
        return model.generate(INPUTS, do_sample=True, max_new_tokens=8, **settings).tolist()

    assert drawn() == drawn()
    assert drawn(num_beams=3) == drawn(num_beams=3)
    assert (
        model.generate(INPUTS, do_sample=True, seed=4).tolist()
        == model.generate(INPUTS, do_sample=True, seed=4).tolist()
    )
    torch.manual_seed(12)
    assert model.generate(INPUTS, do_sample=True, max_new_tokens=8).tolist() != drawn()
    several = model.generate(INPUTS, do_sample=True, num_return_sequences=3, seed=1, max_new_tokens=5)
    assert several.shape[0] == 3 * len(INPUTS)


def test_no_gradients_and_the_mode_stays():
    model = PegasusForConditionalGeneration(small(dropout=0.5)).train()
    seen = {tuple(model.generate(INPUTS[:1], max_new_tokens=8)[0].tolist()) for _ in range(6)}
    assert len(seen) > 1, "dropout is on in training mode, as in transformers"
    assert model.training
    assert not model.generate(INPUTS).requires_grad


# -- functions of the caller ---------------------------------------------------------------------


def test_logits_processors(model):
    shapes = []

    def double_ban(ids, scores):
        shapes.append((tuple(ids.shape), tuple(scores.shape)))
        scores[:, 0x2F] = -torch.inf
        return scores

    found = model.generate(INPUTS, logits_processor=[double_ban], num_beams=3, max_new_tokens=5)
    assert (
        found.tolist()
        == model.generate(INPUTS, bad_words_ids=[[0x2F]], num_beams=3, max_new_tokens=5).tolist()
    )
    assert shapes == [((12, length), (12, 128)) for length in range(1, 6)]


def test_prefix_allowed_tokens(model):
    def even(text, ids):
        assert ids.ndim == 1
        return [1, *range(4 + text % 2, 128, 2)]

    for settings in ({}, {"num_beams": 3}):
        found = model.generate(INPUTS, prefix_allowed_tokens_fn=even, **settings)
        for text, row in enumerate(found.tolist()):
            assert all(token % 2 == text % 2 for token in row if token > 1)


def test_stopping_criteria(model):
    seen = []

    def enough(ids, scores):
        seen.append(tuple(ids.shape))
        return ids.shape[1] >= 6

    criteria = StoppingCriteriaList([enough, MaxLengthCriteria(11)])
    found = model.generate(
        INPUTS, stopping_criteria=criteria, num_beams=2, min_length=20, return_dict_in_generate=True
    )
    assert seen[-1] == (8, 6)
    assert not found.finished.any()
    assert found.sequences.shape[1] == 7, "4.34 writes an end where there is room; so does this"
    assert model.generate(INPUTS, stopping_criteria=criteria, min_length=20).shape[1] == 6


def test_a_time_limit(model):
    def slow(ids, scores):
        time.sleep(0.1)
        return scores

    found = model.generate(INPUTS, logits_processor=[slow], max_time=0.25, min_length=24)
    assert 2 <= found.shape[1] <= 4, "at most three steps of 0.1 s begin within 0.25 s"
    assert not MaxTimeCriteria(100)()
    assert MaxTimeCriteria(1, initial_timestamp=0)()


def test_stop_strings(model):
    tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: " ".join(map(str, ids)))
    plain = model.generate(INPUTS[:1], min_length=24)[0].tolist()
    found = model.generate(INPUTS[:1], min_length=24, stop_strings=[f" {plain[4]}"], tokenizer=tokenizer)
    assert found[0].tolist() == plain[: plain.index(plain[4]) + 1]
    with pytest.raises(BadSetting, match="pass the tokenizer"):
        model.generate(INPUTS[:1], stop_strings="x")


def test_a_streamer_gets_every_token(model):
    class Noting(BaseStreamer):
        def __init__(self):
            self.tokens, self.ended = [], False

        def put(self, value):
            self.tokens += value.reshape(-1).tolist()

        def end(self):
            self.ended = True

    for settings in (
        {},
        {"penalty_alpha": 0.4, "top_k": 4},
        {"prompt_lookup_num_tokens": 3},
        {"do_sample": True},
    ):
        streamer = Noting()
        found = model.generate(INPUTS[:1], streamer=streamer, seed=2, **settings)
        assert streamer.tokens == found[0].tolist()
        assert streamer.ended
    for refused in ({"num_beams": 2}, {"do_sample": True, "num_return_sequences": 2}):
        with pytest.raises(BadSetting, match="one text without beams"):
            model.generate(INPUTS[:1], streamer=Noting(), **refused)


# -- drafting ---------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"no_repeat_ngram_size": 2, "repetition_penalty": 1.2}], ids=str)
def test_drafting_says_the_same(model, settings):
    expected = model.generate(INPUTS, **settings).tolist()
    twin = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    assert model.generate(INPUTS, assistant_model=twin, **settings).tolist() == expected
    assert model.generate(INPUTS, prompt_lookup_num_tokens=4, **settings).tolist() == expected


def test_drafting_records_one_score_per_token(model):
    options = {
        "return_dict_in_generate": True,
        "output_scores": True,
        "max_new_tokens": 7,
        "min_new_tokens": 7,
    }
    plain = model.generate(INPUTS[:1], **options)
    drafted = model.generate(INPUTS[:1], assistant_model=model, **options)
    assert len(drafted.scores) == 7
    for mine, expected in zip(drafted.scores, plain.scores):
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)


def test_drafting_refusals(model):
    with pytest.raises(BadSetting, match="along one line"):
        model.generate(INPUTS, prompt_lookup_num_tokens=3, num_beams=2)
    other = small()
    other.vocab_size = 64
    stranger = PegasusForConditionalGeneration(other)
    with pytest.raises(BadSetting, match="same vocabulary"):
        model.generate(INPUTS, assistant_model=stranger)


RECORDS = ("scores", "logits", "decoder_attentions", "cross_attentions", "decoder_hidden_states")


@pytest.mark.parametrize("prompt", [None, [[0, 8, 9]]])
def test_drafting_records_what_greedy_search_records(model, prompt):
    options = {
        "return_dict_in_generate": True, "output_scores": True, "output_attentions": True,
        "output_hidden_states": True, "output_logits": True, "max_new_tokens": 8, "min_new_tokens": 5,
    }  # fmt: skip
    if prompt is not None:
        options["decoder_input_ids"] = torch.tensor(prompt)
    plain = model.generate(INPUTS[:1], **options)
    for guesses in ({"assistant_model": model}, {"prompt_lookup_num_tokens": 3}):
        drafted = model.generate(INPUTS[:1], **guesses, **options)
        assert torch.equal(drafted.sequences, plain.sequences)
        for name in RECORDS:
            mine, expected = getattr(drafted, name), getattr(plain, name)
            torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)


def test_drafting_records_several_texts(model):
    options = {"return_dict_in_generate": True, "output_scores": True, "max_new_tokens": 6}
    options |= {"output_attentions": True, "min_new_tokens": 6}
    plain = model.generate(INPUTS, **options)
    drafted = model.generate(INPUTS, prompt_lookup_num_tokens=3, **options)
    for name in ("scores", "decoder_attentions", "cross_attentions", "encoder_attentions"):
        mine, expected = getattr(drafted, name), getattr(plain, name)
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 3}, {"num_beams": 4, "num_beam_groups": 2}])
def test_logits_are_those_before_any_processor(model, settings):
    if "num_beam_groups" in settings:
        settings = {**settings, "diversity_penalty": 0.5}
    found = model.generate(
        INPUTS, max_new_tokens=4, repetition_penalty=3.0, suppress_tokens=[7], output_logits=True,
        output_scores=True, return_dict_in_generate=True, **settings,
    )  # fmt: skip
    beams = settings.get("num_beams", 1)
    states = model.get_encoder()(INPUTS, INPUTS.ne(0).long())[0].repeat_interleave(beams, 0)
    first = model(
        encoder_outputs=(states,), attention_mask=INPUTS.ne(0).long().repeat_interleave(beams, 0),
        decoder_input_ids=torch.zeros(len(states), 1, dtype=torch.long),
    ).logits[:, -1]  # fmt: skip
    torch.testing.assert_close(found.logits[0], first, atol=1e-4, rtol=1e-4)
    assert len(found.logits) == len(found.scores)
    assert torch.isfinite(torch.stack(found.logits)).all()
    plain = model.generate(INPUTS, max_new_tokens=2, return_dict_in_generate=True)
    assert plain.logits is None


def test_numbers_of_other_kinds(model):
    expected = model.generate(INPUTS, num_beams=2, max_length=6, repetition_penalty=1.5).tolist()
    for six in (np.int64(6), torch.tensor(6), 6.0, np.array(6)):
        found = model.generate(
            INPUTS, num_beams=np.int32(2), max_length=six, repetition_penalty=np.float32(1.5)
        )
        assert found.tolist() == expected
    for wrong in ("6", 6.5, True):
        with pytest.raises(BadSetting, match=r"max_length is .*a whole number"):
            model.generate(INPUTS, max_length=wrong)


def test_ids_of_other_kinds(model):
    expected = model.generate(INPUTS, max_length=6).tolist()
    for ids in (INPUTS.tolist(), INPUTS.numpy(), INPUTS.int(), tuple(map(tuple, INPUTS.tolist()))):
        assert model.generate(ids, max_length=6).tolist() == expected
    with pytest.raises(BadSetting, match="no text"):
        model.generate(INPUTS[:0])
    for wrong in (INPUTS * 1000, -INPUTS):
        with pytest.raises(IndexError, match=r"input_ids hold -?[\d,]+, and the model knows"):
            model.generate(wrong, max_length=6)


def test_settings_of_another_class(model):
    theirs = SimpleNamespace(
        to_dict=lambda: {"max_length": 6, "num_beams": 2, "decoder_start_token_id": 0, "eos_token_id": 1,
                         "pad_token_id": 0, "transformers_version": "9", "cache_config": None, "prefill": 3,
                         "forced_eos_token_id": model.generation_config.forced_eos_token_id}
    )  # fmt: skip
    found = model.generate(INPUTS, generation_config=theirs, num_beams=3)
    assert torch.equal(found, model.generate(INPUTS, max_length=6, num_beams=3))
    with pytest.raises(BadSetting, match="generation_config is a int"):
        model.generate(INPUTS, generation_config=3)


def test_nothing_to_read(model):
    found = model.generate(bos_token_id=5, max_length=6)
    assert torch.equal(found, model.generate(torch.tensor([[5]]), bos_token_id=5, max_length=6))


def test_the_start_of_the_model_comes_before_the_beginning_of_texts(model):
    found = model.generate(INPUTS, bos_token_id=5, decoder_start_token_id=None, max_length=4)
    assert (found[:, 0] == model.config.decoder_start_token_id).all()


# -- refusals ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({}, BadSetting, "nothing to summarize"),
        ({"inputs": INPUTS, "input_ids": INPUTS}, BadSetting, "given twice"),
        ({"inputs": INPUTS, "inputs_embeds": torch.zeros(4, 3, 32)}, BadSetting, "given twice"),
        ({"inputs": INPUTS[0]}, BadSetting, "texts, tokens"),
        ({"inputs": INPUTS, "decoder_input_ids": torch.zeros(2, 1)}, BadSetting, "must be \\[4, tokens\\]"),
        ({"inputs": INPUTS, "encoder_hidden_states": torch.zeros(4, 3, 32)}, BadSetting, "encoder_outputs"),
        ({"inputs": INPUTS, "negative_prompt_ids": INPUTS}, UnsupportedArgument, "negative_prompt_ids"),
        ({"inputs": INPUTS, "nmu_beams": 2}, BadSetting, "did you mean num_beams"),
        ({"inputs": INPUTS, "penalty_alpha": 0.5, "top_k": 4, "use_cache": False}, BadSetting, "use_cache"),
    ],
)
def test_refusals(model, kwargs, error, message):
    with pytest.raises(error, match=message):
        model.generate(**kwargs)


def test_refusals_of_other_models(model, causal):
    with pytest.raises(NotOffered, match="cannot generate"):
        PegasusModel(small()).generate(INPUTS)
    with pytest.raises(BadSetting, match="a decoder alone has none"):
        causal.generate(INPUTS, encoder_no_repeat_ngram_size=2)
    embeds = torch.zeros(4, 3, 32)
    with pytest.raises(BadSetting, match="look"):
        model.generate(inputs_embeds=embeds, encoder_no_repeat_ngram_size=2)
