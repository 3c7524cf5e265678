"""``pytorch_model.bin``: every form of it that holds numbers is read, and none that holds code is run."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.checkpoint.foreign import read_bin
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.errors import CheckpointCorrupt, CheckpointNotFound, PegasusError

torch = pytest.importorskip("torch")

FORMATS = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def _state() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 8, generator=generator)
    return OrderedDict(
        plain=torch.randn(3, 5, generator=generator),
        turned=base.T,
        window=base[2:5, 1:7:2],
        shared_a=base,
        shared_b=base[1],
        expanded=torch.tensor([1.0, 2.0]).expand(3, 2),
        half=torch.randn(4, generator=generator).half(),
        brain=torch.randn(4, 2, generator=generator).bfloat16(),
        brain_turned=torch.randn(4, 2, generator=generator).bfloat16().T,
        double=torch.randn(2, generator=generator, dtype=torch.float64),
        whole=torch.arange(5),
        small=torch.tensor([1, -2], dtype=torch.int8),
        flags=torch.tensor([True, False]),
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.ones(2, 2)),
    )


def _same(read: dict[str, Any], state: dict[str, Any]) -> None:
    assert list(read) == list(state)
    for name, tensor in state.items():
        assert read[name].shape == tuple(tensor.shape), name
        wanted = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        np.testing.assert_array_equal(read[name].array(), wanted.numpy(), err_msg=name)
        assert read[name].array().dtype == wanted.numpy().dtype, name


class TestReading:
    @FORMATS
    def test_every_kind_of_tensor(self, tmp_path: Path, new: bool) -> None:
        path = tmp_path / "pytorch_model.bin"
        torch.save(_state(), path, _use_new_zipfile_serialization=new)
        _same(read_bin(path), _state())

    @FORMATS
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_every_protocol_of_pickle(self, tmp_path: Path, new: bool, protocol: int) -> None:
        torch.save(
            _state(), tmp_path / "w.bin", pickle_protocol=protocol, _use_new_zipfile_serialization=new
        )
        _same(read_bin(tmp_path / "w.bin"), _state())

    @FORMATS
    def test_the_state_of_a_module(self, tmp_path: Path, new: bool) -> None:
        module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
        torch.save(module.state_dict(), tmp_path / "w.bin", _use_new_zipfile_serialization=new)
        _same(read_bin(tmp_path / "w.bin"), module.state_dict())

    @FORMATS
    def test_numbers_stay_in_the_file(self, tmp_path: Path, new: bool) -> None:
        torch.save({"w": torch.ones(1000)}, tmp_path / "w.bin", _use_new_zipfile_serialization=new)
        raw = read_bin(tmp_path / "w.bin")["w"]
        assert not raw.data.flags.writeable
        assert not raw.data.flags.owndata

    def test_a_packed_archive(self, tmp_path: Path) -> None:
        torch.save(_state(), tmp_path / "plain.bin")
        with (
            zipfile.ZipFile(tmp_path / "plain.bin") as plain,
            zipfile.ZipFile(tmp_path / "packed.bin", "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for info in plain.infolist():
                packed.writestr(info.filename, plain.read(info))
        _same(read_bin(tmp_path / "packed.bin"), _state())

    def test_shards(self, tmp_path: Path) -> None:
        names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
        torch.save({"a": torch.ones(2)}, tmp_path / names[0])
        torch.save({"b": torch.zeros(3)}, tmp_path / names[1])
        index = {"metadata": {}, "weight_map": dict(zip("ab", names, strict=True))}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        weights = open_checkpoint(tmp_path)
        assert weights.format == "bin"
        assert sorted(weights.tensors) == ["a", "b"]
        (tmp_path / names[1]).unlink()
        with pytest.raises(CheckpointNotFound, match=f"1 of the 2 weight files .*{names[1]}"):
            open_checkpoint(tmp_path)


class Harmful:
    """Pickled as a call of ``os.mkdir``: when the file is run, the folder appears."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


