"""Downloads from a hub: what is fetched, what is trusted, and what is said when something is wrong."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from pegasus import hub
from pegasus.errors import CheckpointCorrupt, CheckpointNotFound

FILES = {
    "config.json": b'{"model_type": "pegasus"}',
    "tokenizer_config.json": b"{}",
    "spiece.model": b"pieces",
    "model.safetensors": b"S" * 5000,
    "pytorch_model.bin": b"B" * 5000,
    "tf_model.h5": b"H" * 5000,
    "flax_model.msgpack": b"F" * 5000,
    "pytorch_model.bin.index.json": b"{}",
    "README.md": b"card",
    "modeling_pegasus.py": b"import os",
}


@pytest.fixture
def repository(fake_hub: Any) -> Any:
    return fake_hub.new("org/model", FILES)


def _options(cache: Path, **fields: Any) -> hub.HubOptions:
    return hub.HubOptions(cache_dir=cache, **fields)


class TestWhatIsFetched:
    def test_one_format_of_weights_and_no_code(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        folder = hub.locate("org/model", _options(cache))
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.json",
            "model.safetensors",
            "spiece.model",
            "tokenizer_config.json",
        ]
        assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
        assert sorted(set(fake_hub.downloads())) == sorted(path.name for path in folder.iterdir())

    def test_bin_where_there_is_no_safetensors(self, fake_hub: Any, cache: Path) -> None:
        fake_hub.new("org/old", {k: v for k, v in FILES.items() if k != "model.safetensors"})
        folder = hub.locate("org/old", _options(cache))
        assert (folder / "pytorch_model.bin").is_file()
        assert not (folder / "tf_model.h5").exists()

    def test_shards_with_their_index(self, fake_hub: Any, cache: Path) -> None:
        names = [
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ]
        files = {"config.json": b"{}", **dict.fromkeys(names, b"{}"), "pytorch_model.bin": b"B"}
        fake_hub.new("org/large", files)
        folder = hub.locate("org/large", _options(cache))
        assert sorted(path.name for path in folder.iterdir()) == sorted(["config.json", *names])

    def test_patterns(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        folder = hub.locate("org/model", _options(cache), patterns=hub.TOKENIZER_FILES)
        assert sorted(p.name for p in folder.iterdir()) == [
            "config.json",
            "spiece.model",
            "tokenizer_config.json",
        ]

    def test_a_subfolder(self, fake_hub: Any, cache: Path) -> None:
        files = {"config.json": b"outer", "best/config.json": b"inner", "best/model.safetensors": b"S"}
        fake_hub.new("org/nested", files)
        folder = hub.locate("org/nested", _options(cache, subfolder="best"))
        assert folder.name == "best"
        assert (folder / "config.json").read_bytes() == b"inner"
        assert fake_hub.downloads().count("config.json") == 1

    def test_the_second_time_nothing_is_sent(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        first = hub.locate("org/model", _options(cache))
        fake_hub.requests.clear()
        assert hub.locate("org/model", _options(cache)) == first
        assert fake_hub.downloads() == []
        assert len(fake_hub.requests) == 1

    def test_a_commit_needs_no_request_at_all(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        options = _options(cache, revision=repository.commit)
        first = hub.locate("org/model", options)
        fake_hub.requests.clear()
        assert hub.locate("org/model", options) == first
        assert fake_hub.requests == []

    def test_force_download(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        hub.locate("org/model", _options(cache))
        fake_hub.requests.clear()
        hub.locate("org/model", _options(cache, force_download=True))
        assert "model.safetensors" in fake_hub.downloads()

    def test_a_cut_connection_is_resumed(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        repository.cut["model.safetensors"] = 2000
        folder = hub.locate("org/model", _options(cache))
        assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


class TestWhoMay:
    def test_an_unknown_repository(self, fake_hub: Any, cache: Path) -> None:
        with pytest.raises(
            CheckpointNotFound, match=r"'org/none' is no folder here, not bundled .* check the name"
        ):
            hub.locate("org/none", _options(cache))

    def test_an_unknown_revision(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        with pytest.raises(CheckpointNotFound, match=r"'org/model' has no revision 'v9': give a branch"):
            hub.locate("org/model", _options(cache, revision="v9"))

    def test_a_revision(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        repository.branches = ("main", "v1")
        assert hub.locate("org/model", _options(cache, revision="v1")).name == repository.commit

    def test_a_gated_repository(self, fake_hub: Any, cache: Path) -> None:
        fake_hub.new("org/gated", FILES, gated=True, token="right")
        with pytest.raises(
            CheckpointNotFound, match=r"gated: accept its terms on the hub, then give a token"
        ):
            hub.locate("org/gated", _options(cache))
        assert hub.locate("org/gated", _options(cache, token="right")).is_dir()

    def test_a_private_repository(self, fake_hub: Any, cache: Path) -> None:
        fake_hub.new("org/private", FILES, token="right")
        for token in ("wrong", False):
            with pytest.raises(
                CheckpointNotFound, match=r"or a private one: check the name, or give a token"
            ):
                hub.locate("org/private", _options(cache, token=token))
        assert hub.locate("org/private", _options(cache, token="right")).is_dir()
        assert fake_hub.tokens[-1] == "Bearer right"

    @pytest.mark.parametrize("left_out", ["config.json", "model.safetensors"])
    def test_a_repository_without_what_a_model_needs(
        self, fake_hub: Any, cache: Path, left_out: str
    ) -> None:
        files = {"config.json": b"{}", "model.safetensors": b"S", "data.csv": b"1"}
        fake_hub.new("org/half", {k: v for k, v in files.items() if k != left_out})
        word = "config.json" if left_out == "config.json" else "weights"
        with pytest.raises(CheckpointNotFound, match=rf"holds no {word}.*found: .*data\.csv"):
            hub.locate("org/half", _options(cache))


class TestIntegrity:
    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "spiece.model"])
    def test_damage_of_equal_size_is_found_and_cured(
        self, fake_hub: Any, repository: Any, cache: Path, name: str
    ) -> None:
        right = FILES[name]
        repository.sent[name] = right[:-1] + bytes([right[-1] ^ 1])
        with pytest.raises(
            CheckpointCorrupt, match=rf"{name} of 'org/model' is damaged: its .* load again"
        ) as caught:
            hub.locate("org/model", _options(cache))
        assert "\n" not in str(caught.value)
        repository.sent.clear()
        folder = hub.locate("org/model", _options(cache))
        assert (folder / name).read_bytes() == right

    def test_damage_on_the_disk_is_found_offline(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        folder = hub.locate("org/model", _options(cache))
        (folder / "model.safetensors").resolve().write_bytes(b"S" * 4999 + b"T")
        with pytest.raises(CheckpointCorrupt, match=r"Load with force_download=True"):
            hub.locate("org/model", _options(cache, local_files_only=True))

    def test_each_file_is_read_for_it_once(
        self, fake_hub: Any, repository: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.locate("org/model", _options(cache))
        monkeypatch.setattr("pegasus.hub.integrity._hash", lambda *_: pytest.fail("read again"))
        hub.locate("org/model", _options(cache))

    def test_a_cache_that_others_filled_is_checked_by_the_names_of_its_blobs(
        self, fake_hub: Any, repository: Any, cache: Path
    ) -> None:
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download("org/model", cache_dir=cache, endpoint=fake_hub.url))
        assert hub.locate("org/model", _options(cache, local_files_only=True)) == folder
        (folder / "model.safetensors").resolve().write_bytes(b"T" * 5000)
        with pytest.raises(CheckpointCorrupt, match=r"model\.safetensors of 'org/model' is damaged"):
            hub.locate("org/model", _options(cache, local_files_only=True))


class TestWithoutNetwork:
    def test_what_is_cached_is_used(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        folder = hub.locate("org/model", _options(cache))
        fake_hub.requests.clear()
        assert hub.locate("org/model", _options(cache, local_files_only=True)) == folder
        assert fake_hub.requests == []

    def test_the_variable_forbids_requests(
        self, fake_hub: Any, repository: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(
            CheckpointNotFound, match=r"not in the cache .* HF_HUB_OFFLINE forbids the network"
        ):
            hub.locate("org/model", _options(cache))
        assert fake_hub.requests == []

    def test_nothing_cached(self, cache: Path) -> None:
        with pytest.raises(
            CheckpointNotFound, match=r"not in the cache .* local_files_only=True forbids"
        ) as caught:
            hub.locate("org/model", _options(cache, local_files_only=True))
        assert "run once with the network" in str(caught.value)

    def test_an_incomplete_snapshot_names_what_is_missing(
        self, fake_hub: Any, repository: Any, cache: Path
    ) -> None:
        hub.locate("org/model", _options(cache), patterns=hub.TOKENIZER_FILES)
        with pytest.raises(
            CheckpointNotFound, match=r"incomplete: model\.safetensors is missing from .*run once"
        ):
            hub.locate("org/model", _options(cache, local_files_only=True))

    def test_an_incomplete_snapshot_of_others(self, fake_hub: Any, repository: Any, cache: Path) -> None:
        from huggingface_hub import hf_hub_download

        hf_hub_download("org/model", "spiece.model", cache_dir=cache, endpoint=fake_hub.url)
        with pytest.raises(
            CheckpointNotFound, match=r"incomplete: config\.json and weights .* is missing"
        ) as caught:
            hub.locate("org/model", _options(cache, local_files_only=True))
        assert "found: spiece.model" in str(caught.value)

    def test_a_missing_shard_is_named(self, fake_hub: Any, cache: Path) -> None:
        shards = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
        files = {
            "config.json": b"{}",
            "model.safetensors.index.json": b"{}",
            **{name: name.encode() for name in shards},
        }
        fake_hub.new("org/large", files)
        folder = hub.locate("org/large", _options(cache))
        (folder / shards[1]).unlink()
        with pytest.raises(CheckpointNotFound, match=rf"incomplete: {shards[1]} is missing"):
            hub.locate("org/large", _options(cache, local_files_only=True))

    def test_a_hub_that_is_down_and_a_cache(
        self, fake_hub: Any, repository: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = hub.locate("org/model", _options(cache))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{_free_port()}")
        assert hub.locate("org/model", _options(cache)) == folder

    def test_a_hub_that_is_down_and_no_cache(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{_free_port()}")
        with pytest.raises(CheckpointNotFound, match=r"the hub could not be reached") as caught:
            hub.locate("org/model", _options(cache))
        assert "\n" not in str(caught.value)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
