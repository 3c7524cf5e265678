"""The Python of docs/summarize.md runs, in order, on the bundled checkpoint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pegasus import Summary
from pegasus.hub import bundled

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif("pegasus-mini" not in bundled(), reason="the bundled checkpoint is not there")
def test_the_page_runs(monkeypatch, capsys) -> None:
    page = (ROOT / "docs" / "summarize.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names["summary"], Summary)
    assert len(capsys.readouterr().out.splitlines()) >= 3
