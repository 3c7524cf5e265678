"""Saving: sizes, names and modes; and no moment at which a folder loads and is wrong."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import size_in_bytes, write_checkpoint
from pegasus.errors import BadSetting, CheckpointNotFound


def _arrays(value: float, names: str = "abcd") -> list[tuple[str, RawTensor]]:
    return [(name, RawTensor.from_array(np.full(100, value, np.float32))) for name in names]


def _values(folder: Path) -> set[float]:
    return {float(tensor.array()[0]) for tensor in open_checkpoint(folder).tensors.values()}


def _values_if_it_loads(folder: Path) -> set[float]:
    try:
        return _values(folder)
    except CheckpointNotFound:
        return set()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestShape:
    def test_one_file(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path / "new" / "model", _arrays(1.0), [("config.json", "{}")])
        assert _names(tmp_path / "new" / "model") == ["config.json", "model.safetensors"]

    def test_shards_and_their_index(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path, _arrays(1.0), max_shard_size=800)
        shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        assert _names(tmp_path) == [*shards, "model.safetensors.index.json"]
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        assert index == {
            "metadata": {"total_size": 1600},
            "weight_map": {"a": shards[0], "b": shards[0], "c": shards[1], "d": shards[1]},
        }

    def test_a_tensor_larger_than_a_shard_has_a_file_of_its_own(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path, _arrays(1.0), max_shard_size=10)
        assert len(open_checkpoint(tmp_path).files) == 4

    def test_no_tensors_at_all(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path, [])
        assert open_checkpoint(tmp_path).tensors == {}

    def test_the_format_that_other_loaders_ask_for(self, tmp_path: Path) -> None:
        from safetensors import safe_open

        write_checkpoint(tmp_path, _arrays(1.0))
        with safe_open(tmp_path / "model.safetensors", "np") as file:
            assert file.metadata() == {"format": "pt"}

    def test_each_tensor_starts_at_a_multiple_of_its_width(self, tmp_path: Path) -> None:
        arrays = {"a": np.ones(3, np.uint8), "b": np.ones(3, np.float16), "c": np.ones(3, np.float64)}
        write_checkpoint(tmp_path, [(name, RawTensor.from_array(array)) for name, array in arrays.items()])
        for name, tensor in open_checkpoint(tmp_path).tensors.items():
            assert tensor.array().flags.aligned, name

    @pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
    def test_the_umask_decides_who_may_read(self, tmp_path: Path, mask: int) -> None:
        before = os.umask(mask)
        try:
            write_checkpoint(tmp_path, _arrays(1.0), [("config.json", "{}")])
        finally:
            os.umask(before)
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask

    @pytest.mark.parametrize(
        ("size", "count"),
        [(5, 5), ("5GB", 5 * 10**9), ("200 MB", 2 * 10**8), ("1GiB", 2**30), ("1.5kb", 1500), ("7", 7)],
    )
    def test_sizes(self, size: int | str, count: int) -> None:
        assert size_in_bytes(size) == count

    @pytest.mark.parametrize("size", ["large", "5 GX", 0, -3, "", "0MB"])
    def test_sizes_that_are_none(self, size: int | str) -> None:
        with pytest.raises(
            BadSetting, match=r"max_shard_size is .*: give bytes as a number, or text such as"
        ):
            size_in_bytes(size)


class TestTheSaveBefore:
    @pytest.mark.parametrize("before", ["5GB", 800, 400])
    @pytest.mark.parametrize("after", ["5GB", 800, 400])
    def test_leaves_nothing_behind(self, tmp_path: Path, before: int | str, after: int | str) -> None:
        write_checkpoint(tmp_path, _arrays(1.0), max_shard_size=before)
        (tmp_path / "notes.txt").write_text("mine")
        (tmp_path / "pytorch_model.bin").write_bytes(b"not ours")
        write_checkpoint(tmp_path, _arrays(2.0), max_shard_size=after)
        assert _values(tmp_path) == {2.0}
        fresh = tmp_path / "fresh"
        write_checkpoint(fresh, _arrays(2.0), max_shard_size=after)
        kept = {"notes.txt", "pytorch_model.bin", "fresh"}
        assert set(_names(tmp_path)) - kept == set(_names(fresh))

    def test_may_be_the_file_that_is_being_read(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path, _arrays(1.0))
        tensors = open_checkpoint(tmp_path).tensors
        write_checkpoint(tmp_path, [*tensors.items(), *_arrays(2.0, "e")])
        assert _values(tmp_path) == {1.0, 2.0}


class Stopped(Exception):
    """The process ended here."""


def _stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Every change of the folder is counted, and the one of that number and all later ones fail."""
    done = 0

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def change(*args: object, **kwargs: object) -> object:
            nonlocal done
            if done >= number:
                raise Stopped
            done += 1
            return original(*args, **kwargs)

        return change

    for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


class TestCutOff:
    @pytest.mark.parametrize("before", ["5GB", 800, 400])
    @pytest.mark.parametrize("after", ["5GB", 800, 400])
    def test_at_every_moment_the_folder_holds_one_save_or_does_not_load(
        self, tmp_path: Path, before: int | str, after: int | str
    ) -> None:
        seen = set()
        for number in range(40):
            folder = tmp_path / str(number)
            write_checkpoint(folder, _arrays(1.0), max_shard_size=before)
            with pytest.MonkeyPatch.context() as patch:
                _stop_at(patch, number)
                try:
                    write_checkpoint(folder, _arrays(2.0), max_shard_size=after)
                    finished = True
                except Stopped:
                    finished = False
            values = _values_if_it_loads(folder)
            assert len(values) <= 1
            seen |= values
            if finished:
                assert _values(folder) == {2.0}
                break
        assert finished
        assert seen == {1.0, 2.0}

    def test_a_new_folder_has_no_configuration_before_it_has_weights(self, tmp_path: Path) -> None:
        for number in range(40):
            folder = tmp_path / str(number)
            with pytest.MonkeyPatch.context() as patch:
                _stop_at(patch, number)
                try:
                    write_checkpoint(folder, _arrays(2.0), [("config.json", "{}")], max_shard_size=800)
                    finished = True
                except Stopped:
                    finished = False
            if (folder / "config.json").exists():
                assert len(list(folder.glob("model-*.safetensors"))) == 2
            if finished:
                return
        pytest.fail("the save never ended")

    def test_a_failure_leaves_no_drafts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_checkpoint(tmp_path, _arrays(1.0))
        monkeypatch.setattr(
            "pegasus.checkpoint.writing._finish", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
        )
        with pytest.raises(OSError, match=r"disk full"):
            write_checkpoint(tmp_path, _arrays(2.0), max_shard_size=400)
        assert _names(tmp_path) == ["model.safetensors"]
        assert _values(tmp_path) == {1.0}
