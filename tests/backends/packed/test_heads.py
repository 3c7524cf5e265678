"""What a packed model is beside its tokens: masks, records, refusals, positions, drawings, other shapes."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pegasus import PegasusConfig, PegasusForConditionalGeneration, TextIteratorStreamer
from pegasus.backends.packed.model import PackedModel
from pegasus.errors import BadSetting, NotOffered
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Ask

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def tiny(**changes: Any) -> PegasusForConditionalGeneration:
    """A random model whose shapes are awkward on purpose."""
    shape = {
        "vocab_size": 173,
        "d_model": 36,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 50,
        "decoder_ffn_dim": 70,
        "max_position_embeddings": 24,
        "init_std": 0.3,
        "scale_embedding": True,
        "activation_function": "relu",
    }
    torch.manual_seed(7)
    model = PegasusForConditionalGeneration(PegasusConfig(**{**shape, **changes}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    model.final_logits_bias.normal_(std=0.5)
    return model.eval()


def log_probs(
    model: Any, ids: torch.Tensor, read: torch.Tensor, mask: torch.Tensor | None = None
) -> np.ndarray:
    """What follows each place of a text that the decoder reads, [B · T, V]."""
    session = model.open_session(Request(input_ids=ids, attention_mask=mask))
    ask = Ask(read.numpy(), count=None, positions=read.shape[1])
    return session.step(ask).log_probs_RC


IDS = torch.tensor([[17, 84, 5, 9, 44, 1], [33, 8, 1, 0, 0, 0], [90, 91, 92, 93, 1, 0]])
READ = torch.tensor([[0, 7, 9, 33], [0, 120, 5, 5], [0, 3, 2, 160]])
MASK = (IDS != 0).long()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"activation_function": "gelu"},
        {"activation_function": "gelu_new"},
        {"activation_function": "silu"},
        {"activation_function": "tanh"},
        {"tie_word_embeddings": False},
        {"scale_embedding": False},
        {"layer_norm_eps": 1e-12, "position_table": "authors"},
        {"d_model": 33, "encoder_attention_heads": 3, "decoder_attention_heads": 1},
    ],
    ids=str,
)
def test_logits_of_every_shape(packed, changes):
    model = tiny(**changes)
    expected = log_probs(model, IDS, READ, MASK)
    found = log_probs(packed(model, threads=1), IDS, READ, MASK)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize(("kind", "allowed"), [("float16", 0.01), ("bfloat16", 0.08), ("int8", 0.2)])
def test_rounded_weights_stay_near(packed, kind, allowed):
    """Distances in standard deviations of the logits; with weights this size rounding shows at once."""
    model = tiny()
    expected, found = (
        log_probs(model, IDS, READ, MASK),
        log_probs(packed(model, kind, threads=1), IDS, READ, MASK),
    )
    error = np.abs(found - expected) / expected.std(axis=1, keepdims=True)
    assert 0 < error.mean() < allowed


def test_pruned_heads(packed):
    model = tiny(d_model=40, encoder_attention_heads=4, decoder_attention_heads=4)
    model.prune_heads({("encoder", 0): [1], ("decoder", 1): [0, 3], ("cross", 2): [2]})
    expected = log_probs(model, IDS, READ, MASK)
    found = log_probs(packed(model, threads=1), IDS, READ, MASK)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    "mask",
    [
        [[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]],
        [[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0]],
    ],
    ids=["in front", "inside"],
)
def test_padding_anywhere(packed, mask):
    model = tiny()
    expected = log_probs(model, IDS, READ, torch.tensor(mask))
    made = packed(model, threads=1)
    np.testing.assert_allclose(log_probs(made, IDS, READ, torch.tensor(mask)), expected, atol=1e-3)
    plainly = log_probs(made, IDS, READ, MASK)
    np.testing.assert_allclose(plainly, log_probs(model, IDS, READ, MASK), atol=1e-3)


def test_a_text_of_padding_alone_is_refused(packed):
    with pytest.raises(BadSetting, match="text 1 is padding from end to end"):
        packed(tiny(), threads=1).generate(IDS, attention_mask=torch.tensor([[1] * 6, [0] * 6, [1] * 6]))


def test_texts_longer_than_the_table(packed):
    model = tiny()
    ids = torch.randint(4, 170, (2, 60), generator=torch.Generator().manual_seed(3))
    read = torch.randint(4, 170, (2, 40), generator=torch.Generator().manual_seed(4))
    made = packed(model, threads=1)
    np.testing.assert_allclose(log_probs(made, ids, read), log_probs(model, ids, read), atol=2e-3)
    options = {"max_length": 70, "min_length": 60, "num_beams": 2}
    assert torch.equal(made.generate(ids, **options), model.generate(ids, **options))


def test_tables_that_a_checkpoint_brought(packed, tmp_path):
    model = tiny()
    for stack in (model.model.encoder, model.model.decoder):
        stack.embed_positions.weight.data.normal_()
    made = packed(model, threads=1)
    expected = log_probs(model, IDS, READ, MASK)
    np.testing.assert_allclose(log_probs(made, IDS, READ, MASK), expected, atol=1e-3)
    made.save_packed(tmp_path)
    again = type(made).from_pretrained(tmp_path, threads=1)
    np.testing.assert_allclose(log_probs(again, IDS, READ, MASK), expected, atol=1e-3)


def test_states_that_were_encoded_before(packed):
    model = tiny()
    made = packed(model, threads=1)
    states = model.get_encoder()(IDS, MASK)
    expected = made.generate(IDS, num_beams=3, max_length=12)
    found = made.generate(encoder_outputs=states, attention_mask=MASK, num_beams=3, max_length=12)
    assert torch.equal(found, expected)


SEARCHES = {
    "greedy": {"num_beams": 1},
    "beams": {"num_beams": 4, "num_return_sequences": 2},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7},
    "constrained": {"num_beams": 3, "force_words_ids": [[11, 12]]},
    "sampling": {"num_beams": 1, "do_sample": True, "top_k": 0, "top_p": 0.9, "seed": 5},
    "sampled beams": {"num_beams": 3, "do_sample": True, "seed": 5},
    "contrastive": {"num_beams": 1, "penalty_alpha": 0.4, "top_k": 3},
    "lookup": {"num_beams": 1, "prompt_lookup_num_tokens": 3},
    "penalty": {"num_beams": 2, "repetition_penalty": 1.4},
    "penalty of greedy": {"num_beams": 1, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
    "no cache": {"num_beams": 2, "use_cache": False},
}


@pytest.mark.parametrize("settings", SEARCHES.values(), ids=SEARCHES)
def test_every_strategy(packed, settings):
    model = tiny()
    options = {"max_length": 20, "return_dict_in_generate": True, "output_scores": True, **settings}
    expected, found = (one.generate(IDS, **options) for one in (model, packed(model, threads=1)))
    assert torch.equal(found.sequences, expected.sequences)
    assert type(found) is type(expected)
    assert len(found.scores) == len(expected.scores)
    for mine, theirs in zip(found.scores, expected.scores):
        torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=1e-3)


def test_the_callers_functions_get_tensors(packed):
    seen = []

    def processor(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        seen.append(ids.shape[1])
        scores[:, 9] += 3.0
        return scores

    model = tiny()
    options = {"logits_processor": [processor], "num_beams": 2, "max_length": 9}
    expected = model.generate(IDS, **options)
    seen.clear()
    assert torch.equal(packed(model, threads=1).generate(IDS, **options), expected)
    assert seen == list(range(1, 9))


def test_an_assistant_may_be_packed(packed):
    model, smaller = tiny(), tiny(decoder_layers=1)
    expected = model.generate(IDS, num_beams=1, max_length=24)
    found = packed(model, threads=1).generate(
        IDS, num_beams=1, max_length=24, assistant_model=packed(smaller, "int8", threads=1)
    )
    assert torch.equal(found, expected)


def test_sampling_follows_the_frameworks_generator(packed):
    made = packed(tiny(), threads=1)
    torch.manual_seed(1)
    first = made.generate(IDS, do_sample=True, num_beams=1, max_length=12)
    torch.manual_seed(1)
    assert torch.equal(made.generate(IDS, do_sample=True, num_beams=1, max_length=12), first)


def test_streaming(packed):
    class Words:
        def decode(self, tokens: list[int], **_: Any) -> str:
            return " ".join(map(str, tokens))

    made = packed(tiny(), threads=1)
    streamer = TextIteratorStreamer(Words(), timeout=60)
    options = {"num_beams": 1, "max_length": 9}
    thread = threading.Thread(
        target=made.generate, args=(IDS[:1],), kwargs={**options, "streamer": streamer}
    )
    thread.start()
    said = "".join(streamer)
    thread.join()
    assert said == " ".join(map(str, made.generate(IDS[:1], **options)[0].tolist()))


def test_several_threads_at_once(packed):
    """They wait for each other; texts with padding in front move the table of positions meanwhile."""
    made = packed(tiny(), threads=1)
    masks = [MASK, MASK.flip(1)]
    jobs = [(ids, mask) for ids, mask in zip([IDS, IDS.flip(1)], masks)] * 6
    expected = [made.generate(ids, attention_mask=mask, num_beams=3, max_length=40) for ids, mask in jobs]
    found: dict[int, torch.Tensor] = {}

    def work(number: int) -> None:
        ids, mask = jobs[number]
        found[number] = made.generate(ids, attention_mask=mask, num_beams=3, max_length=40)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[number], expected[number]) for number in range(len(jobs)))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"head_mask": torch.ones(2, 3)}, "head_mask"),
        ({"decoder_head_mask": torch.ones(3, 2)}, "decoder_head_mask"),
        ({"cross_attn_head_mask": torch.ones(3, 2)}, "cross_attn_head_mask"),
        ({"output_attentions": True, "return_dict_in_generate": True}, "output_attentions"),
        ({"output_hidden_states": True, "return_dict_in_generate": True}, "output_hidden_states"),
        (
            {
                "decoder_input_ids": torch.tensor([[0, 5]] * 3),
                "decoder_attention_mask": torch.tensor([[1, 0]] * 3),
            },
            "a decoder_attention_mask with zeros",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_offered_is_named(packed, arguments, named):
    with pytest.raises(NotOffered, match=f"does not offer {named}: PegasusForConditionalGeneration"):
        packed(tiny(), threads=1).generate(IDS, num_beams=1, **arguments)


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_new", "silu", "tanh"])
def test_where_the_decoder_looked(packed, activation):
    model = tiny(activation_function=activation)
    made = packed(model, threads=1)
    source, summary = [17, 84, 5, 9, 1], [33, 5, 170, 1]
    found = made.attend(source, summary)
    np.testing.assert_allclose(found, model.attend(source, summary), atol=1e-4)


def test_there_is_no_forward_pass(packed):
    with pytest.raises(NotOffered, match="no forward pass to call"):
        packed(tiny(), threads=1)(IDS)


def test_tokens_outside_the_vocabulary(packed):
    with pytest.raises(BadSetting, match="hold 173"):
        packed(tiny(), threads=1).generate(torch.tensor([[5, 173, 1]]))


def test_numpy_in_numpy_out(engine):
    made = PackedModel.from_pretrained(GOLDEN / "generation-model", threads=1)
    found = made.generate(IDS.numpy() % 120, num_beams=2, return_dict_in_generate=True, output_scores=True)
    assert isinstance(found.sequences, np.ndarray)
    assert isinstance(found.scores[0], np.ndarray)
    assert (made.dtype, made.device) == ("float32", "cpu")


def test_it_says_what_it_is(packed):
    made = packed(tiny(), "int8", threads=1)
    assert made.dtype == torch.int8
    assert made.device == torch.device("cpu")
    assert made.can_generate()


OVERFLOW = json.loads((GOLDEN / "overflow.json").read_text())


@pytest.mark.parametrize("kind", ["float32", "float16"])
@pytest.mark.parametrize("settings", OVERFLOW["settings"], ids=lambda one: f"{one['num_beams']} beams")
def test_a_residual_beyond_the_range_of_float16(engine, kind, settings):
    """It reaches 80,000; what the plain modules say in float32 is said."""
    folder = GOLDEN / "overflow-model"
    ids = np.array(OVERFLOW["inputs"])
    expected = PegasusForConditionalGeneration.from_pretrained(folder).generate(
        torch.from_numpy(ids), **settings
    )
    found = PackedModel.from_pretrained(folder, dtype=kind, threads=1).generate(ids, **settings)
    np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.parametrize(("kind", "allowed"), [("bfloat16", 0.1), ("int8", 0.3)])
def test_rounding_a_model_with_a_large_residual_loses_no_number(engine, kind, allowed):
    """Distances in standard deviations of the logits, as above."""
    folder = GOLDEN / "overflow-model"
    ids = torch.tensor(OVERFLOW["inputs"])
    exact, rounded = (
        PackedModel.from_pretrained(folder, dtype=one, threads=1) for one in ("float32", kind)
    )
    mask = (ids != 0).long()
    expected, found = (log_probs(one, ids, ids[:, :4], mask) for one in (exact, rounded))
    error = np.abs(found - expected) / expected.std(axis=1, keepdims=True)
    assert np.isfinite(found).all()
    assert 0 < error.mean() < allowed
