"""Nothing that a file, a name or an option says moves the cursor of whoever looks, or becomes markup."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pegasus.cli.exits import visible, visible_json

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
EVIL = "a\x1b[2J\x9b31m\u202eb"


def test_controls_become_escapes_and_text_stays() -> None:
    assert visible("tab\tline\nÜber 東京 \U0001f600") == "tab\tline\nÜber 東京 \U0001f600"
    assert visible(EVIL) == "a\\x1b[2J\\x9b31m\\u202eb"
    record = {"file": EVIL, "half": "\udcff"}
    shown = visible_json(json.dumps(record, ensure_ascii=False))
    assert json.loads(shown) == record
    assert not CONTROL.search(shown)


@pytest.mark.parametrize(
    "arguments",
    [
        ["summarize", f"{EVIL}.txt"],
        ["summarize", f"{EVIL}.jsonl", "--format", "text"],
        ["summarize", f"{EVIL}.jsonl", "--format", "json"],
        ["summarize", f"{EVIL}.txt", f"--{EVIL}"],
        ["summarize", f"{EVIL}.jsonl", "--column", EVIL],
        ["summarize", f"none{EVIL}.jsonl", "--debug"],
        ["evaluate", "--no-model", "--data", f"{EVIL}.jsonl"],
        ["evaluate", "--no-model", "--data", f"{EVIL}.jsonl", "--json"],
        ["evaluate", "--no-model", "--data", f"{EVIL}.jsonl", "--summary", EVIL],
        ["inspect", f"{EVIL}.txt"],
        ["inspect", f"none{EVIL}"],
    ],
)
def test_nothing_moves_the_cursor(run, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / f"{EVIL}.txt").write_text(f"One two {EVIL} three. Four five six.", encoding="utf-8")
    rows = [{"text": f"{EVIL} two three four.", "summary": EVIL, EVIL: 1}, {EVIL: "\ud83d"}]
    content = "\n".join([*map(json.dumps, rows), "{" + EVIL])
    (tmp_path / f"{EVIL}.jsonl").write_text(content, encoding="utf-8")
    ran = run(*arguments)
    assert "a" in ran.out + ran.err
    assert not CONTROL.search(ran.out)
    assert not CONTROL.search(ran.err)
