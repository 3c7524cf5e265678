"""Where settings come from, what they may be, and that files keep them."""

from __future__ import annotations

import json

import pytest

from pegasus import GenerationConfig, PegasusConfig
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointNotFound, UnsupportedArgument
from pegasus.generation.arguments import limits_for, settings_for
from pegasus.generation.config import DEFAULTS, OURS


def test_the_defaults_of_4_34():
    config = GenerationConfig()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    assert (config.max_length, config.top_k, config.num_beams, config.use_cache) == (20, 50, 1, True)
    assert {name: getattr(config, name) for name in OURS} == OURS


def test_round_trip(tmp_path):
    bias = {(3, 4): -1.5, (7,): 2.0}
    config = GenerationConfig(num_beams=8, length_penalty=0.6, sequence_bias=bias, a_key_of_others=[1, 2])
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "generation_config.json").read_text())
    assert written.pop("transformers_version") == "4.34.0"  # whose fields these are
    from_model = GenerationConfig.from_model_config(PegasusConfig())
    assert from_model.transformers_version == "4.34.0"
    assert set(written) == {"num_beams", "length_penalty", "sequence_bias", "a_key_of_others"}
    again = GenerationConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.sequence_bias == bias
    assert again.a_key_of_others == [1, 2]
    assert hash(again) == hash(config)


def test_a_tasks_own_file(tmp_path):
    GenerationConfig(max_length=64).save_pretrained(
        tmp_path, "generation_config_for_summarization_xsum.json"
    )
    config, unused = GenerationConfig.from_pretrained(
        tmp_path,
        "generation_config_for_summarization_xsum.json",
        num_beams=4,
        no_such_setting=1,
        return_unused_kwargs=True,
    )
    assert (config.max_length, config.num_beams) == (64, 4)
    assert unused == {"no_such_setting": 1}


def test_old_configurations_hold_settings():
    model = PegasusConfig(max_length=128, min_length=32, num_beams=8, length_penalty=0.8)
    config = GenerationConfig.from_model_config(model)
    assert (config.max_length, config.min_length, config.num_beams) == (128, 32, 8)
    assert (config.pad_token_id, config.eos_token_id, config.forced_eos_token_id) == (0, 1, 1)
    assert not hasattr(config, "d_model")


def test_files_that_are_none(tmp_path):
    with pytest.raises(CheckpointNotFound, match="holds no generation_config"):
        GenerationConfig.from_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointCorrupt, match="not JSON"):
        GenerationConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"early_stopping": "sometimes"}, "early_stopping is 'sometimes'"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"num_return_sequences": 2}, "1 without beams"),
        ({"num_beams": 2, "num_return_sequences": 3}, "at most num_beams, 2"),
        ({"num_beams": 4, "num_beam_groups": 3, "diversity_penalty": 1.0}, "divisible"),
        ({"num_beams": 4, "num_beam_groups": 2}, "diversity_penalty is 0.0"),
        ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0, "do_sample": True}, "do_sample"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"temperature": -1.0, "do_sample": True}, "temperature is -1.0"),
        ({"search": "theirs"}, "search is 'theirs'"),
        ({"length_normalization": "mine"}, "length_normalization is 'mine'"),
    ],
)
def test_settings_that_make_no_sense(values, message):
    with pytest.raises(BadSetting, match=message):
        GenerationConfig(**values)


def test_the_call_wins_over_the_config():
    config = GenerationConfig(num_beams=8, max_length=64)
    settings, for_model = settings_for(
        config, {"num_beams": 2, "attention_mask": "mask", "head_mask": None}
    )
    assert (settings.num_beams, settings.max_length) == (2, 64)
    assert for_model == {"attention_mask": "mask"}
    assert config.num_beams == 8, "the model's own settings stay as they are"


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"num_beam": 4}, BadSetting, "did you mean num_beams"),
        ({"xyzzy": 4}, BadSetting, "no argument 'xyzzy'"),
        ({"guidance_scale": 1.5}, UnsupportedArgument, "guidance_scale"),
        ({"negative_prompt_ids": 1}, UnsupportedArgument, "guidance"),
        ({"decoder_inputs_embeds": 1}, UnsupportedArgument, "decoder_input_ids"),
        ({"generation_kwargs": {"a": 1}}, UnsupportedArgument, "generation_kwargs"),
    ],
)
def test_unknown_and_refused_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        settings_for(GenerationConfig(), kwargs)


@pytest.mark.parametrize(
    ("settings", "explicit", "longest", "shortest"),
    [
        ({"max_length": 64}, True, 64, 0),
        ({"max_length": 64, "max_new_tokens": 10}, True, 13, 0),
        ({"max_new_tokens": 10, "min_new_tokens": 4}, False, 13, 7),
        ({"max_length": 64, "min_length": 9, "min_new_tokens": 2}, True, 64, 9),
        ({}, False, 20, 0),
    ],
)
def test_lengths_count_the_prompt(settings, explicit, longest, shortest):
    limits = limits_for(GenerationConfig(**settings), 3, explicit)
    assert (limits.prompt, limits.longest, limits.shortest) == (3, longest, shortest)


def test_defaults_only_fill_what_is_unset():
    """What the trainer of transformers 5 does before it pads what was said."""
    settings = GenerationConfig(max_length=None, num_beams=3)
    defaults = settings._get_default_generation_params()
    assert defaults == {name: getattr(GenerationConfig(), name) for name in defaults}
    assert settings.update(**defaults, defaults_only=True) == {}
    assert (settings.max_length, settings.num_beams) == (20, 3)
    assert settings.update(mine=1) == {"mine": 1}
    assert settings.update(mine=1, allow_custom_entries=True) == {}
    assert settings.mine == 1
