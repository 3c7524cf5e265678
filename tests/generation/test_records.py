"""What ``return_dict_in_generate`` returns: the numbers of transformers 4.34.0 under the same names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from pegasus import PegasusForConditionalGeneration
from pegasus.generation import outputs

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
EXPECTED = load_file(GOLDEN / "generation-records.safetensors")
INPUTS = torch.tensor(json.loads((GOLDEN / "generation-basic.json").read_text())["inputs"])[1:3]
CASES = {
    "greedy": ({"num_beams": 1}, outputs.GreedySearchEncoderDecoderOutput),
    "beam": (
        {"num_beams": 3, "num_return_sequences": 2, "no_repeat_ngram_size": 2},
        outputs.BeamSearchEncoderDecoderOutput,
    ),
    "groups": (
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
        outputs.BeamSearchEncoderDecoderOutput,
    ),
    "contrastive": ({"penalty_alpha": 0.4, "top_k": 3}, outputs.ContrastiveSearchEncoderDecoderOutput),
}
EVERYTHING = {
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_attentions": True,
    "output_hidden_states": True,
}


@pytest.fixture(scope="module")
def model():
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


def at(value, path):
    """A field by its flat name: ``decoder_attentions.2.0``."""
    name, *numbers = path.split(".")
    value = getattr(value, name)
    for number in numbers:
        value = value[int(number)]
    return value


@pytest.mark.parametrize("case", CASES)
def test_every_number(model, case):
    settings, kind = CASES[case]
    found = model.generate(INPUTS, **settings, **EVERYTHING, min_new_tokens=5, max_new_tokens=5)
    assert type(found) is kind
    names = [name.removeprefix(case + ".") for name in EXPECTED if name.startswith(case + ".")]
    assert {"sequences", "scores.4", "encoder_attentions.1", "cross_attentions.4.1"} <= set(names)
    for name in names:
        expected, mine = EXPECTED[f"{case}.{name}"], at(found, name)
        assert tuple(mine.shape) == expected.shape, name
        np.testing.assert_allclose(np.asarray(mine), expected, rtol=1e-4, atol=1e-4, err_msg=name)
    for steps in (
        found.scores,
        found.decoder_attentions,
        found.cross_attentions,
        found.decoder_hidden_states,
    ):
        assert len(steps) == 5


def test_recorded_numbers_may_be_computed_with(model):
    """What was recorded can enter a computation with gradients."""
    found = model.generate(INPUTS, max_new_tokens=2, **EVERYTHING)
    weight = torch.ones((), requires_grad=True)
    (found.decoder_hidden_states[0][-1] * weight).sum().backward()
    assert weight.grad is not None


def test_nothing_is_kept_that_was_not_asked_for(model):
    found = model.generate(INPUTS, num_beams=2, return_dict_in_generate=True)
    assert set(found) == {"sequences", "sequences_scores", "beam_indices", "finished"}
    assert found[0] is found.sequences
    assert found.scores is None


def test_scores_of_sampling_are_those_after_the_filters(model):
    found = model.generate(
        INPUTS,
        do_sample=True,
        top_k=5,
        max_new_tokens=3,
        forced_eos_token_id=None,
        return_dict_in_generate=True,
        output_scores=True,
        seed=1,
    )
    assert isinstance(found, outputs.SampleEncoderDecoderOutput)
    assert [int(torch.isfinite(step).sum()) for step in found.scores] == [10, 10, 10]
    for step, tokens in zip(found.scores, found.sequences[:, 1:].T):
        assert torch.isfinite(step.gather(1, tokens[:, None])).all()


def test_finished_tells_ends_from_limits(model):
    found = model.generate(
        INPUTS, max_new_tokens=6, forced_eos_token_id=None, num_beams=4, return_dict_in_generate=True
    )
    for row, finished in zip(found.sequences.tolist(), found.finished.tolist()):
        assert (1 in row) == finished


def test_transition_scores_add_up(model):
    settings = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 8, "length_penalty": 0.7}
    found = model.generate(INPUTS, **settings, return_dict_in_generate=True, output_scores=True)
    steps = model.compute_transition_scores(found.sequences, found.scores, found.beam_indices)
    said = found.beam_indices >= 0
    # 4.34 counts the start token and not EOS: as many as there are tokens said, EOS among them.
    lengths = said.sum(dim=1) + 1 - found.finished.long()
    np.testing.assert_allclose(steps.sum(dim=1) / lengths**0.7, found.sequences_scores, rtol=1e-4)
    greedy = model.generate(INPUTS, max_new_tokens=4, return_dict_in_generate=True, output_scores=True)
    steps = model.compute_transition_scores(greedy.sequences, greedy.scores, normalize_logits=True)
    assert tuple(steps.shape) == (2, 4)
    assert (steps <= 0).all()
