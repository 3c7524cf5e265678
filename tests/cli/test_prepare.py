from __future__ import annotations

import json
from pathlib import Path

import pytest

from pegasus.data.shards import Shards


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.jsonl"
    rows = [{"text": f"The {n}. cat sat. A dog ran. The cat ran."} for n in range(20)]
    rows += [rows[3], {"text": ""}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def test_a_corpus_becomes_shards_and_statistics(run, corpus: Path, vocabulary_96k: Path) -> None:
    words = [
        "prepare",
        str(corpus),
        "--tokenizer",
        str(vocabulary_96k),
        "--output",
        "out",
        "--processes",
        "1",
    ]
    ran = run(*words)
    assert ran.code == 0, ran.err
    assert f"{corpus}:22: " in ran.err
    lines = dict(line.split("  ", 1) for line in ran.out.splitlines())
    assert lines["duplicates left out"].strip() == "1"
    assert lines["bad rows left out"].strip() == "1"
    assert lines["documents"].strip().startswith("20 ")
    assert len(Shards("out")) == 20
    again = run(*words)
    assert "1 (1 were there)" in again.out


def test_strict_stops_at_the_first_bad_row(run, corpus: Path, vocabulary_96k: Path) -> None:
    ran = run(
        *("prepare", str(corpus), "--tokenizer", str(vocabulary_96k), "--output", "out"),
        *("--processes", "1", "--strict"),
    )
    assert ran.code == 1
    assert f"{corpus}:22: " in ran.err
    assert not (Path("out") / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy", "ind"], "ind-orig"),
        (["--strategy", "continuous-orig"], "no score"),
        (["--shard-mb", "0"], "byte"),
    ],
)
def test_settings_that_make_no_sense(run, corpus: Path, words: list[str], message: str) -> None:
    ran = run("prepare", str(corpus), "--tokenizer", "nowhere", "--output", "out", *words)
    assert ran.code == 2
    assert message in ran.err
