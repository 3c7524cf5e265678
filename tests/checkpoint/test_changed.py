"""Checkpoints whose files were changed: one sentence each, at once; and sizes that do not match."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pegasus import AutoTokenizer, GenerationConfig, PegasusConfig, PegasusForConditionalGeneration
from pegasus.backends.packed.opening import open_weights
from pegasus.checkpoint import pretrained
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import write_checkpoint
from pegasus.cli.app import main
from pegasus.errors import BadData, CheckpointCorrupt, CheckpointMismatch, PegasusError
from pegasus.hub import locate
from pegasus.summarizer import Summarizer

BUNDLED = locate("pegasus-mini")
CONFIG = json.loads((BUNDLED / "config.json").read_text())
ROWS, WIDTH = CONFIG["vocab_size"], CONFIG["d_model"]
TEXT = "The mayor said that no new houses will be built near the old river this year."


def changed(folder: Path, file: str, **fields) -> Path:
    """The bundled checkpoint with other fields in one of its files."""
    shutil.copytree(BUNDLED, folder)
    path = folder / file
    values = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**values, **fields}))
    return folder


DEEP = json.loads("[" * 40 + "]" * 40)


@pytest.mark.parametrize(
    ("file", "fields", "words"),
    [
        *(
            ("tokenizer_config.json", {"model_max_length": n}, "model_max_length is")
            for n in (-1, 0, 1, "512", [8])
        ),
        ("tokenizer_config.json", {"model_max_length": float("nan")}, "model_max_length is nan"),
        *(("tokenizer_config.json", {"offset": n}, "offset is") for n in (10**9, -5, 1.5, "103", None)),
        ("tokenizer_config.json", {"pad_token": 7}, "pad_token is 7; it must be a token"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": "y"}}, "added_tokens_decoder is"),
        (
            "tokenizer_config.json",
            {"added_tokens_decoder": {"1000000000": {"content": "y"}}},
            "added_tokens_decoder is",
        ),
        ("tokenizer_config.json", {"sp_model_kwargs": {"model_file": "/etc/passwd"}}, "sp_model_kwargs is"),
        ("tokenizer_config.json", {"additional_special_tokens": 3}, "additional_special_tokens is 3"),
        ("special_tokens_map.json", {"eos_token": ["</s>"]}, "eos_token is"),
        (
            "config.json",
            {"encoder_layers": 10**6},
            "encoder_layers is 1000000; it must be a whole number from 0 to 1,000",
        ),
        ("config.json", {"encoder_layers": "8"}, "encoder_layers is '8'"),
        ("config.json", {"encoder_layers": True}, "encoder_layers is True"),
        ("config.json", {"vocab_size": 10**12}, "vocab_size is 1000000000000"),
        (
            "config.json",
            {"d_model": 7, "encoder_attention_heads": 3},
            "encoder_attention_heads is 3; it must be a divisor",
        ),
        ("config.json", {"max_position_embeddings": 10**9}, "max_position_embeddings is"),
        ("config.json", {"dropout": float("nan")}, "dropout is nan"),
        ("config.json", {"dropout": [0.1]}, "dropout is [0.1]"),
        (
            "config.json",
            {"decoder_start_token_id": 10**6},
            "decoder_start_token_id is 1000000; it must be below vocab_size",
        ),
        ("config.json", {"eos_token_id": "1"}, "eos_token_id is '1'"),
        ("config.json", {"layer_norm_eps": "x"}, "layer_norm_eps is 'x'"),
        ("config.json", {"id2label": 5}, "id2label is 5"),
        ("config.json", {"num_labels": 10**12}, "num_labels is 1000000000000"),
        ("config.json", {"validate": 3}, "has no field 'validate'"),
        ("config.json", {"self": 3}, "has no field 'self'"),
        ("config.json", {"anything": DEEP}, "nested more than"),
        (
            "config.json",
            {"vocab_size": ROWS + 1},
            f"model.shared.weight has [{ROWS}, {WIDTH}] and needs [{ROWS + 1}, {WIDTH}]",
        ),
        ("generation_config.json", {"num_beams": 10**6}, "num_beams is 1000000; it must be"),
        ("generation_config.json", {"num_beams": 2.5}, "num_beams is 2.5"),
        ("generation_config.json", {"max_length": -3}, "max_length is -3"),
        ("generation_config.json", {"length_penalty": float("inf")}, "length_penalty is inf"),
        ("generation_config.json", {"suppress_tokens": "abc"}, "suppress_tokens is 'abc'"),
        ("generation_config.json", {"sequence_bias": [3]}, "sequence_bias is [3]"),
        ("generation_config.json", {"constraints": [3]}, "constraints is [3]"),
    ],
)
def test_a_changed_field_is_one_sentence(file, fields, words, tmp_path, capsys):
    folder = changed(tmp_path / "model", file, **fields)
    with pytest.raises(PegasusError) as problem:
        Summarizer.from_pretrained(folder)
    assert words in str(problem.value)
    (tmp_path / "text.txt").write_text(TEXT)
    assert main(["summarize", "--model", str(folder), str(tmp_path / "text.txt")]) in (1, 2)
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n"), words in said.err) == ("", 1, True)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "content", ["[" * 100_000 + "]" * 100_000, '{"a":' * 500 + "1" + "}" * 500, "", "null", "[1]"]
)
def test_json_that_is_deep_or_no_object_is_one_sentence(file, content, tmp_path):
    folder = changed(tmp_path / "model", file)
    (folder / file).write_text(content)
    with pytest.raises(PegasusError, match=file):
        Summarizer.from_pretrained(folder)


def test_the_file_is_named(tmp_path):
    folder = changed(tmp_path / "model", "generation_config.json", num_beams=0)
    with pytest.raises(PegasusError, match=r"model/generation_config\.json: num_beams is 0"):
        PegasusForConditionalGeneration.from_pretrained(folder)
    with pytest.raises(PegasusError, match=r"model/generation_config\.json: num_beams is 0"):
        GenerationConfig.from_pretrained(folder)
    folder = changed(tmp_path / "other", "config.json", d_model=0)
    with pytest.raises(PegasusError, match=r"other.*d_model is 0; it must be a whole number above 0"):
        PegasusConfig.from_pretrained(folder)
    with pytest.raises(PegasusError, match=r"other/config\.json.*d_model is 0"):
        open_weights(folder)
    folder = changed(tmp_path / "third", "tokenizer_config.json", offset=-5)
    for fast in (True, False):
        with pytest.raises(CheckpointCorrupt, match=r"third/tokenizer_config\.json: offset is -5"):
            AutoTokenizer.from_pretrained(folder, use_fast=fast)


def test_more_layers_than_files_hold_are_not_made_up(tmp_path, monkeypatch):
    folder = changed(tmp_path / "model", "config.json", decoder_layers=1000)
    with pytest.raises(CheckpointMismatch, match=r"asks for [\d,]+ numbers and its files hold"):
        PegasusForConditionalGeneration.from_pretrained(folder)
    # A little that is missing is drawn at random, with a warning, as before.
    folder = changed(tmp_path / "little", "config.json", decoder_layers=5)
    assert PegasusForConditionalGeneration.from_pretrained(folder).config.decoder_layers == 5
    monkeypatch.setattr(pretrained, "MOST_MADE_UP", 0)
    assert PegasusForConditionalGeneration.from_pretrained(folder)


# -- a tokenizer and a model of different sizes ------------------------------------------------------------


def resized(folder: Path, rows: int) -> Path:
    """The bundled checkpoint with another number of rows; those added are three times a frequent word's."""
    shutil.copytree(BUNDLED, folder)
    tensors = {name: np.array(raw.array()) for name, raw in open_checkpoint(BUNDLED).tensors.items()}
    table_VD = tensors["model.shared.weight"]
    word = AutoTokenizer.from_pretrained(BUNDLED).encode_ids(["the"])[0][0]
    more = np.repeat(3 * table_VD[word : word + 1], max(0, rows - len(table_VD)), axis=0)
    tensors["model.shared.weight"] = np.concatenate([table_VD[:rows], more])
    tensors.pop("final_logits_bias", None)
    config = json.loads((BUNDLED / "config.json").read_text())
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    arrays = [(name, RawTensor.from_array(array)) for name, array in tensors.items()]
    write_checkpoint(folder, arrays, [("config.json", json.dumps({**config, "vocab_size": rows}))], "5GB")
    return folder


