"""The table of arguments in docs/coming-from-transformers.md is whole and true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from pegasus import PegasusForCausalLM, PegasusForConditionalGeneration
from pegasus.errors import UnsupportedArgument
from pegasus.generation.config import DEFAULTS
from pegasus.generation.constraints import PhrasalConstraint
from pegasus.generation.streaming import BaseStreamer

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
THEIRS = json.loads((GOLDEN / "generation-arguments.json").read_text())
PAGE = (ROOT / "docs" / "coming-from-transformers.md").read_text(encoding="utf-8").split("## generate")[1]
SECTION = PAGE.split("\n## ", 1)[0]  # other parts of the guide list other names
TABLE = dict(re.findall(r"^\| `(\w+)` \| (honoured|different|refused) \|", SECTION, flags=re.MULTILINE))
INPUTS = torch.tensor([[5, 6, 7, 8, 9, 1], [9, 8, 7, 1, 0, 0]])
ONES = torch.ones(2, 4)


class Silent(BaseStreamer):
    def put(self, value):
        pass

    def end(self):
        pass


#: A value for each argument of the call and of the model, and what it needs beside it. Settings not listed
#: are tried with the value of the golden settings, or their default.
VALUES = {
    "inputs": {"inputs": INPUTS},
    "input_ids": {"input_ids": INPUTS},
    "generation_config": {},
    "logits_processor": {"logits_processor": [lambda ids, scores: scores]},
    "stopping_criteria": {"stopping_criteria": [lambda ids, scores: False]},
    "prefix_allowed_tokens_fn": {"prefix_allowed_tokens_fn": lambda text, ids: [1, 5]},
    "synced_gpus": {"synced_gpus": True},
    "assistant_model": {},
    "streamer": {"inputs": INPUTS[:1], "streamer": Silent()},
    "negative_prompt_ids": {"negative_prompt_ids": INPUTS},
    "negative_prompt_attention_mask": {"negative_prompt_attention_mask": INPUTS},
    "attention_mask": {"attention_mask": (INPUTS != 0).long()},
    "inputs_embeds": {"inputs": None, "inputs_embeds": torch.zeros(2, 3, 32)},
    "encoder_outputs": {"inputs": None, "encoder_outputs": (torch.zeros(2, 3, 32),)},
    "decoder_input_ids": {"decoder_input_ids": INPUTS[:, :2]},
    "decoder_attention_mask": {
        "decoder_input_ids": INPUTS[:, :2],
        "decoder_attention_mask": torch.ones(2, 2).long(),
    },
    "head_mask": {"head_mask": ONES},
    "decoder_head_mask": {"decoder_head_mask": ONES},
    "cross_attn_head_mask": {"cross_attn_head_mask": ONES},
    "past_key_values": {},
    "labels": {"labels": INPUTS},
    "decoder_inputs_embeds": {"decoder_inputs_embeds": ONES},
    "return_dict": {"return_dict": True},
    "max_new_tokens": {"max_new_tokens": 4},
    "min_new_tokens": {"min_new_tokens": 4},
    "max_time": {"max_time": 60.0},
    "do_sample": {"do_sample": True},
    "num_beams": {"num_beams": 2},
    "num_beam_groups": {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "diversity_penalty": {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "penalty_alpha": {"penalty_alpha": 0.5, "top_k": 3},
    "low_memory": {"penalty_alpha": 0.5, "top_k": 3, "low_memory": True},
    "force_words_ids": {"force_words_ids": [[9]], "num_beams": 2},
    "constraints": {"constraints": [PhrasalConstraint([9])], "num_beams": 2},
    "sequence_bias": {"sequence_bias": {(5,): 1.0}},
    "bad_words_ids": {"bad_words_ids": [[5]]},
    "exponential_decay_length_penalty": {"exponential_decay_length_penalty": (2, 1.1)},
    "suppress_tokens": {"suppress_tokens": [5]},
    "begin_suppress_tokens": {"begin_suppress_tokens": [5]},
    "forced_decoder_ids": {"forced_decoder_ids": [[1, 5]]},
    "forced_bos_token_id": {"forced_bos_token_id": 5},
    "guidance_scale": {"guidance_scale": 1.5},
    "generation_kwargs": {"generation_kwargs": {"a": 1}},
    "num_return_sequences": {"num_beams": 2, "num_return_sequences": 2},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 2},
    "encoder_hidden_states": {"encoder_hidden_states": torch.zeros(2, 3, 32)},
    "encoder_attention_mask": {
        "encoder_hidden_states": torch.zeros(2, 3, 32),
        "encoder_attention_mask": torch.ones(2, 3).long(),
    },
}


@pytest.fixture(scope="module")
def model():
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


def test_every_argument_of_4_34_is_in_the_table():
    theirs = {name for names in (THEIRS["call"], THEIRS["settings"], THEIRS["model"]) for name in names}
    assert set(TABLE) == theirs
    assert set(THEIRS["settings"]) == set(DEFAULTS)


def arguments(model, name):
    default = model.generation_config.__dict__.get(name)
    given = {"inputs": INPUTS, "max_length": 6} | VALUES.get(name, {name: default})
    if name in ("generation_config", "assistant_model"):
        given[name] = model if name == "assistant_model" else model.generation_config
    if name == "past_key_values":
        given["decoder_input_ids"] = torch.zeros(2, 2, dtype=torch.long)
        given[name] = model(INPUTS, decoder_input_ids=torch.zeros(2, 1, dtype=torch.long)).past_key_values
    if name == "input_ids":
        del given["inputs"]
    return given


@pytest.mark.parametrize("name", sorted(TABLE))
def test_what_the_table_says_of_it(model, name):
    given = arguments(model, name)
    if TABLE[name] == "refused":
        with pytest.raises(UnsupportedArgument, match=name):
            model.generate(**given)
        return
    if name.startswith("encoder_") and name.endswith(("hidden_states", "attention_mask")):
        model = PegasusForCausalLM.from_pretrained(GOLDEN / "generation-causal-model")
    found = model.generate(**given)
    assert found.shape[0] == len(given["inputs"] if given.get("inputs") is not None else INPUTS) * (
        given.get("num_return_sequences") or 1
    )
    assert name in VALUES or name in DEFAULTS, "try it with a value of its own"
