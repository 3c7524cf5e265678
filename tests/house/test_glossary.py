"""The glossary: every file that it names is there, and every word in code font is found in its file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "pegasus"
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
WORDS = [(cells[0], cells[-1]) for cells in ROWS if cells[0] not in ("word", "looking for")]


def paths(cell: str) -> list[Path]:
    return [SOURCE / path for path in re.findall(r"`([\w/]+(?:\.py|/))`", cell)]


@pytest.mark.parametrize(("word", "files"), WORDS, ids=[word for word, _ in WORDS])
def test_every_file_is_there(word, files):
    assert paths(files), f"no file is named for {word}"
    assert not [path for path in paths(files) if not path.exists()]


@pytest.mark.parametrize(("word", "files"), [row for row in WORDS if "`" in row[0] and "-" not in row[0]])
def test_names_of_the_code_are_in_their_file(word, files):
    text = "".join(path.read_text(encoding="utf-8") for path in paths(files))
    for name in re.findall(r"`(\w+)`", word):
        assert re.search(rf"\b{name}\b", text)


def test_the_glossary_has_twenty_rows():
    glossary = PAGE.partition("## Where")[0]
    assert len([line for line in glossary.splitlines() if line.startswith("| ")]) == 1 + 20
