"""Checkpoints that are whole or do not exist: sealing, damage, crashes between two moves."""

from __future__ import annotations

import json
import logging
import random
import shutil

import pytest

from pegasus.backends.learning.alone import Alone
from pegasus.errors import CheckpointCorrupt
from pegasus.training.checkpoints import Checkpoints, recover_folder, replace_folder, seal, verify


class Notebook:
    """An engine that remembers one text."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def save(self, folder):
        (folder / "weights").write_bytes(self.text.encode() * 100)
        (folder / "more").write_bytes(bytes(range(256)))

    def load(self, folder):
        self.text = (folder / "weights").read_bytes().decode()


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "run", Alone(), keep=3)


def test_the_newest_is_found_with_its_state_and_old_ones_go(checkpoints):
    assert checkpoints.latest() is None
    for step in (5, 10, 15, 20):
        checkpoints.save(step, Notebook(str(step)), {"step": step})
    found = checkpoints.latest()
    assert (found.step, found.state) == (20, {"step": 20})
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        f"step-{n:08d}" for n in (10, 15, 20)
    ]


def test_every_flipped_bit_is_found_and_the_one_before_is_used(checkpoints, caplog):
    checkpoints.save(1, Notebook("good"), {"n": 1})
    place = checkpoints.save(2, Notebook("newer"), {"n": 2})
    chance = random.Random(3)
    files = sorted(path for path in place.iterdir())
    assert [path.name for path in files] == ["manifest.json", "more", "state.json", "weights"]
    for number in range(100):
        path = files[number % len(files)]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(damaged))
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            assert checkpoints.latest().step == 1
        assert "the checkpoint before it is used" in caplog.text
        path.write_bytes(whole)
    assert checkpoints.latest().step == 2


@pytest.mark.parametrize("name", ["weights", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_cut_and_missing_files_are_named(checkpoints, name, damage):
    place = checkpoints.save(1, Notebook("x"), {})
    path = place / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with pytest.raises(CheckpointCorrupt, match=name):
        verify(place)
    assert checkpoints.latest() is None


def test_the_manifest_names_every_file_with_its_sum(checkpoints):
    place = checkpoints.save(7, Notebook("x"), {})
    content = json.loads((place / "manifest.json").read_text())
    assert (content["step"], content["processes"]) == (7, 1)
    assert set(content["files"]) == {"weights", "more", "state.json"}
    assert content["files"]["weights"]["bytes"] == 100
    assert verify(place)["step"] == 7


@pytest.mark.parametrize("moment", ["in the engine", "before the seal", "before the name"])
def test_a_crash_while_saving_leaves_the_one_before(checkpoints, moment, monkeypatch):
    checkpoints.save(1, Notebook("good"), {})

    def crash(*_):
        raise KeyboardInterrupt

    class Crashing(Notebook):
        save = crash if moment == "in the engine" else Notebook.save

    if moment == "before the seal":
        monkeypatch.setattr("pegasus.training.checkpoints.seal", crash)
    if moment == "before the name":
        monkeypatch.setattr("pathlib.Path.rename", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(2, Crashing("half"), {})
    monkeypatch.undo()
    assert checkpoints.latest().step == 1
    checkpoints.save(2, Notebook("whole"), {})
    assert checkpoints.latest().step == 2
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000001", "step-00000002"]


def test_saving_the_same_step_again_replaces_a_damaged_one(checkpoints):
    place = checkpoints.save(1, Notebook("a"), {})
    (place / "weights").write_bytes(b"damaged")
    assert checkpoints.latest() is None
    checkpoints.save(1, Notebook("b"), {})
    assert checkpoints.latest().step == 1


def test_a_replaced_folder_is_the_old_or_the_new_one(tmp_path):
    place, draft = tmp_path / "best", tmp_path / "draft"
    for folder, text in ((place, "old"), (draft, "new")):
        folder.mkdir()
        (folder / "file").write_text(text)
    # Stopped between the two moves:
    place.rename(tmp_path / ".best.old")
    recover_folder(place)
    assert (place / "file").read_text() == "old"
    replace_folder(draft, place)
    assert (place / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    recover_folder(place)


def test_sealing_twice_gives_the_same_manifest(tmp_path):
    (tmp_path / "file").write_text("x")
    seal(tmp_path, {"step": 1})
    first = (tmp_path / "manifest.json").read_bytes()
    seal(tmp_path, {"step": 1})
    assert (tmp_path / "manifest.json").read_bytes() == first
    copied = tmp_path.with_name("copied")
    shutil.copytree(tmp_path, copied)
    verify(copied)
