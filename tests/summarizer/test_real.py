"""The real tokenizer and the real model, tiny and untrained: everything but sense."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pegasus import AutoTokenizer, PegasusConfig, PegasusForConditionalGeneration, Summarizer
from pegasus.cli.app import main
from pegasus.summarizer.text_codec import TextCodec
from pegasus.tokenization.train import train_vocabulary

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ARTICLE = (EXAMPLES / "zebras.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("tiny")
    train_vocabulary([ARTICLE], folder, 300, model_max_length=64, threads=1)
    torch.set_num_threads(1)  # matrices this small only suffer from threads
    torch.manual_seed(0)
    config = PegasusConfig(
        vocab_size=300,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        activation_function="relu",
        scale_embedding=True,
        init_std=0.5,
        num_beams=2,
        max_length=24,
        length_penalty=0.8,
        forced_eos_token_id=1,
    )
    PegasusForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(checkpoint) -> Summarizer:
    return Summarizer.from_pretrained(checkpoint, device="cpu")


def test_a_batch_gives_what_its_texts_give_alone(tiny) -> None:
    texts = [ARTICLE[: 30 * n + 10] for n in range(5)]
    together = tiny(texts, batch_size=5)
    for text, summary in zip(texts, together):
        alone = tiny(text)
        assert alone.text == summary.text
        assert alone.score == pytest.approx(summary.score, abs=1e-5)
        assert summary.summary_tokens <= 23


def test_summaries_are_those_of_generate(tiny, checkpoint) -> None:
    model = PegasusForConditionalGeneration.from_pretrained(checkpoint)
    batch = tiny.reader.tokenizer([ARTICLE[:90]], return_tensors="pt")
    (row,) = model.generate(**batch, num_beams=3, max_new_tokens=9)
    summary = tiny(ARTICLE[:90], num_beams=3, generate={"max_new_tokens": 9})
    assert summary.text == tiny.reader.decode(row.tolist())
    assert summary.finish_reason == "length"


@pytest.mark.parametrize("beams", [1, 2])
def test_limits_are_kept(tiny, beams) -> None:
    short = tiny(ARTICLE[:90], length="short", num_beams=beams)
    assert short.summary_tokens <= 12
    long = tiny(ARTICLE[:90], length="long", num_beams=beams)
    assert 12 <= long.summary_tokens <= 46
    assert short.score < 0
    assert long.score < 0


def test_a_length_overrules_the_least_length_of_the_checkpoint(tiny, monkeypatch) -> None:
    asked = []
    generate = tiny.writer.model.generate
    monkeypatch.setattr(tiny.writer.model, "generate", lambda *a, **k: asked.append(k) or generate(*a, **k))
    tiny(ARTICLE[:90], length="short")
    assert (asked[0]["min_length"], asked[0]["min_new_tokens"], asked[0]["max_new_tokens"]) == (0, 0, 12)
    tiny(ARTICLE[:90])
    assert not {"min_length", "min_new_tokens", "max_new_tokens"} & set(asked[1])


def test_without_beams_the_score_is_the_mean_of_the_tokens(tiny) -> None:
    model, (tokens,) = tiny.writer.model, tiny.reader.encode([ARTICLE[:90]])
    found = model.generate(model.to_native(np.array([tokens])), num_beams=1, return_dict_in_generate=True)
    summary = tiny(ARTICLE[:90], num_beams=1)
    assert summary.score == pytest.approx(
        float(found.sequences_scores[0]) / summary.summary_tokens, abs=1e-5
    )


@pytest.mark.parametrize("long", ["chunk", "truncate", "extend"])
def test_long_texts(tiny, long) -> None:
    summary = tiny(ARTICLE, long=long)
    assert summary.input_tokens > 400
    assert summary.long == long
    assert summary.truncated is (long == "truncate")
    assert summary.used_tokens == (64 if long == "truncate" else summary.input_tokens)
    if long == "chunk":
        assert "".join(ARTICLE[chunk.start : chunk.end] for chunk in summary.chunks) == ARTICLE
        assert max(chunk.input_tokens for chunk in summary.chunks) <= 64


def test_what_the_tokenizer_was_made_for_is_a_limit_too(tiny) -> None:
    assert tiny.writer.limit == tiny.reader.limit == 64


def test_attention_is_a_distribution_over_the_source(tiny) -> None:
    (source,) = tiny.reader.encode([ARTICLE[:90]])
    (summary,) = tiny.reader.encode([ARTICLE[:40]])
    attention_TS = tiny.writer.attend(source, summary)
    assert attention_TS.shape == (len(summary), len(source))
    np.testing.assert_allclose(attention_TS.sum(axis=1), 1, atol=1e-5)
    # A token is written before it is read: the last one cannot change where any was looked for.
    other_TS = tiny.writer.attend(source, (*summary[:-1], 200))
    np.testing.assert_allclose(attention_TS, other_TS, atol=1e-6)
    assert not np.allclose(attention_TS[2], tiny.writer.attend(source, (200, *summary[1:]))[2], atol=1e-5)


@pytest.mark.parametrize("long", ["chunk", "truncate"])
def test_explanations_point_into_the_text(tiny, long) -> None:
    summary = tiny(ARTICLE, long=long, explain=True)
    assert summary.explanation
    for told in summary.explanation:
        assert told.sentence in summary.text
        for support in told.support:
            assert ARTICLE[support.start : support.end].strip() == support.text


def test_line_breaks_are_kept_where_the_vocabulary_can(checkpoint, tmp_path) -> None:
    summarizer = Summarizer.from_pretrained(checkpoint)
    assert summarizer.reader.tokenizer.newline == "authors"
    (tokens,) = summarizer.reader.encode(["One.\nTwo."])
    assert summarizer.reader.decode(tokens) == "One.\nTwo."
    old = shutil.copytree(checkpoint, tmp_path / "old")
    settings = json.loads((old / "tokenizer_config.json").read_text())
    del settings["newline"]  # as on the hub
    (old / "tokenizer_config.json").write_text(json.dumps(settings))
    assert Summarizer.from_pretrained(old).reader.tokenizer.newline == "authors"
    assert Summarizer.from_pretrained(old, newline="drop").reader.tokenizer.newline == "drop"
    (old / "tokenizer_config.json").write_text(json.dumps({**settings, "newline": "drop"}))
    assert Summarizer.from_pretrained(old).reader.tokenizer.newline == "drop"


def test_the_vocabulary_tells_names_from_words(vocabulary_96k) -> None:
    reader = TextCodec(AutoTokenizer.from_pretrained(vocabulary_96k))
    names = ("Washington", "Obama", "Smith", "Congress", "Stavimenviko")
    assert [word for word in names if not reader.looks_like_name(word)] == []
    words = ("Plans", "Unfortunately", "Researchers", "However", "Voters", "Officials", "President")
    assert [word for word in words if reader.looks_like_name(word)] == []


def test_settings_of_opening_are_the_defaults_of_calls(checkpoint) -> None:
    summarizer = Summarizer.from_pretrained(checkpoint, long="truncate", num_beams=1)
    assert summarizer(ARTICLE).long == "truncate"
    assert summarizer(ARTICLE, long="chunk").long == "chunk"


def test_the_command_summarizes_the_examples(checkpoint, capsys) -> None:
    model = ("--model", str(checkpoint), "--format", "jsonl")
    assert main(["summarize", str(EXAMPLES / "zebras.txt"), str(EXAMPLES / "news.jsonl"), *model]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("id") for row in rows] == [None, "buffalo", "kipchoge", "zapata", "rivers", "nobel"]


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def cut_config(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text()[:100])


def cut_vocabulary(folder: Path) -> None:
    for name in ("spiece.model", "tokenizer.json"):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(name: str):
    def remove(folder: Path) -> None:
        (folder / name).unlink()

    remove.__name__ = f"without_{name}"
    return remove


@pytest.mark.parametrize(
    "break_it",
    [cut_weights, cut_config, cut_vocabulary, without("model.safetensors"), without("config.json")],
)
def test_a_half_written_checkpoint_is_one_sentence(checkpoint, tmp_path, capsys, break_it) -> None:
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    break_it(broken)
    assert main(["summarize", str(EXAMPLES / "zebras.txt"), "--model", str(broken)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("pegasus: ")
    assert "unexpected" not in told.err
    assert "broken" in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--model", "no/such/folder"], 1, "There is no folder 'no/such/folder'"),
        (["--device", "warp"], 2, "'warp' is no device"),
    ],
)
def test_what_cannot_be_opened_is_said(checkpoint, capsys, options, code, said) -> None:
    assert main(["summarize", str(EXAMPLES / "zebras.txt"), "--model", str(checkpoint), *options]) == code
    assert said in capsys.readouterr().err
