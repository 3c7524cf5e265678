"""Checkpoints of the PyTorch models: files of every kind, equal weights, and no second copy in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pegasus.errors import CheckpointCorrupt

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "vocab_size": 40,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "max_position_embeddings": 12,
    "num_beams": 3,
}


@pytest.fixture
def model() -> Any:
    import pegasus

    torch.manual_seed(0)
    made = pegasus.PegasusForConditionalGeneration(pegasus.PegasusConfig(**TINY)).eval()
    with torch.no_grad():
        made.final_logits_bias.normal_()
    return made


def _equal(one: Any, other: Any) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_bin_of_the_whole_state(model: Any, tmp_path: Path, new: bool, shards: int) -> None:
    """With every copy and both position tables, as transformers 4.34 wrote it."""
    model.config.save_pretrained(tmp_path)
    state = model.state_dict()
    names = [f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin" for i in range(shards)]
    if shards == 1:
        names = ["pytorch_model.bin"]
    else:
        places = {name: names[i % shards] for i, name in enumerate(state)}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    for i, file in enumerate(names):
        part = {name: tensor for place, (name, tensor) in enumerate(state.items()) if place % shards == i}
        torch.save(part, tmp_path / file, _use_new_zipfile_serialization=new)
    loaded, info = type(model).from_pretrained(tmp_path, output_loading_info=True)
    _equal(loaded, model)
    assert not any(info.values())


def test_ties_hold_after_loading(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    shared = loaded.model.shared.weight
    assert loaded.lm_head.weight is shared
    assert loaded.model.encoder.embed_tokens.weight is shared
    assert loaded.model.decoder.embed_tokens.weight is shared
    assert not loaded.training


def test_loaded_weights_do_not_hang_on_the_file(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    _equal(loaded, model)
    with torch.no_grad():
        loaded.model.shared.weight.zero_()


def test_saved_over_itself(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    with torch.no_grad():
        loaded.model.shared.weight.mul_(2)
    loaded.save_pretrained(tmp_path)
    assert torch.equal(
        type(model).from_pretrained(tmp_path).model.shared.weight, model.model.shared.weight * 2
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "float32"])
def test_every_dtype_goes_there_and_back(model: Any, tmp_path: Path, dtype: str) -> None:
    wide = model.to(getattr(torch, dtype))
    wide.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, torch_dtype="auto")
    assert loaded.dtype == getattr(torch, dtype)
    assert torch.equal(loaded.model.shared.weight, wide.model.shared.weight)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == dtype


def test_a_state_of_tensors(model: Any, tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=state)
    loaded = type(model).from_pretrained(tmp_path, dtype="auto")
    assert loaded.dtype == torch.float16
    assert torch.equal(loaded.model.shared.weight, model.model.shared.weight.half())


def test_settings_of_generate_travel_along(model: Any, tmp_path: Path) -> None:
    model.generation_config.num_beams = 5
    model.generation_config.length_penalty = 0.7
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert (loaded.generation_config.num_beams, loaded.generation_config.length_penalty) == (5, 0.7)


def test_without_their_file_they_come_from_the_configuration(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    assert type(model).from_pretrained(tmp_path).generation_config.num_beams == 3


def test_a_model_without_a_head_has_none(model: Any, tmp_path: Path) -> None:
    import pegasus

    model.save_pretrained(tmp_path / "a")
    pegasus.PegasusModel.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    assert not (tmp_path / "b" / "generation_config.json").exists()


def test_pruned_heads_load_again(model: Any, tmp_path: Path) -> None:
    model.prune_heads({("encoder", 0): [1], ("cross", 1): [0, 2]})
    model.save_pretrained(tmp_path)
    _equal(type(model).from_pretrained(tmp_path), model)


def test_one_flipped_length_is_a_sentence(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointCorrupt, match="is cut short: its tensors take"):
        type(model).from_pretrained(tmp_path)


_MEASURE = """
import resource, sys
import torch, pegasus
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
pegasus.PegasusForConditionalGeneration.from_pretrained(sys.argv[1])
before = peak()
model = pegasus.PegasusForConditionalGeneration.from_pretrained(sys.argv[2])
size = sum(parameter.nbytes for parameter in model.parameters())
print((peak() - before) / size, size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_loading_never_holds_the_weights_twice(model: Any, tmp_path: Path) -> None:
    import pegasus

    large = {**TINY, "vocab_size": 20_000, "d_model": 512, "encoder_ffn_dim": 4096, "encoder_layers": 8}
    model.save_pretrained(tmp_path / "small")
    pegasus.PegasusForConditionalGeneration(pegasus.PegasusConfig(**large)).save_pretrained(
        tmp_path / "large"
    )
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT / "src")
    ratio, size = map(float, done.stdout.split())
    assert size > 2e8
    assert ratio < 1.3
