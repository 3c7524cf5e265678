from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

pytest.importorskip("rouge_score")
pytest.importorskip("sumy")

ROWS = [
    {
        "document": f"The {word} sat on the mat. A dog ran by. Nobody saw the {word}.",
        "summary": f"The {word} sat.",
    }
    for word in ("cat", "cow", "hen", "fox")
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    return file


def test_json_is_one_object_of_the_agreed_form(run, data: Path) -> None:
    ran = run("evaluate", "--data", str(data), "--limit", "3", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert len(ran.out.splitlines()) == 1
    assert list(found) == ["model", "data", "rows", "scores", "unknown"]
    assert found["unknown"] == {"texts": 0, "share": 0, "examples": []}
    assert (found["model"], found["data"], found["rows"]) == ("pegasus-mini", str(data), 3)
    assert list(found["scores"]) == ["model", "lead", "first", "principal", "lexrank"]
    for scores in found["scores"].values():
        assert list(scores) == ["rouge1", "rouge2", "rougeL", "rougeLsum"]
        for interval in scores.values():
            assert list(interval) == ["mid", "low", "high"]
            assert 0 <= interval["low"] <= interval["mid"] <= interval["high"] <= 100


def test_without_a_model_none_is_opened(run, data: Path) -> None:
    ran = run("evaluate", "--no-model", "--data", str(data), "--json")
    assert ran.code == 0
    assert run.opened == 0
    assert "model" not in json.loads(ran.out)["scores"]


def test_a_table_for_people_and_a_report(run, data: Path, tmp_path: Path) -> None:
    ran = run("evaluate", "--data", str(data), "--output", "out", "--task", "aeslc")
    assert ran.code == 0
    assert "Published for aeslc" in ran.out
    assert "lexrank" in ran.out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "scores.json",
        "examples.jsonl",
        "report.md",
        "report.html",
    }


def test_packed_files_other_columns_and_several_references(run, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl.xz"
    rows = [{"body": row["document"], "gist": row["summary"]} for row in ROWS]
    with lzma.open(file, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    ran = run("evaluate", "--data", str(file), "--document", "body", "--summary", "gist", "--json")
    assert ran.code == 0, ran.err
    many = tmp_path / "many.jsonl"
    many.write_text(json.dumps({**ROWS[0], "summaries": ["The cat sat.", "A dog ran."]}) + "\n", "utf-8")
    ran = run("evaluate", "--data", str(many), "--json")
    assert ran.code == 0
    assert "1 rows have several references" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "absent.jsonl"], "no such file"),
        (["--data", "pairs.jsonl", "--document", "body"], "no column 'body'"),
        (["--data", "pairs.jsonl", "--task", "xsun"], "did you mean xsum"),
        (["--data", "pairs.jsonl", "--limit", "0"], "at least 1"),
    ],
)
def test_mistakes_are_told_before_a_model_is_opened(
    run, data: Path, words: list[str], message: str
) -> None:
    ran = run("evaluate", *words)
    assert ran.code in (1, 2)
    assert message in ran.err
    assert run.opened == 0


def test_other_alphabets_are_warned_of_and_graded_by_unicode(run, tmp_path: Path, caplog) -> None:
    rows = [{"document": "市长说没有新房。老河在镇子旁边。", "summary": "市长说没有新房。"}] * 2
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["evaluate", "--no-model", "--data", str(path), "--json"]
    ran = run(*command)
    assert "100 % of the references' letters are none" in caplog.text
    assert json.loads(ran.out)["scores"]["lead"]["rouge1"]["mid"] == 0
    caplog.clear()
    ran = run(*command, "--words", "unicode")
    assert "letters" not in caplog.text
    assert json.loads(ran.out)["scores"]["lead"]["rouge1"]["mid"] > 50