class TestCode:
    @FORMATS
    @pytest.mark.parametrize("place", ["value", "nested", "top"])
    def test_is_named_and_not_run(self, tmp_path: Path, new: bool, place: str) -> None:
        harm = Harmful(tmp_path / "harm")
        content = {
            "value": {"w": torch.ones(1), "x": harm},
            "nested": {"w": [{"deep": harm}]},
            "top": harm,
        }[place]
        torch.save(content, tmp_path / "w.bin", _use_new_zipfile_serialization=new)
        with pytest.raises(
            CheckpointCorrupt, match=r"holds code: it asks for `posix\.mkdir`.*Nothing was run"
        ) as caught:
            read_bin(tmp_path / "w.bin")
        assert not (tmp_path / "harm").exists()
        assert "\n" not in str(caught.value)

    def test_the_file_would_have_done_harm(self, tmp_path: Path) -> None:
        """Without this the test above could pass because the bait is dead."""
        torch.save(Harmful(tmp_path / "harm"), tmp_path / "w.bin")
        torch.load(tmp_path / "w.bin", weights_only=False)
        assert (tmp_path / "harm").is_dir()

    @pytest.mark.parametrize(
        ("program", "named"),
        [
            (b"cbuiltins\neval\n(V1+1\ntR.", r"`builtins\.eval`"),
            (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"`os\.system`"),
            (b"ctorch._utils\n_rebuild_tensor_v2\n(I1\ntR.", "a tensor made of"),
            (b"(ios\nsystem\n.", "the instruction INST"),
            (b"(cos\nsystem\no.", r"`os\.system`"),
            (b"ccollections\nOrderedDict\n)\x81.", "the instruction NEWOBJ"),
            (b"ctorch\nFloatStorage\n}Vx\nI1\nsb.", "setting attributes of a _Mark"),
            (b"ccollections\nOrderedDict\nVk\nI1\ns.", "changing a _Mark"),
            (b"}I1\nI2\ns.", "a dictionary with a key of type int"),
            (b"}(I1\na.", "appending to a"),
            (b"\x80\x02\x82\x01.", "the instruction EXT1"),
            (b"Pabc\n.", "the instruction PERSID"),
            (b"(Vmodule\nctorch\nFloatStorage\nV0\ntQ.", "the reference"),
            (b"\x80\x05\x97.", "the instruction NEXT_BUFFER"),
        ],
    )
    def test_whatever_no_state_dict_needs(self, tmp_path: Path, program: bytes, named: str) -> None:
        with zipfile.ZipFile(tmp_path / "w.bin", "w") as archive:
            archive.writestr("archive/data.pkl", program)
        with pytest.raises(CheckpointCorrupt, match=named):
            read_bin(tmp_path / "w.bin")

    def test_a_pickle_alone(self, tmp_path: Path) -> None:
        (tmp_path / "w.bin").write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
        with pytest.raises(CheckpointCorrupt, match="holds code"):
            read_bin(tmp_path / "w.bin")
        assert not (tmp_path / "harm").exists()


