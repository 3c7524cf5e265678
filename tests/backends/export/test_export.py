"""`pegasus export` as it is typed, the archives of torch.export, and the folder for CTranslate2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pegasus.checkpoint.authors import Wishes
from pegasus.checkpoint.conversion import Conversion, open_source
from pegasus.cli.app import main

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.slow
def test_archives_compute_the_same_for_other_sizes(plain, tmp_path):
    torch = pytest.importorskip("torch")
    from pegasus import PegasusForConditionalGeneration

    assert main(["export", str(plain), "--to", "torch", "-o", str(tmp_path / "there"), "-q"]) == 0
    encoder, decoder = (
        torch.export.load(tmp_path / "there" / name).module() for name in ("encoder.pt2", "decoder.pt2")
    )
    model = PegasusForConditionalGeneration.from_pretrained(plain)
    ids, mask = torch.tensor([[5, 9, 7, 1, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])
    read = torch.tensor([[0, 6, 8, 4, 2, 9, 3]])
    config = model.config
    heads = config.decoder_attention_heads
    past = [torch.zeros(1, 1, heads, 0, config.d_model // heads)] * (2 * config.decoder_layers)
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask, decoder_input_ids=read).logits
        _, *cross = encoder(ids, mask)
        first, *past = decoder(read[:, None, :5], mask, past, cross)
        second, *past = decoder(read[:, None, 5:], mask, past, cross)
    assert past[0].shape[3] == 7
    np.testing.assert_allclose(torch.cat([first, second], 2)[0].numpy(), expected.numpy(), atol=2e-5)


def test_the_folder_for_ctranslate2(plain, tmp_path, capsys):
    folder = shutil.copytree(plain, tmp_path / "half")
    Conversion(open_source(plain), dtype="float16").write(tmp_path / "sixteen")
    shutil.rmtree(folder)
    assert (
        main(["export", str(tmp_path / "sixteen"), "--to", "ctranslate2", "-o", str(tmp_path / "there")])
        == 0
    )
    config = json.loads((tmp_path / "there" / "config.json").read_text())
    assert (config["normalize_before"], config["normalize_embedding"]) == (True, False)
    assert config["architectures"] == ["PegasusForConditionalGeneration"]
    weights = load_file(tmp_path / "there" / "model.safetensors")
    assert {array.dtype.name for array in weights.values()} == {"float32"}


def test_what_ctranslate2_would_compute_otherwise(tmp_path, capsys):
    Conversion(open_source(GOLDEN / "authors-model", Wishes(heads=2))).write(tmp_path / "theirs")
    assert (
        main(["export", str(tmp_path / "theirs"), "--to", "ctranslate2", "-o", str(tmp_path / "there")])
        == 1
    )
    said = capsys.readouterr().err
    assert "position_table is 'authors', layer_norm_eps is 1e-12, decoder_start is 'zeros'" in said
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--to", "torch", "--int8"], 2, "--int8 is for --to onnx"),
        (["--to", "ctranslate2", "--int8"], 2, "--quantization int8"),
    ],
)
def test_wrong_usage(plain, tmp_path, capsys, options, code, said):
    assert main(["export", str(plain), "-o", str(tmp_path / "there"), *options]) == code
    assert said in capsys.readouterr().err


def test_a_folder_with_weights_is_refused(plain, capsys):
    assert main(["export", str(plain), "--to", "torch", "-o", str(plain)]) == 2
    assert "holds weights already" in capsys.readouterr().err


def test_a_decoder_alone_is_refused(tmp_path, capsys):
    from pegasus import PegasusConfig, PegasusForCausalLM

    config = PegasusConfig(
        vocab_size=20, d_model=16, decoder_layers=1, decoder_attention_heads=2, encoder_attention_heads=2
    )
    PegasusForCausalLM(config).save_pretrained(tmp_path / "causal")
    assert (
        main(["export", str(tmp_path / "causal"), "--to", "ctranslate2", "-o", str(tmp_path / "there")])
        == 1
    )
    assert "it is a decoder alone" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trained_model_says_the_same_and_int8_nearly_the_same(tmp_path):
    pytest.importorskip("onnxscript")
    from pegasus import Summarizer

    for name, options in (("float32", []), ("int8", ["--int8"])):
        assert main(["export", "pegasus-mini", "--to", "onnx", "-o", str(tmp_path / name), *options]) == 0
    sizes = [sum(p.stat().st_size for p in (tmp_path / n).glob("*.onnx")) for n in ("float32", "int8")]
    assert sizes[1] < 0.4 * sizes[0]  # the embeddings too; three tables in place of two
    assert not any(path.is_dir() for path in (tmp_path / "int8").iterdir())
    names = ("pegasus-mini", tmp_path / "float32", tmp_path / "int8")
    models = [Summarizer.from_pretrained(name) for name in names]
    for path in sorted((Path(__file__).parents[3] / "examples").glob("*.txt")):
        whole, exported, int8 = (model(path.read_text()).text for model in models)
        assert exported == whole
        assert len(set(int8.split()) & set(whole.split())) > 0.4 * len(set(whole.split()))
