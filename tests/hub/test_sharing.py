"""Uploads to a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pegasus import hub
from pegasus.errors import CheckpointNotFound


def test_a_folder_becomes_one_commit(fake_hub: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / ".hidden").write_text("no")
    address = hub.push(tmp_path, "org/new", token="right", commit_message="first")
    assert fake_hub.uploads == {"org/new": {"config.json": b"{}"}}
    assert address == f"{fake_hub.url}/org/new/commit/{'d' * 40}"
    assert set(fake_hub.tokens) == {"Bearer right"}


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"There is no folder .*: save the model there first"):
        hub.push(tmp_path / "none", "org/new")


def test_a_hub_that_refuses(fake_hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", fake_hub.url + "/nothing-here")
    with pytest.raises(
        CheckpointNotFound, match=r"The upload to 'org/new' failed .* check the name, the token"
    ) as caught:
        hub.push(tmp_path, "org/new", token="right")
    assert "\n" not in str(caught.value)