class TestWrongFiles:
    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "is empty, 0 bytes"),
            (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
            (b"<!doctype html>", "is a web page"),
            (b"nonsense of another kind", r"is no PyTorch file \(it starts with b'no'\)"),
            (b"PK\x03\x04 and no more", "cut short, damaged or something else"),
            (pickle.dumps(5, 2), "is no PyTorch file"),
        ],
    )
    def test_one_sentence(self, tmp_path: Path, content: bytes, sentence: str) -> None:
        (tmp_path / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(CheckpointCorrupt, match=sentence) as caught:
            open_checkpoint(tmp_path)
        assert "\n" not in str(caught.value)

    @FORMATS
    @pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
    def test_a_file_that_was_cut_off(self, tmp_path: Path, new: bool, kept: float) -> None:
        torch.save({"w": torch.ones(500)}, tmp_path / "w.bin", _use_new_zipfile_serialization=new)
        content = (tmp_path / "w.bin").read_bytes()
        (tmp_path / "w.bin").write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(CheckpointCorrupt, match="cut short"):
            read_bin(tmp_path / "w.bin")

    def test_a_training_checkpoint(self, tmp_path: Path) -> None:
        torch.save({"model": {"w": torch.ones(1)}, "step": 5}, tmp_path / "w.bin")
        with pytest.raises(
            CheckpointCorrupt, match=r"no plain state dict, 'model', 'step' in it is no tensor"
        ):
            read_bin(tmp_path / "w.bin")

    def test_no_dictionary(self, tmp_path: Path) -> None:
        torch.save([torch.ones(1)], tmp_path / "w.bin")
        with pytest.raises(
            CheckpointCorrupt, match=r"holds a list, not a state dict: save `model\.state_dict\(\)`"
        ):
            read_bin(tmp_path / "w.bin")

    @pytest.mark.parametrize(
        ("member", "content", "sentence"),
        [
            ("constants.pkl", b"", "is a TorchScript program, not a state dict"),
            ("byteorder", b"big", "was written on a big-endian machine"),
            ("other", b"", r"without data\.pkl"),
        ],
    )
    def test_other_archives(self, tmp_path: Path, member: str, content: bytes, sentence: str) -> None:
        with zipfile.ZipFile(tmp_path / "w.bin", "w") as archive:
            archive.writestr(f"archive/{member}", content)
            if member == "byteorder":
                archive.writestr("archive/data.pkl", b"}.")
        with pytest.raises(CheckpointCorrupt, match=sentence):
            read_bin(tmp_path / "w.bin")

    def test_a_member_is_missing(self, tmp_path: Path) -> None:
        torch.save({"w": torch.ones(5)}, tmp_path / "plain.bin")
        with (
            zipfile.ZipFile(tmp_path / "plain.bin") as plain,
            zipfile.ZipFile(tmp_path / "w.bin", "w") as without,
        ):
            for info in plain.infolist():
                if not info.filename.endswith("data/0"):
                    without.writestr(info.filename, plain.read(info))
        with pytest.raises(CheckpointCorrupt, match="lacks the numbers '0' that it names"):
            read_bin(tmp_path / "w.bin")

    @pytest.mark.parametrize(
        ("shape", "strides", "offset", "sentence"),
        [
            ("K\x05\x85", "K\x01\x85", "K\x00", "needs 20 bytes for w and holds 8"),
            ("K\x01\x85", "K\x01\x85", "K\x63", "needs 400 bytes for w and holds 8"),
            ("J\x00\x00\x00\x40\x85", "K\x00\x85", "K\x00", "blows w up to 4,294,967,296 bytes"),
            ("J\xff\xff\xff\xff\x85", "K\x01\x85", "K\x00", "gives w the shape"),
            ("K\x01K\x02\x86", "K\x01\x85", "K\x00", "gives w the shape"),
        ],
    )
    def test_numbers_that_are_not_there(
        self, tmp_path: Path, shape: str, strides: str, offset: str, sentence: str
    ) -> None:
        reference = "(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nK\x02tQ"
        tensor = f"ctorch._utils\n_rebuild_tensor_v2\n({reference}{offset}{shape}{strides}\x89}}tR"
        with zipfile.ZipFile(tmp_path / "w.bin", "w") as archive:
            archive.writestr("archive/data.pkl", f"}}Vw\n{tensor}s.".encode("latin-1"))
            archive.writestr("archive/data/0", bytes(8))
        with pytest.raises(CheckpointCorrupt, match=sentence):
            read_bin(tmp_path / "w.bin")

    def test_an_archive_made_to_fill_the_memory(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "w.bin", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(20 << 20))
        with pytest.raises(CheckpointCorrupt, match="no weights do that"):
            read_bin(tmp_path / "w.bin")

    @FORMATS
    @settings(max_examples=150, deadline=None)
    @given(places=st.lists(st.integers(0, 3000), min_size=1, max_size=4), value=st.integers(0, 255))
    def test_no_damage_leads_to_another_error(
        self, tmp_path_factory: pytest.TempPathFactory, new: bool, places: list[int], value: int
    ) -> None:
        path = tmp_path_factory.mktemp("damaged") / "w.bin"
        torch.save(
            {"a": torch.ones(3, 2).T, "b": torch.arange(4)}, path, _use_new_zipfile_serialization=new
        )
        content = bytearray(path.read_bytes())
        for place in places:
            content[place % len(content)] = value
        path.write_bytes(content)
        try:
            for tensor in read_bin(path).values():
                tensor.array()
        except PegasusError:
            pass
