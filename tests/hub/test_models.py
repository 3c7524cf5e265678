"""Models by their hub names: the same weights as from the folder, by every option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pegasus.errors import CheckpointCorrupt, CheckpointNotFound

torch = pytest.importorskip("torch")

TINY = {
    "vocab_size": 40,
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 12,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 12,
    "num_beams": 2,
}


@pytest.fixture
def model() -> Any:
    import pegasus

    torch.manual_seed(0)
    return pegasus.PegasusForConditionalGeneration(pegasus.PegasusConfig(**TINY)).eval()


@pytest.fixture
def saved(model: Any, tmp_path: Path) -> dict[str, bytes]:
    model.save_pretrained(tmp_path / "saved", max_shard_size="3KB")
    return {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}


def _same(one: Any, other: Any) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_by_name(fake_hub: Any, model: Any, saved: dict[str, bytes], cache: Path) -> None:
    fake_hub.new("org/tiny", saved, token="secret")
    loaded = type(model).from_pretrained("org/tiny", token="secret", cache_dir=cache, dropout=0.0)
    assert _same(loaded, model)
    assert loaded.generation_config.num_beams == 2
    assert loaded.config.name_or_path == "org/tiny"
    assert loaded.config.dropout == 0.0


def test_by_revision_subfolder_and_offline(
    fake_hub: Any, model: Any, saved: dict[str, bytes], cache: Path
) -> None:
    files = {f"step-5/{name}": content for name, content in saved.items()}
    fake_hub.new("org/runs", files, branches=("main", "v2"))
    options = {"revision": "v2", "subfolder": "step-5", "cache_dir": cache}
    assert _same(type(model).from_pretrained("org/runs", **options), model)
    fake_hub.requests.clear()
    assert _same(type(model).from_pretrained("org/runs", **options, local_files_only=True), model)
    assert fake_hub.requests == []


def test_a_configuration_alone_does_not_fetch_weights(
    fake_hub: Any, model: Any, saved: dict[str, bytes], cache: Path
) -> None:
    import pegasus

    fake_hub.new("org/tiny", saved)
    assert pegasus.PegasusConfig.from_pretrained("org/tiny", cache_dir=cache).d_model == 8
    assert fake_hub.downloads() == ["config.json", "config.json"] or fake_hub.downloads() == ["config.json"]
    with pytest.raises(
        CheckpointNotFound, match=r"The cached copy of 'org/tiny' is incomplete: .* is missing"
    ):
        type(model).from_pretrained("org/tiny", cache_dir=cache, local_files_only=True)


def test_a_corrupted_shard(fake_hub: Any, model: Any, saved: dict[str, bytes], cache: Path) -> None:
    repository = fake_hub.new("org/tiny", saved)
    name = next(name for name in saved if name.startswith("model-00002"))
    repository.sent[name] = saved[name][:-4] + b"\0\0\xc0\x7f"
    with pytest.raises(CheckpointCorrupt, match=f"{name} of 'org/tiny' is damaged"):
        type(model).from_pretrained("org/tiny", cache_dir=cache)
    repository.sent.clear()
    assert _same(type(model).from_pretrained("org/tiny", cache_dir=cache), model)


def test_a_bin_when_asked_for(
    fake_hub: Any, model: Any, saved: dict[str, bytes], cache: Path, tmp_path: Path
) -> None:
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    files = {**saved, "pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes()}
    fake_hub.new("org/both", files)
    assert _same(type(model).from_pretrained("org/both", cache_dir=cache, use_safetensors=False), model)
    assert not [name for name in fake_hub.downloads() if name.endswith(".safetensors")]


def test_there_and_back_by_the_hub(fake_hub: Any, model: Any, cache: Path) -> None:
    address = model.push_to_hub("org/mine", token="right", commit_message="a model")
    assert address.startswith(fake_hub.url)
    assert sorted(fake_hub.uploads["org/mine"]) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    fake_hub.new("org/mine", fake_hub.uploads["org/mine"])
    assert _same(type(model).from_pretrained("org/mine", cache_dir=cache), model)


def test_saved_and_pushed_at_once(fake_hub: Any, model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "named", push_to_hub=True, repo_id="org/named", token="right")
    assert "model.safetensors" in fake_hub.uploads["org/named"]
