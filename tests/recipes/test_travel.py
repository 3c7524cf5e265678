"""Bundles: small files, put together again bit by bit, or refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pegasus.errors import CheckpointCorrupt


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "ids.npz").write_bytes(rng.integers(0, 500, 40_000, np.uint16).tobytes())
    (tmp_path / "empty.txt").write_bytes(b"")
    return {"passages/ids.npz": tmp_path / "ids.npz", "empty.txt": tmp_path / "empty.txt"}


@pytest.mark.parametrize("compress", [True, False])
def test_there_and_back(script, files, tmp_path, compress):
    from travel import bundle, unbundle

    bundle(files, tmp_path / "out", compress, piece=7_000)
    pieces = sorted(file for file in (tmp_path / "out").glob("part-*/[0-9]*"))
    assert len(pieces) > 5
    assert all(file.stat().st_size <= 7_000 for file in pieces)
    assert max(len(list(part.glob("[0-9]*"))) for part in (tmp_path / "out").iterdir()) == 4
    assert sorted(unbundle(tmp_path / "out", tmp_path / "there")) == sorted(files)
    for name, file in files.items():
        assert (tmp_path / "there" / name).read_bytes() == file.read_bytes()


def test_a_shorter_bundle_leaves_nothing_of_a_longer_one(script, files, tmp_path):
    from travel import bundle, unbundle

    bundle(files, tmp_path / "out", False, piece=5_000)
    bundle({"empty.txt": files["empty.txt"]}, tmp_path / "out", False, piece=5_000)
    assert unbundle(tmp_path / "out", tmp_path / "there") == ["empty.txt"]
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("harm", ["altered", "cut", "missing"])
def test_damage_is_named_and_nothing_is_written(script, files, tmp_path, harm):
    from travel import bundle, unbundle

    bundle(files, tmp_path / "out", True, piece=7_000)
    piece = tmp_path / "out" / "part-0" / "02"
    content = bytearray(piece.read_bytes())
    content[100] ^= 1
    {
        "altered": lambda: piece.write_bytes(content),
        "cut": lambda: piece.write_bytes(content[:-1]),
        "missing": piece.unlink,
    }[harm]()
    with pytest.raises(CheckpointCorrupt, match="part-0/02"):
        unbundle(tmp_path / "out", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_file_may_not_be_written_elsewhere(script, files, tmp_path):
    from travel import bundle, unbundle

    bundle({"../outside.txt": files["empty.txt"]}, tmp_path / "out", False)
    with pytest.raises(CheckpointCorrupt, match="outside"):
        unbundle(tmp_path / "out", tmp_path / "there")
    assert not (tmp_path / "outside.txt").exists()


def test_a_changed_manifest_does_not_pass_another_file(script, files, tmp_path):
    from travel import bundle, unbundle

    bundle(files, tmp_path / "out", False)
    manifest = tmp_path / "out" / "part-0" / "manifest.json"
    told = json.loads(manifest.read_text())
    told["files"]["passages/ids.npz"] = "0" * 64
    manifest.write_text(json.dumps(told))
    with pytest.raises(CheckpointCorrupt, match=r"ids\.npz"):
        unbundle(tmp_path / "out", tmp_path / "there")
    assert not (tmp_path / "there" / "passages" / "ids.npz").exists()


def test_weights_too_large_for_half_precision_are_refused(script, tmp_path):
    from travel import write_half

    with pytest.raises(OverflowError, match="fc1"):
        write_half({"model": {"fc1": torch.full((2,), 1e5)}, "step": 1}, tmp_path / "weights.safetensors")
