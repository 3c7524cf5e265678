"""Reading safetensors: what is right is read without a copy, what is wrong is said in one sentence."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from safetensors.numpy import load_file, save_file

from pegasus.checkpoint.files import read_index, read_safetensors
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import NUMPY_TYPES, RawTensor
from pegasus.checkpoint.writing import write_checkpoint
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointNotFound, NotOffered, PegasusError

ARRAYS = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.array([1.5, -2], np.float16),
    "count": np.array(7, np.int64),
    "none": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False, True]),
}


def _raw(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def _entry(shape: list[int], first: int, last: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


class TestReading:
    def test_what_the_library_writes(self, tmp_path: Path) -> None:
        save_file(ARRAYS, tmp_path / "model.safetensors", {"format": "pt"})
        tensors, metadata = read_safetensors(tmp_path / "model.safetensors")
        assert metadata == {"format": "pt"}
        assert tensors.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert tensors[name].shape == array.shape
            np.testing.assert_array_equal(tensors[name].array(), array)
            assert tensors[name].array().dtype == array.dtype

    @pytest.mark.parametrize("dtype", sorted(NUMPY_TYPES.values()))
    def test_the_library_reads_what_we_write(self, tmp_path: Path, dtype: str) -> None:
        arrays = {"odd": np.arange(5).astype(dtype), "other": np.ones((2, 3), np.float32)}
        write_checkpoint(tmp_path, [(name, RawTensor.from_array(array)) for name, array in arrays.items()])
        read = load_file(tmp_path / "model.safetensors")
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)
            assert read[name].dtype == array.dtype

    def test_bfloat16_becomes_float32_exactly(self) -> None:
        numbers = np.array([1.0, -0.5, 3.140625, np.inf], np.float32)
        upper = (numbers.view(np.uint32) >> 16).astype("<u2")
        raw = RawTensor("BF16", (2, 2), upper.view(np.uint8))
        np.testing.assert_array_equal(raw.array(), numbers.reshape(2, 2))

    def test_a_view_and_not_a_copy(self, tmp_path: Path) -> None:
        save_file(ARRAYS, tmp_path / "model.safetensors")
        tensor = open_checkpoint(tmp_path).tensors["matrix"]
        assert not tensor.data.flags.owndata
        assert not tensor.data.flags.writeable
        tensor.release()
        np.testing.assert_array_equal(tensor.array(), ARRAYS["matrix"])

    def test_released_memory_is_read_again(self, tmp_path: Path) -> None:
        array = np.arange(100_000, dtype=np.float32)
        save_file({"a": array, "b": array + 1}, tmp_path / "model.safetensors")
        tensors = open_checkpoint(tmp_path).tensors
        for _ in range(2):
            for name, expected in (("a", array), ("b", array + 1)):
                np.testing.assert_array_equal(tensors[name].array(), expected)
                tensors[name].release()

    def test_numbers_no_checkpoint_has(self) -> None:
        with pytest.raises(BadSetting, match="Numbers of type complex64 cannot be kept"):
            RawTensor.from_array(np.zeros(2, np.complex64))

    def test_numbers_numpy_has_not(self) -> None:
        with pytest.raises(BadSetting, match="NumPy has no numbers of type F8_E4M3"):
            RawTensor("F8_E4M3", (1,), np.zeros(1, np.uint8)).array()


class TestOneFileIsWrong:
    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "is empty, 0 bytes: the copy or download was cut off, fetch it again"),
            (b"abc", "is no safetensors file"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
                "git-lfs pointer .* `git lfs pull`",
            ),
            (b"<!DOCTYPE html><html>", "is a web page, not weights"),
            (b"\n <html>", "is a web page, not weights"),
            (b"PK\x03\x04" + b"x" * 100, r"is no safetensors file \(its 104 bytes start otherwise\)"),
            (
                _raw({}, length=500),
                "is cut short: its header alone should end at byte 508, the file has 10",
            ),
            (_raw(b"{nonsense"), "does not hold the JSON it should .*its header is damaged"),
            (_raw(b'{"a": \xff}'), "does not hold the JSON it should"),
            (_raw(b'{"a": 1, "a": 2}'), "a name appears twice"),
            (_raw(b"{" + b'"a":{' * 100_000), "does not hold the JSON it should"),
            (_raw({"w": 5}), "describes the tensor 'w' as 5: its header is damaged"),
            (_raw({"w": _entry([-1], 0, 4)}), "describes the tensor 'w' as .*-1"),
            (_raw({"w": _entry([True], 0, 4)}), "describes the tensor 'w' as"),
            (_raw({"w": {**_entry([1], 0, 4), "data_offsets": [0]}}), "describes the tensor 'w' as"),
            (
                _raw({"w": _entry([1], 0, 4, "F4")}, b"1234"),
                "numbers of type 'F4', which is not known here",
            ),
            (
                _raw({"w": _entry([2], 0, 4)}, b"1234"),
                r"gives the tensor 'w' 4 bytes, but F32 of shape \[2\] has 8",
            ),
            (
                _raw({"w": _entry([2], 0, 8)}, b"1234"),
                "is cut short: its tensors take 8 bytes and 4 are there",
            ),
            (_raw({"w": _entry([1], 0, 4)}, b"12345678"), "has 4 bytes after its last tensor"),
            (
                _raw({"v": _entry([1], 0, 4), "w": _entry([1], 8, 12)}, b"1" * 12),
                "'w' at byte 8 .* where 4 was due",
            ),
            (_raw({"v": _entry([1], 0, 4), "w": _entry([1], 2, 6)}, b"1" * 6), "overlap or leave a hole"),
        ],
    )
    def test_one_sentence(self, tmp_path: Path, content: bytes, sentence: str) -> None:
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        with pytest.raises(CheckpointCorrupt, match=sentence) as caught:
            open_checkpoint(tmp_path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize("cut", [1, 100, 400])
    def test_a_file_that_was_cut_off(self, tmp_path: Path, cut: int) -> None:
        save_file({"w": np.ones(50, np.float32)}, tmp_path / "model.safetensors")
        content = (tmp_path / "model.safetensors").read_bytes()
        (tmp_path / "model.safetensors").write_bytes(content[: len(content) - min(cut, len(content) - 9)])
        with pytest.raises(CheckpointCorrupt, match="cut short"):
            open_checkpoint(tmp_path)

    def test_another_framework_wrote_it(self, tmp_path: Path) -> None:
        save_file(ARRAYS, tmp_path / "model.safetensors", {"format": "mlx"})
        with pytest.raises(NotOffered, match="written by 'mlx', whose names are not known"):
            open_checkpoint(tmp_path)

    @settings(max_examples=300, deadline=None)
    @given(place=st.integers(0, 600), value=st.integers(0, 255), cut=st.integers(0, 700))
    def test_no_damage_leads_to_another_error(
        self, tmp_path_factory: pytest.TempPathFactory, place: int, value: int, cut: int
    ) -> None:
        folder = tmp_path_factory.mktemp("damaged")
        save_file(ARRAYS, folder / "model.safetensors")
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[min(place, len(content) - 1)] = value
        (folder / "model.safetensors").write_bytes(content[: len(content) - max(0, cut - 600)])
        try:
            for tensor in open_checkpoint(folder).tensors.values():
                tensor.array()
        except PegasusError:
            pass


class TestShards:
    @pytest.fixture
    def sharded(self, tmp_path: Path) -> Path:
        arrays = [(name, RawTensor.from_array(array)) for name, array in ARRAYS.items()]
        write_checkpoint(tmp_path, arrays, max_shard_size=30)
        return tmp_path

    def test_all_are_read(self, sharded: Path) -> None:
        weights = open_checkpoint(sharded)
        assert len(weights.files) > 1
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(weights.tensors[name].array(), array)

    def test_every_missing_shard_is_named(self, sharded: Path) -> None:
        gone = sorted(path.name for path in sharded.glob("model-*"))[:2]
        for name in gone:
            (sharded / name).unlink()
        with pytest.raises(CheckpointNotFound, match=f"2 of the . weight files .*{gone[0]}, {gone[1]}"):
            open_checkpoint(sharded)

    def test_a_missing_index(self, sharded: Path) -> None:
        (sharded / "model.safetensors.index.json").unlink()
        with pytest.raises(
            CheckpointNotFound, match=r"holds shards \(model-00001.* but not the index that lists them"
        ):
            open_checkpoint(sharded)

    def test_an_index_of_another_save(self, sharded: Path) -> None:
        index = sharded / "model.safetensors.index.json"
        content = json.loads(index.read_text())
        content["weight_map"]["extra"] = content["weight_map"]["matrix"]
        index.write_text(json.dumps(content))
        with pytest.raises(
            CheckpointCorrupt, match=r"names 1 tensors that its files do not hold \(extra\)"
        ):
            open_checkpoint(sharded)

    @pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", "..", "", "a\\b", "C:evil", 5, None])
    def test_an_index_that_leads_out_of_the_folder(self, tmp_path: Path, name: object) -> None:
        index = tmp_path / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {"w": name}}))
        with pytest.raises(
            CheckpointCorrupt, match="which is not a file beside it: do not use this checkpoint"
        ):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"<html>", "does not hold the JSON it should"),
            (b"[1]", "holds a list where a JSON object should be"),
            (b'{"metadata": {}}', r"has no `weight_map`, found \['metadata'\]"),
            (b'{"weight_map": {}}', "has no `weight_map`"),
        ],
    )
    def test_an_index_that_is_none(self, tmp_path: Path, content: bytes, sentence: str) -> None:
        path = tmp_path / "model.safetensors.index.json"
        path.write_bytes(content)
        with pytest.raises(CheckpointCorrupt, match=sentence):
            read_index(path)


class TestWhichFile:
    def test_safetensors_before_bin(self, tmp_path: Path) -> None:
        save_file(ARRAYS, tmp_path / "model.safetensors")
        (tmp_path / "pytorch_model.bin").write_bytes(b"never opened")
        assert open_checkpoint(tmp_path).format == "safetensors"

    def test_bin_when_asked_for(self, tmp_path: Path) -> None:
        save_file(ARRAYS, tmp_path / "model.safetensors")
        with pytest.raises(
            CheckpointNotFound, match=r"holds no pytorch_model\.bin \(found: model\.safetensors\)"
        ):
            open_checkpoint(tmp_path, ("bin",))

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(
            CheckpointNotFound, match=r"no model\.safetensors or pytorch_model\.bin or .*\(found: nothing\)"
        ):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize(
        ("name", "framework"),
        [("model.bin", "CTranslate2")],
    )
    def test_only_those_of_another_framework(self, tmp_path: Path, name: str, framework: str) -> None:
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(
            CheckpointNotFound, match=f"only weights of {framework}.*convert them to safetensors first"
        ):
            open_checkpoint(tmp_path)

    def test_only_a_checkpoint_of_tensorflow(self, tmp_path: Path) -> None:
        for end in ("index", "data-00000-of-00001"):
            (tmp_path / f"model.ckpt-7.{end}").write_bytes(b"x")
        with pytest.raises(CheckpointNotFound, match=r"only a TensorFlow checkpoint .*`pegasus convert`"):
            open_checkpoint(tmp_path)
