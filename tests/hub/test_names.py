"""Which place a name means, and what is said when it means none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pegasus import hub
from pegasus.errors import BadSetting, CheckpointNotFound, UnsupportedArgument


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert hub.locate(tmp_path) == tmp_path
    assert hub.locate(str(tmp_path)) == tmp_path


def test_a_folder_inside(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    assert hub.locate(tmp_path, hub.HubOptions(subfolder="best")) == tmp_path / "best"


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert hub.locate("~/model") == tmp_path / "model"


def test_a_missing_subfolder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"has no folder 'best' in it: check `subfolder`"):
        hub.locate(tmp_path, hub.HubOptions(subfolder="best"))


def test_a_subfolder_cannot_lead_out(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(CheckpointNotFound, match=r"leads out of"):
        hub.locate(tmp_path / "model", hub.HubOptions(subfolder=".."))


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (["model", "best"], r"a training run and no checkpoint: use .*/run/best or .*/run/model\.$"),
        (["model"], r"use .*/run/model\.$"),
        ([], r"it has exported none yet"),
    ],
)
def test_the_folder_of_a_run_names_its_checkpoints(tmp_path: Path, inner: list[str], said: str) -> None:
    run = tmp_path / "run"
    for name in ("checkpoints", *inner):
        (run / name).mkdir(parents=True)
    for name in inner:
        (run / name / "config.json").write_text("{}")
    (run / "job.toml").write_text("")
    with pytest.raises(CheckpointNotFound, match=said):
        hub.locate(run)
    if inner:
        assert hub.locate(run / inner[-1]) == run / inner[-1]
        assert hub.locate(run, hub.HubOptions(subfolder=inner[0])) == run / inner[0]


def test_a_folder_of_folders_names_those_that_are_checkpoints(tmp_path: Path) -> None:
    for name in ("small", "large", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "small" / "config.json").write_text("{}")
    with pytest.raises(CheckpointNotFound, match=r"is a folder of checkpoints .* use .*/small\.$"):
        hub.locate(tmp_path)


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointNotFound, match=f"is a file.*give '{tmp_path}'"):
        hub.locate(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "white space", ""])
def test_what_can_be_no_repository_is_not_asked_for(name: str) -> None:
    with pytest.raises(CheckpointNotFound, match=r"There is no folder .* give a folder, a hub name"):
        hub.locate(name)


def test_bundled_names_come_with_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "assets" / "little").mkdir(parents=True)
    (tmp_path / "assets" / "little" / "config.json").write_text("{}")
    (tmp_path / "assets" / "no-checkpoint").mkdir()
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    monkeypatch.chdir(tmp_path)
    assert hub.bundled() == ("little",)
    assert hub.locate("little") == tmp_path / "assets" / "little"


def test_an_installation_without_assets_has_no_bundled_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    assert hub.bundled() == ()


class TestOptions:
    def test_takes_its_own_and_leaves_the_rest(self) -> None:
        kwargs = {
            "revision": "v1",
            "token": "t",
            "subfolder": None,
            "dropout": 0.0,
            "resume_download": True,
        }
        assert hub.HubOptions.take(kwargs) == hub.HubOptions(revision="v1", token="t", subfolder="")
        assert kwargs == {"dropout": 0.0}

    def test_the_old_name_of_token(self) -> None:
        assert hub.HubOptions.take({"use_auth_token": "secret"}).token == "secret"

    def test_both_names_of_token(self) -> None:
        with pytest.raises(BadSetting, match=r"both were given"):
            hub.HubOptions.take({"use_auth_token": "a", "token": "b"})

    @pytest.mark.parametrize("name", ["proxies", "mirror"])
    def test_what_the_environment_does_better_is_refused_by_name(self, name: str) -> None:
        with pytest.raises(UnsupportedArgument, match=f"`{name}`.*HTTPS_PROXY"):
            hub.HubOptions.take({name: {"https": "x"}})
        assert hub.HubOptions.take({name: None}) == hub.HubOptions()
