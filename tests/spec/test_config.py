"""PegasusConfig against the reference page and against what transformers 4.34.0 says of the same fields."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from pathlib import Path

import pytest
import torch

from pegasus import PegasusConfig
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointNotFound

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "config.json").read_text())["cases"]

#: The signature of the reference page, in its order.
REFERENCE = {
    "vocab_size": 50265,
    "max_position_embeddings": 1024,
    "encoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_layers": 12,
    "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "use_cache": True,
    "is_encoder_decoder": True,
    "activation_function": "gelu",
    "d_model": 1024,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "init_std": 0.02,
    "decoder_start_token_id": 0,
    "scale_embedding": False,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "forced_eos_token_id": 1,
}
LEGACY = {
    "normalize_before": True,
    "normalize_embedding": False,
    "add_final_layer_norm": True,
    "static_position_embeddings": True,
    "extra_pos_embeddings": 1,
    "add_bias_logits": False,
    "force_bos_token_to_be_generated": False,
    "classif_dropout": 0.0,
    "gradient_checkpointing": False,
}


def through_json(values: dict) -> dict:
    return json.loads(json.dumps(values))


def test_signature_and_defaults_are_the_reference_page():
    parameters = inspect.signature(PegasusConfig).parameters.values()
    named = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    assert named == REFERENCE
    assert list(named) == list(REFERENCE)
    assert {name: getattr(PegasusConfig(), name) for name in REFERENCE} == REFERENCE


@pytest.mark.parametrize("case", GOLDEN)
def test_every_field_that_transformers_has(case):
    config = PegasusConfig(**GOLDEN[case]["given"])
    expected = {k: v for k, v in GOLDEN[case]["to_dict"].items() if k != "transformers_version"}
    ours = through_json(config.to_dict())
    assert {name: ours.get(name, "absent") for name in expected} == expected


@pytest.mark.parametrize("case", GOLDEN)
def test_aliases(case):
    config = PegasusConfig(**GOLDEN[case]["given"])
    for alias, value in GOLDEN[case]["attributes"].items():
        assert getattr(config, alias) == value, alias


@pytest.mark.parametrize("case", GOLDEN)
def test_the_file_holds_all_that_transformers_would_write(case):
    config = PegasusConfig(**GOLDEN[case]["given"])
    written = json.loads(config.to_json_string())
    expected = {k: v for k, v in GOLDEN[case]["to_diff_dict"].items() if k != "transformers_version"}
    assert {name: written.get(name, "absent") for name in expected} == expected


def test_aliases_read_and_write_one_field():
    config = PegasusConfig(d_model=64, encoder_attention_heads=4, decoder_attention_heads=2)
    assert (config.hidden_size, config.num_attention_heads) == (64, 4)
    config.hidden_size = 32
    assert config.d_model == 32
    assert "hidden_size" not in config.to_dict()
    assert PegasusConfig(hidden_size=48).d_model == 48


def test_legacy_keys_are_kept_and_written_back(tmp_path):
    odd = {**LEGACY, "extra_pos_embeddings": 7, "classif_dropout": 0.25}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "pegasus", "d_model": 32, **odd}))
    config = PegasusConfig.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {name: written[name] for name in odd} == odd


def test_a_fresh_file_has_the_keys_other_readers_need():
    written = json.loads(PegasusConfig().to_json_string())
    assert {name: written[name] for name in LEGACY} == LEGACY
    assert written["model_type"] == "pegasus"


def test_unknown_keys_survive(tmp_path):
    PegasusConfig(house_style={"comma": [1, 2]}, note="ours").save_pretrained(tmp_path)
    config = PegasusConfig.from_pretrained(tmp_path)
    assert (config.note, config.house_style) == ("ours", {"comma": [1, 2]})


def test_save_load_equal(tmp_path):
    config = PegasusConfig(
        encoder_layers=3,
        position_table="authors",
        layer_norm_eps=1e-12,
        num_beams=8,
        length_penalty=0.6,
        num_labels=4,
    )
    config.save_pretrained(tmp_path)
    again = PegasusConfig.from_pretrained(tmp_path)
    assert through_json(again.to_dict()) == through_json(config.to_dict())
    assert again.num_labels == 4


def test_file_and_dictionary_forms(tmp_path):
    config = PegasusConfig(d_model=32)
    file = tmp_path / "any.json"
    file.write_text(config.to_json_string())
    assert PegasusConfig.from_json_file(file) == config
    assert PegasusConfig.from_dict(config.to_dict()) == config
    assert PegasusConfig.from_pretrained(file).d_model == 32


def test_keywords_win_over_the_file_and_strangers_come_back(tmp_path):
    PegasusConfig(d_model=32, dropout=0.3).save_pretrained(tmp_path)
    config, rest = PegasusConfig.from_pretrained(
        tmp_path, dropout=0.0, hidden_size=64, far=1, return_unused_kwargs=True
    )
    assert (config.dropout, config.d_model, rest) == (0.0, 64, {"far": 1})


def test_copies_are_apart():
    config = PegasusConfig(task_specific_params={"a": {"max_length": 3}})
    for again in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert again == config
        again.task_specific_params["a"]["max_length"] = 9
        again.d_model = 32
    assert config.task_specific_params == {"a": {"max_length": 3}}
    assert config.d_model == 1024


def test_defaults_are_not_shared():
    PegasusConfig().pruned_heads[0] = [1]
    assert PegasusConfig().pruned_heads == {}


def test_a_missing_field_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no field 'd_modle'"):
        _ = PegasusConfig().d_modle


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"d_model": 10, "encoder_attention_heads": 3},
            "encoder_attention_heads is 3.*divisor of d_model, which is 10",
        ),
        ({"vocab_size": 0}, "vocab_size is 0.*above 0"),
        ({"encoder_layers": -1}, "encoder_layers is -1"),
        ({"decoder_layers": 1.5}, "decoder_layers is 1.5"),
        ({"dropout": 1.5}, "dropout is 1.5.*between 0 and 1"),
        ({"dropout": "0.1"}, "dropout is '0.1'.*between 0 and 1"),
        ({"activation_function": "sine"}, "activation_function is 'sine'.*relu"),
        ({"position_table": "learned"}, "position_table is 'learned'.*authors"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0"),
        ({"problem_type": "summarization"}, "problem_type is 'summarization'.*one of regression"),
        ({"pad_token_id": 60000}, "pad_token_id is 60000.*50265"),
    ],
)
def test_impossible_values_are_refused_with_a_reason(fields, words):
    with pytest.raises(BadSetting, match=words):
        PegasusConfig(**fields).validate()


def test_fields_may_be_set_one_after_another():
    config = PegasusConfig(d_model=10)  # which the 16 heads of the default do not divide
    with pytest.raises(BadSetting, match="divisor of d_model, which is 10"):
        config.validate()
    config.update({"encoder_attention_heads": 5, "decoder_attention_heads": 2})


def test_bad_files(tmp_path):
    with pytest.raises(CheckpointNotFound):
        PegasusConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{half a")
    with pytest.raises(CheckpointCorrupt, match="not JSON"):
        PegasusConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CheckpointCorrupt, match="a list, not an object"):
        PegasusConfig.from_pretrained(tmp_path)


def test_a_real_file_survives_a_round_trip(vocabulary_96k, tmp_path):
    """Every key of a published configuration, forgotten ones too, is read and written back as it was."""
    given = json.loads((vocabulary_96k / "config.json").read_text())
    PegasusConfig.from_pretrained(vocabulary_96k).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    usual = json.loads(PegasusConfig().to_json_string(use_diff=False))
    for key, value in given.items():
        if key != "_name_or_path":
            # A key that says what is said anyway need not be written.
            assert written.get(key, usual.get(key)) == value, key


def test_labels_follow_their_number():
    config = PegasusConfig(num_labels=5)
    config.num_labels = 3
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


@pytest.mark.parametrize("given", ["float16", "torch.float16", torch.float16])
def test_types_are_those_of_pytorch_and_names_in_a_file(given, tmp_path):
    config = PegasusConfig(torch_dtype=given)
    assert config.torch_dtype is torch.float16
    config.to_json_file(tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text())["torch_dtype"] == "float16"
    assert PegasusConfig.from_json_file(tmp_path / "one.json").to_dict() == config.to_dict()
    values = {"torch_dtype": torch.bfloat16, "inner": {"torch_dtype": torch.float32}}
    config.dict_torch_dtype_to_str(values)
    assert values == {"torch_dtype": "bfloat16", "inner": {"torch_dtype": "float32"}}


def test_fields_by_text():
    config = PegasusConfig(d_model=32)
    config.update_from_string("dropout=0.25,scale_embedding=true,encoder_layers=3")
    assert (config.dropout, config.scale_embedding, config.encoder_layers) == (0.25, True, 3)
    for text, words in (("droput=1", "no field"), ("scale_embedding=perhaps", "true or false")):
        with pytest.raises(BadSetting, match=words):
            config.update_from_string(text)


def test_a_configuration_may_be_narrower_than_a_model():
    """Tools set each field to small numbers; a model is made, and a file read, with real ones only."""
    config = PegasusConfig(hidden_size=0)
    assert config.hidden_size == 0
    with pytest.raises(BadSetting, match="d_model is 0"):
        config.validate()


def test_the_place_of_a_model_is_not_written(tmp_path):
    config = PegasusConfig(d_model=32)
    config.name_or_path = tmp_path
    assert config.name_or_path == str(tmp_path)
    config.save_pretrained(tmp_path / "inner")
    assert "_name_or_path" not in json.loads((tmp_path / "inner" / "config.json").read_text())
    assert PegasusConfig.from_pretrained(tmp_path, subfolder="inner").d_model == 32
