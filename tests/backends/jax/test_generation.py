"""Generation on JAX: every strategy, few programs, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from pegasus import PegasusForConditionalGeneration, PhrasalConstraint
from pegasus.backends import load_backend
from pegasus.backends.jax.inference import decoder
from pegasus.errors import BadSetting, NotOffered, UnsupportedArgument

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
INPUTS = np.array(json.loads((GOLDEN / "generation-basic.json").read_text())["inputs"])
STRATEGIES = {
    "greedy": {},
    "without a memory": {"use_cache": False, "max_length": 7},
    "sampling": {"do_sample": True, "seed": 5, "top_k": 20, "temperature": 1.3},
    "several samples": {"do_sample": True, "seed": 5, "num_return_sequences": 3, "max_length": 8},
    "beams": {"num_beams": 4, "num_return_sequences": 2, "min_length": 8},
    "beams and rules": {"num_beams": 3, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "max_length": 10},
    "sampled beams": {"num_beams": 3, "do_sample": True, "seed": 2, "max_length": 10},
    "constraints": {"num_beams": 4, "constraints": [PhrasalConstraint([9, 17])], "max_length": 12},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4, "max_length": 9},
    "looking up": {"prompt_lookup_num_tokens": 4, "max_length": 16},
    "a prompt": {"decoder_input_ids": [[0, 7, 12]] * 4, "num_beams": 2, "max_length": 9},
}


@pytest.fixture(scope="module")
def theirs() -> PegasusForConditionalGeneration:
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_words_of_pytorch(name, small, theirs):
    settings = dict(STRATEGIES[name])
    prompt = settings.pop("decoder_input_ids", None)
    given = [
        {} if prompt is None else {"decoder_input_ids": make(prompt)} for make in (np.array, torch.tensor)
    ]
    texts = INPUTS[:1] if "lookup" in str(settings) else INPUTS
    found = small.generate(texts, **settings, **given[0])
    expected = theirs.generate(torch.tensor(texts), **settings, **given[1], return_dict_in_generate=True)
    np.testing.assert_array_equal(found.sequences, expected.sequences.numpy())
    np.testing.assert_allclose(
        found.sequences_scores, expected.sequences_scores.numpy(), atol=2e-5, rtol=2e-5
    )


def test_records(small, theirs):
    """Scores, attentions and hidden states of every step, of the true sizes."""
    settings = {"num_beams": 2, "max_length": 5, "output_scores": True}
    settings |= {"output_attentions": True, "output_hidden_states": True, "return_dict_in_generate": True}
    found = small.generate(INPUTS[:3], **settings)
    expected = theirs.generate(torch.tensor(INPUTS[:3]), **settings)
    assert set(found) == set(expected)
    for name in ("scores", "decoder_attentions", "cross_attentions", "decoder_hidden_states"):
        for mine, other in zip(jax.tree.leaves(found[name]), jax.tree.leaves(expected[name]), strict=True):
            np.testing.assert_allclose(mine, other.numpy(), atol=2e-5, rtol=2e-5)


def test_a_function_of_the_callers(small):
    """It gets and returns arrays of JAX."""

    def ban(ids: jax.Array, scores: jax.Array) -> jax.Array:
        assert isinstance(ids, jax.Array)
        return scores.at[:, favourite].set(-jnp.inf)

    said = np.asarray(small.generate(INPUTS, max_length=8).sequences).ravel()
    favourite = int(np.bincount(said[said > 3]).argmax())
    found = np.asarray(small.generate(INPUTS, max_length=8, logits_processor=[ban]).sequences)
    assert favourite not in found


def test_keys_rule_sampling(small):
    settings = {"do_sample": True, "max_length": 12}
    keys = [jax.random.PRNGKey(1), jax.random.key(1), jax.random.PRNGKey(2)]
    one, same, other = (
        np.asarray(small.generate(INPUTS, prng_key=key, **settings).sequences) for key in keys
    )
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or (one != other).any()
    kept, small.key = small.key, jax.random.PRNGKey(0)
    first, second = (np.asarray(small.generate(INPUTS, **settings).sequences) for _ in range(2))
    assert first.shape != second.shape or (first != second).any()
    small.key = jax.random.PRNGKey(0)
    np.testing.assert_array_equal(small.generate(INPUTS, **settings).sequences, first)
    small.key = kept


def test_encoder_outputs_and_memory_of_the_caller(small):
    mask = (INPUTS != 0).astype(np.int32)
    expected = small.generate(INPUTS, max_length=8, num_beams=2).sequences
    encoded = small.encode(INPUTS, mask)
    found = small.generate(
        encoder_outputs=encoded, attention_mask=mask, max_length=8, num_beams=2
    ).sequences
    np.testing.assert_array_equal(found, expected)
    prompt = np.asarray(small.generate(INPUTS, max_length=8).sequences)[:, :3]
    cache = small.init_cache(len(INPUTS), 5)
    cache = small.decode(prompt[:, :2], encoded, mask, past_key_values=cache).past_key_values
    goes_on = small.generate(
        INPUTS, decoder_input_ids=prompt, past_key_values=cache, max_length=8, num_beams=2
    )
    plain = small.generate(INPUTS, decoder_input_ids=prompt, max_length=8, num_beams=2)
    np.testing.assert_array_equal(goes_on.sequences, plain.sequences)


def test_few_programs_for_many_shapes(small, compilations):
    """Four lengths, batches of 3 and 4, 43 tokens: one program to encode, one step a size."""
    settings = {"num_beams": 2, "min_length": 43, "max_length": 44}
    shapes = ((4, 23), (3, 17), (4, 19), (3, 21), (4, 22))

    def generate() -> None:
        for texts, length in shapes:
            small.generate(INPUTS[:texts, :length], **settings)

    small.generate(INPUTS[:4, :23], **settings)
    encoders, steps = decoder._encode._cache_size(), decoder._step._cache_size()
    first = len(compilations)
    generate()
    assert decoder._encode._cache_size() == encoders
    # Blocks of 2 and 1 texts, where others have ended; else what is new are single numbers of scores.
    assert decoder._step._cache_size() - steps <= 4
    assert len(compilations) - first <= 16
    del compilations[:]
    generate()
    assert not compilations


def test_what_is_refused(small):
    with pytest.raises(NotOffered, match="inputs_embeds"):
        small.generate(inputs_embeds=np.zeros((1, 3, 32), np.float32))
    backend = load_backend("jax")
    with pytest.raises(UnsupportedArgument, match="threads"):
        backend.open_model(GOLDEN / "generation-model", threads=2)
    with pytest.raises(BadSetting, match="no device 'nowhere'"):
        backend.open_model(GOLDEN / "generation-model", device="nowhere")
    with pytest.raises(BadSetting, match="int8"):
        backend.open_model(GOLDEN / "generation-model", dtype="int8")


def test_the_backend_opens_a_model(theirs):
    model = load_backend("jax").open_model(GOLDEN / "generation-model", device="cpu")
    assert (str(model.device), str(model.dtype)) == ("cpu", "float32")
    assert load_backend("jax").best_device() == jax.devices()[0].platform
    summary = np.asarray(model.generate(INPUTS[:1], max_length=8).sequences)[0, 1:].tolist()
    looks = model.attend(INPUTS[0].tolist(), summary)
    np.testing.assert_allclose(looks, theirs.attend(INPUTS[0].tolist(), summary), atol=1e-5)


@pytest.mark.parametrize(("mine", "other"), [("jax", ("torch", "tensorflow")), ("torch", ("jax", "flax"))])
def test_one_framework_never_loads_another(mine, other):
    code = (
        "import sys; from pegasus.backends.choose import open_model; from pathlib import Path\n"
        f"open_model(Path({str(GOLDEN / 'generation-model')!r}), backend={mine!r}, device='cpu')\n"
        f"print([name for name in {other!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