def test_ids_without_a_token_are_never_written(tmp_path, caplog):
    summarizer = Summarizer.from_pretrained(resized(tmp_path / "model", ROWS + 7))
    assert f"has {ROWS:,} ids and the model {ROWS + 7:,} rows; the others are never written" in caplog.text
    free = summarizer.writer.model.generate(
        np.array([[*summarizer.reader.encode([TEXT])[0]]]), num_beams=1, max_new_tokens=8
    )
    assert (np.asarray(free) >= ROWS).any()  # they would be
    assert summarizer(TEXT, num_beams=1).text
    assert summarizer(TEXT, num_beams=1, generate={"suppress_tokens": [4]}).text


def test_only_texts_that_need_a_missing_row_end_in_an_error(tmp_path, caplog):
    rare = AutoTokenizer.from_pretrained(BUNDLED).convert_ids_to_tokens(ROWS - 3).replace("▁", "")
    summarizer = Summarizer.from_pretrained(resized(tmp_path / "model", ROWS - 53))
    assert (
        f"{ROWS:,} ids and the model {ROWS - 53:,} rows; texts that need one of the others end in an error"
        in caplog.text
    )
    first, second, third = summarizer.attempt([TEXT, f"{TEXT} {rare} {rare}", TEXT])
    assert isinstance(second, BadData)
    assert f"and the model has {ROWS - 53:,} rows only" in str(second)
    assert first.text == third.text != ""


@pytest.mark.parametrize(
    "settings",
    [
        {"forced_eos_token_id": 10**9},
        {"forced_bos_token_id": 10**9},
        {"suppress_tokens": [1, 10**9]},
        {"begin_suppress_tokens": [10**9]},
        {"bad_words_ids": [[3], [4, 10**9]]},
    ],
)
def test_tokens_that_the_model_does_not_know_are_refused(settings, tmp_path):
    model = PegasusForConditionalGeneration.from_pretrained(BUNDLED)
    with pytest.raises(PegasusError, match=f"names the token 1,000,000,000, and the model knows {ROWS:,}"):
        model.generate(input_ids=model.dummy_inputs["input_ids"], max_new_tokens=2, **settings)
