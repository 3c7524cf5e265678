"""The decoder for GPUs, made to run on the CPU: the answers of the plain one, whatever is asked."""

from __future__ import annotations

import copy
import gc
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.torch.inference import static_step
from pegasus.backends.torch.inference.decoder import TorchDecoder
from pegasus.backends.torch.inference.static import StaticDecoder
from pegasus.backends.torch.inference.static_cache import Shape
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Ask, DecoderSession, Edit

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
FAMILIES = ("basic", "rules", "groups", "constrained", "contrastive", "prompted")
FILES = {name: json.loads((GOLDEN / f"generation-{name}.json").read_text()) for name in FAMILIES}
RECORDS = [
    (family, record)
    for family, file in FILES.items()
    for record in file["records"]
    if not ({"force_words_ids", "constraints"} & record["settings"].keys())
]
INPUTS = torch.tensor(FILES["basic"]["inputs"])


def load(**fields: Any) -> Any:
    model = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model", **fields)
    model.static_memory = True
    return model


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def plain():
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


def name(family: str, record: dict[str, Any]) -> str:
    return family + ":" + ",".join(f"{key}={value}" for key, value in record["settings"].items())


@pytest.mark.parametrize(("family", "record"), RECORDS, ids=[name(*record) for record in RECORDS])
def test_the_tokens_of_transformers(model, family, record):
    """Every recorded setting, tokens and padding and scores."""
    file, settings = FILES[family], dict(record["settings"])
    inputs = torch.tensor(file["inputs"])
    if "decoder_input_ids" in settings:
        settings["decoder_input_ids"] = torch.tensor([settings["decoder_input_ids"]] * len(inputs))
    found = model.generate(inputs, **settings, return_dict_in_generate=True)
    rows = [file["rows"][row] for row in record["rows"]]
    assert found.sequences.tolist() == [
        [int(row[at : at + 2], 16) for at in range(0, len(row), 2)] for row in rows
    ]
    if "scores" in record:
        np.testing.assert_allclose(found.sequences_scores.numpy(), record["scores"], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("settings", [{"prompt_lookup_num_tokens": 3}, {"num_beams": 3, "max_length": 200}])
def test_drafts_and_long_texts(model, plain, settings):
    """Several tokens a pass, rejected ones forgotten; more places than a memory starts with."""
    settings = {"min_length": 150 if "max_length" in settings else 0, **settings}
    assert model.generate(INPUTS, **settings).tolist() == plain.generate(INPUTS, **settings).tolist()


def sessions(model, plain, request):
    with torch.no_grad():
        states = plain.get_encoder()(request.input_ids, request.attention_mask).last_hidden_state
    own = plain.open_session(request)
    assert type(own.decoder) is TorchDecoder
    decoder = StaticDecoder(model, states, request.attention_mask)
    return DecoderSession(decoder, model.to_native, model.to_host), own


def test_every_kind_of_question(model, plain):
    """A long random talk: rows change places, texts leave, beams come and go, memory is cut."""
    rng = np.random.default_rng(5)
    request = Request(input_ids=INPUTS, attention_mask=(INPUTS != 0).long())
    static, own = sessions(model, plain, request)
    texts, beams, length = len(INPUTS), 1, 0
    for turn in range(60):
        tokens = 1 if turn % 5 else int(rng.integers(1, 5))
        ask: dict[str, Any] = {"count": int(rng.integers(1, 9)) if turn % 7 else 70}
        if turn:
            wider = int(rng.integers(1, 5)) if turn % 4 == 0 else beams
            old = np.arange(texts)
            if turn in (20, 40):
                ask["texts_B"] = old = np.delete(old, rng.integers(texts))
            picks = rng.integers(beams, size=(len(old), wider))
            ask["parents_R"] = (old[:, None] * beams + picks).reshape(-1)
            texts, beams = len(old), wider
            if turn % 6 == 0:
                ask["keep"] = length = length - int(rng.integers(0, 3))
        rows = texts * beams
        ask["tokens_RT"] = rng.integers(3, 128, (rows, tokens))
        ask["positions"] = int(rng.integers(1, tokens + 1))
        ask["scores"] = "log_probs" if turn % 2 else "logits"
        if turn % 3 == 0:
            ask["edits"] = [Edit("ban", tokens_N=np.array([5, 9, 11]))]
        if turn % 5 == 2:
            ask["also_RK"] = rng.integers(0, 128, (rows, 3))
            ask["hidden"] = True
        length += tokens
        found, expected = static.step(Ask(**ask)), own.step(Ask(**ask))
        np.testing.assert_allclose(found.log_probs_RC, expected.log_probs_RC, rtol=1e-4, atol=2e-4)
        assert (found.tokens_RC == expected.tokens_RC).mean() > 0.98
        for one, other in ((found.also_RK, expected.also_RK), (found.hidden_RTD, expected.hidden_RTD)):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
        if turn % 9 == 4:
            again = Ask(np.zeros((rows, 0), np.int64), count=3)
            if ask["positions"] == 1:
                np.testing.assert_allclose(
                    static.step(again).log_probs_RC, own.step(again).log_probs_RC, rtol=1e-4, atol=2e-4
                )


def test_memories_are_kept_and_never_shared(plain):
    model = load()
    expected = plain.generate(INPUTS, num_beams=3).tolist()
    assert model.generate(INPUTS, num_beams=3).tolist() == expected
    kept = list(model._memories._all)
    assert len(kept) == 2  # one row a text for the first token, then three
    assert model.generate(INPUTS, num_beams=3).tolist() == expected
    assert {id(one) for one in model._memories._all} == {id(one) for one in kept}
    request = Request(input_ids=INPUTS, attention_mask=(INPUTS != 0).long())
    talks = [model.open_session(request) for _ in range(2)]
    start = Ask(np.zeros((len(INPUTS), 1), np.int64), count=4)
    first = [talk.step(start).log_probs_RC for talk in talks]
    np.testing.assert_array_equal(*first)
    assert talks[0].decoder.memory is not talks[1].decoder.memory
    on = Ask(np.full((len(INPUTS), 1), 7), count=4)
    other = Ask(np.full((len(INPUTS), 1), 9), count=4)
    alone = model.open_session(request)
    alone.step(start)
    talks[1].step(other)
    np.testing.assert_array_equal(talks[0].step(on).log_probs_RC, alone.step(on).log_probs_RC)
    del talks, alone
    gc.collect()
    assert all(memory.free for memory in model._memories._all)


def test_changed_weights_are_seen(plain):
    model, other = load(), copy.deepcopy(plain)
    model.generate(INPUTS, num_beams=2)
    with torch.no_grad():
        for one in (model, other):
            one.model.decoder.layers[0].self_attn.k_proj.weight.mul_(-1)
    expected = other.generate(INPUTS, num_beams=2).tolist()
    assert expected != plain.generate(INPUTS, num_beams=2).tolist()
    assert model.generate(INPUTS, num_beams=2).tolist() == expected


def test_copies_of_the_model_start_without_memories(model):
    model.generate(INPUTS)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again._memories._all == []
        assert again.generate(INPUTS).tolist() == model.generate(INPUTS).tolist()


def opened(model, **more):
    request = {"input_ids": INPUTS, "attention_mask": (INPUTS != 0).long(), **more}
    return type(model.open_session(Request(**request)).decoder)


def test_what_it_has_no_place_for_is_left_to_the_plain_decoder(model):
    assert opened(model) is StaticDecoder
    assert opened(model, use_cache=False) is TorchDecoder
    assert opened(model, decoder_head_mask=torch.ones(2, 4)) is TorchDecoder
    assert opened(model, decoder_attention_mask=torch.ones(len(INPUTS), 1)) is TorchDecoder
    assert opened(load().train()) is TorchDecoder
    pruned = load()
    pruned.prune_heads({("decoder", 0): [1]})
    assert opened(pruned) is TorchDecoder
    for choice in (None, False):
        other = load()
        other.static_memory = choice
        assert opened(other) is TorchDecoder
    with torch.autocast("cpu", torch.bfloat16):
        assert opened(model) is TorchDecoder


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_says_what_the_modules_say(dtype):
    """With a residual beyond float16's range; the sums differ in order, so nearly."""
    record = json.loads((GOLDEN / "overflow.json").read_text())
    texts = torch.tensor(record["inputs"])
    low = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "overflow-model", torch_dtype=dtype)
    full = PegasusForConditionalGeneration.from_pretrained(GOLDEN / "overflow-model")
    low.static_memory = True
    request = Request(input_ids=texts, attention_mask=(texts != 0).long())
    static, own = low.open_session(request), full.open_session(request)
    for token in (0, 5, 7):
        ask = Ask(np.full((len(texts), 1), token), count=None)
        found, expected = static.step(ask).log_probs_RC, own.step(ask).log_probs_RC
        assert np.isfinite(found).all()
        assert np.abs(found - expected).max() < (0.05 if dtype == "float16" else 0.5) * expected.std()
    if dtype == "float16":
        for settings, rows in zip(record["settings"], record["answers"]["4.34.0"]["float32"]["rows"]):
            said = low.generate(texts, **settings).tolist()
            wanted = [[int(row[at : at + 2], 16) for at in range(0, len(row), 2)] for row in rows]
            assert [one[: len(row)] for one, row in zip(said, wanted)] == wanted


def test_shapes_are_few():
    assert [Shape.holding(n, 8, 1, 1).texts for n in (1, 2, 3, 4, 5, 7, 9, 13, 17, 25)] == [
        1, 2, 3, 4, 6, 8, 12, 16, 24, 32,
    ]  # fmt: skip
    assert Shape.holding(1, 4, 129, 65) == Shape(1, 4, 256, 128)


def test_a_pass_has_no_graph_break(model):
    """Traced whole, with a position that is a number on the device: what recording it needs."""
    request = Request(input_ids=INPUTS, attention_mask=(INPUTS != 0).long())
    session = model.open_session(request)
    session.step(Ask(np.zeros((len(INPUTS), 1), np.int64), count=4))
    decoder = session.decoder
    memory, rows = decoder.memory, decoder.memory.texts
    tokens, parents = torch.full((rows, 1), 7), torch.arange(rows)
    torch._dynamo.reset()
    compiled = torch.compile(static_step.read, fullgraph=True, backend="eager")
    with torch.inference_mode():
        for length in (1, 2):  # the same program for another position
            given = (decoder.weights, memory, 32, tokens, parents, torch.tensor(length))
            found = compiled(*given)
            torch.testing.assert_close(found, static_step.read(*given))
