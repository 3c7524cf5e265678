"""`pegasus convert` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pegasus.cli.app import main

GOLDEN = Path(__file__).parents[1] / "golden" / "authors-model"
SMALL = Path(__file__).parents[1] / "fixtures" / "tokenizer-small" / "spiece.model"


def test_there_and_back(tmp_path, capsys):
    there, back = tmp_path / "there", tmp_path / "back"
    assert (
        main(["convert", str(GOLDEN / "model.ckpt-7"), str(there), "--heads", "2", "--task", "xsum"]) == 0
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert "tensors" in err
    assert json.loads((there / "generation_config.json").read_text())["max_length"] == 65
    assert json.loads((there / "config.json").read_text())["max_position_embeddings"] == 1024
    assert main(["convert", str(there), str(back), "--to", "tf-checkpoint", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in back.iterdir()) == [
        "checkpoint", "model.ckpt.data-00000-of-00001", "model.ckpt.index"
    ]  # fmt: skip


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    target = tmp_path / "there"
    assert main(["convert", str(GOLDEN), str(target), "--heads", "2", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "(zeros) -> final_logits_bias  F32 [1, 40]"
    assert lines[1] == "embeddings/weights -> model.shared.weight  F32 [40, 16]"
    assert lines[-1] == "global_step -> (left out)"
    assert not target.exists()


def test_the_bundled_model_in_other_numbers(tmp_path, capsys):
    target = tmp_path / "there"
    assert main(["convert", "pegasus-mini", str(target), "--dtype", "bfloat16", "--to", "bin"]) == 0
    capsys.readouterr()
    assert (target / "spiece.model").read_bytes()
    assert json.loads((target / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_a_warning_about_what_the_authors_compute_otherwise(tmp_path, capsys):
    there, back = tmp_path / "there", tmp_path / "back"
    assert main(["convert", str(GOLDEN), str(there), "--heads", "2", "--as", "transformers"]) == 0
    assert not load_file(there / "model.safetensors")["model.shared.weight"][0].any()
    capsys.readouterr()
    assert main(["convert", str(there), str(back), "--to", "flax-checkpoint"]) == 0
    assert "position_table is 'transformers' and will be 'authors'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--heads", "0"], "--heads is 0"),
        (["--heads", "2", "--task", "xsun"], "xsum"),
        ([], "give --heads"),
        (["--heads", "2", "--vocabulary", str(SMALL)], "the checkpoint has 40"),
        (["--heads", "2", "--max-shard-size", "many"], "max_shard_size is 'many'"),
    ],
)
def test_wrong_usage(tmp_path, capsys, options, said):
    assert main(["convert", str(GOLDEN), str(tmp_path / "there"), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_vocabulary_that_belongs_to_it(tmp_path, capsys):
    """Weights of the vocabulary's size: the folder is one that summarizes."""
    from pegasus import PegasusTokenizer
    from pegasus.checkpoint.bundle.reading import read_bundle
    from pegasus.checkpoint.bundle.writing import add_bundle
    from pegasus.checkpoint.raw import RawTensor
    from pegasus.checkpoint.writing import Staging

    tensors = dict(read_bundle(GOLDEN / "model.ckpt-7"))
    count = len(PegasusTokenizer(str(SMALL)))
    table = np.random.default_rng(0).standard_normal((count, 16), np.float32)
    tensors["embeddings/weights"] = RawTensor.from_array(table)
    with Staging(tmp_path / "theirs") as staging:
        add_bundle(staging, "model.ckpt", tensors)
    there = tmp_path / "there"
    told = ["--heads", "2", "--task", "aeslc", "--vocabulary", str(SMALL)]
    assert main(["convert", str(tmp_path / "theirs"), str(there), *told]) == 0
    assert PegasusTokenizer.from_pretrained(there).model_max_length == 512
    text = tmp_path / "text.txt"
    text.write_text("The mayor of a small town said that no new houses will be built.")
    capsys.readouterr()
    assert main(["summarize", "--model", str(there), str(text)]) == 0
