"""Every format of the table: the same weights come out under the same names, whatever wrote them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import pegasus
from pegasus import PegasusConfig
from pegasus.checkpoint.formats import FORMATS, open_checkpoint
from pegasus.checkpoint.raw import RawTensor, TurnedTensor
from pegasus.errors import CheckpointCorrupt, CheckpointNotFound, NotOffered
from pegasus.hub import WEIGHT_FORMATS
from pegasus.spec.names import FLAX, FLAX_DOTTED, KERAS, PYTORCH
from pegasus.spec.parameters import parameters

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIG = PegasusConfig(**json.loads((GOLDEN / "model-relu.json").read_text())["config"])
LEAVES = parameters(CONFIG, "conditional")
WEIGHTS = load_file(GOLDEN / "model-relu.safetensors")


def spelled(spelling) -> dict[str, np.ndarray]:
    """The golden weights as a framework keeps them."""
    turned = {n: a.T if spelling.turned and LEAVES[n].kind == "kernel" else a for n, a in WEIGHTS.items()}
    return {spelling.spell(LEAVES[n]): np.ascontiguousarray(array) for n, array in turned.items()}


def packed_array(array: np.ndarray) -> object:
    """An array as Flax puts it into msgpack."""
    msgpack = pytest.importorskip("msgpack")
    content = (list(array.shape), array.dtype.name, array.tobytes())
    return msgpack.ExtType(1, msgpack.packb(content, use_bin_type=True))


def tree_of(arrays: dict[str, np.ndarray], cut: str = "") -> dict:
    """Arrays by paths as nested dictionaries; the one named ``cut`` in two pieces."""
    tree: dict = {}
    for name, array in arrays.items():
        *parts, last = name.split("/")
        place = tree
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = packed_array(array)
        if name == cut:
            halves = np.array_split(array.reshape(-1), 2)
            place[last] = {
                "__msgpack_chunked_array__": True,
                "shape": {str(axis): size for axis, size in enumerate(array.shape)},
                "chunks": {str(number): packed_array(half) for number, half in enumerate(halves)},
            }
    return tree


def write_flax(path: Path, arrays: dict[str, np.ndarray], cut: str = "model/shared/embedding") -> None:
    msgpack = pytest.importorskip("msgpack")
    path.write_bytes(msgpack.packb(tree_of(arrays, cut), use_bin_type=True))


def write_keras(path: Path, arrays: dict[str, np.ndarray], **storage: object) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if name.startswith("final"):
                variable = "final_logits_bias/final_logits_bias:0"
            elif name.startswith("model.shared"):
                variable = f"model/{name}:0"
            else:
                variable = f"model/tf_pegasus_for_conditional_generation/{name}:0"
            file.create_dataset(variable, data=array, **storage)


def write(folder: Path, format: str) -> None:
    if format == "safetensors":
        save_file(WEIGHTS, folder / "model.safetensors", metadata={"format": "pt"})
    elif format == "safetensors of Flax":
        save_file(spelled(FLAX_DOTTED), folder / "model.safetensors", metadata={"format": "flax"})
    elif format == "safetensors of Keras":
        save_file(spelled(KERAS), folder / "model.safetensors", metadata={"format": "tf"})
    elif format == "bin":
        import torch

        torch.save({n: torch.from_numpy(a) for n, a in WEIGHTS.items()}, folder / "pytorch_model.bin")
    elif format == "msgpack":
        write_flax(folder / "flax_model.msgpack", spelled(FLAX))
    elif format == "h5":
        write_keras(folder / "tf_model.h5", spelled(KERAS))
    elif format == "compressed h5":
        write_keras(folder / "tf_model.h5", spelled(KERAS), compression="gzip")


KINDS = (
    *("safetensors", "safetensors of Flax", "safetensors of Keras", "bin", "msgpack", "h5"),
    "compressed h5",
)


@pytest.mark.parametrize("format", KINDS)
def test_the_same_weights_come_out(tmp_path, format):
    write(tmp_path, format)
    weights = open_checkpoint(tmp_path)
    assert weights.format == format.split()[0] if format != "compressed h5" else "h5"
    assert set(weights.tensors) == set(WEIGHTS)
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(weights.tensors[name].array(), array, err_msg=name)
        assert weights.tensors[name].nbytes == array.nbytes


@pytest.mark.parametrize("format", ["msgpack", "h5"])
@pytest.mark.parametrize("door", ["from_pretrained", "Summarizer's"])
def test_both_doors_open_it(tmp_path, format, door):
    CONFIG.save_pretrained(tmp_path)
    write(tmp_path, format)
    plain = tmp_path / "plain"
    plain.mkdir()
    CONFIG.save_pretrained(plain)
    write(plain, "safetensors")
    ids = np.array([[5, 9, 7, 1], [8, 3, 1, 0]]) % CONFIG.vocab_size
    if door == "from_pretrained":
        import torch

        models = [pegasus.PegasusForConditionalGeneration.from_pretrained(one) for one in (tmp_path, plain)]
        ids = torch.from_numpy(ids)
    else:
        from pegasus.backends.choose import open_model

        models = [open_model(one, device="cpu", threads=1) for one in (tmp_path, plain)]
    found, expected = (np.asarray(one.generate(ids, num_beams=2, max_length=12)) for one in models)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("format", ["msgpack", "h5"])
def test_in_several_files(tmp_path, format):
    spelling, writer = (FLAX, write_flax) if format == "msgpack" else (KERAS, None)
    arrays = spelled(spelling)
    single = {"msgpack": "flax_model.msgpack", "h5": "tf_model.h5"}[format]
    where = {}
    for number, start in enumerate(("model/encoder", "")):
        mine = {n: a for n, a in arrays.items() if n not in where and n.startswith(start)}
        name = single.replace("model.", f"model-0000{number + 1}-of-00002.")
        if writer is not None:
            writer(tmp_path / name, mine)
        else:  # Keras' pieces name variables by their paths alone
            h5py = pytest.importorskip("h5py")
            with h5py.File(tmp_path / name, "w") as file:
                for variable, array in mine.items():
                    file.create_dataset(f"{variable}:0", data=array)
        where.update(dict.fromkeys(mine, name))
    suffix = "" if format == "msgpack" else ":0"
    index = {"metadata": {}, "weight_map": {n + suffix: name for n, name in where.items()}}
    (tmp_path / f"{single}.index.json").write_text(json.dumps(index))
    weights = open_checkpoint(tmp_path)
    assert len(weights.files) == 2
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(weights.tensors[name].array(), array, err_msg=name)


def test_numbers_of_h5_stay_in_the_file(tmp_path):
    write(tmp_path, "h5")
    bias = open_checkpoint(tmp_path).tensors["model.encoder.layers.0.fc1.bias"]
    assert not bias.data.flags.writeable
    assert not bias.data.flags.owndata


@pytest.mark.parametrize("format", ["msgpack", "h5"])
def test_damaged_files_are_told(tmp_path, format):
    write(tmp_path, format)
    path = next(tmp_path.glob("*_model.*"))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"\x00" * 5000, whole[:100]):
        path.write_bytes(content)
        with pytest.raises(CheckpointCorrupt, match=path.name):
            open_checkpoint(tmp_path)


def test_what_is_no_array_is_refused(tmp_path):
    msgpack = pytest.importorskip("msgpack")
    path = tmp_path / "flax_model.msgpack"
    short = msgpack.ExtType(1, msgpack.packb(([4, 4], "float32", b"1234"), use_bin_type=True))
    for tree, said in (
        ({"step": 7}, "holds a int at 'step'"),
        ([1, 2], "where arrays should be"),
        ({"x": msgpack.ExtType(3, b"")}, "kind 3"),
        ({"x": short}, r"gives an array of shape \[4, 4\]"),
        ({"x": msgpack.ExtType(1, msgpack.packb(([-1], "float32", b"")))}, "describes an array"),
        ({"x": msgpack.ExtType(1, msgpack.packb(([1], "object", b"12345678")))}, "describes an array"),
    ):
        path.write_bytes(msgpack.packb(tree, use_bin_type=True))
        with pytest.raises(CheckpointCorrupt, match=said):
            open_checkpoint(tmp_path)


def test_a_name_that_comes_twice_is_refused(tmp_path):
    arrays = {"a.kernel": np.ones((2, 2), np.float32), "a.scale": np.ones(2, np.float32)}
    save_file(arrays, tmp_path / "model.safetensors", metadata={"format": "flax"})
    with pytest.raises(CheckpointCorrupt, match=r"holds a\.weight twice"):
        open_checkpoint(tmp_path)


def test_safetensors_of_somebody_unknown_are_refused(tmp_path):
    save_file(WEIGHTS, tmp_path / "model.safetensors", metadata={"format": "mlx"})
    with pytest.raises(NotOffered, match="written by 'mlx'"):
        open_checkpoint(tmp_path)


def test_the_first_format_of_the_table_is_taken_and_one_may_be_named(tmp_path):
    for format in ("h5", "msgpack", "bin", "safetensors"):
        write(tmp_path, format)
        assert open_checkpoint(tmp_path).format == format
    for row in FORMATS:
        assert open_checkpoint(tmp_path, [row.name]).format == row.name
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointNotFound, match=r"holds no model\.safetensors \(found: flax_model"):
        open_checkpoint(tmp_path, ["safetensors"])


def test_what_is_read_is_also_fetched():
    fetched = {names[0] for names in WEIGHT_FORMATS}
    assert fetched == {name for row in FORMATS for name in (row.single, row.index)}


# -- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [PYTORCH, FLAX, FLAX_DOTTED, KERAS], ids=lambda one: one.name)
@pytest.mark.parametrize("model", ["bare", "conditional", "causal"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_name_there_and_back(spelling, model, tied):
    config = PegasusConfig(encoder_layers=2, decoder_layers=12, tie_word_embeddings=tied)
    seen = set()
    for leaf in parameters(config, model).values():
        name = spelling.spell(leaf)
        assert spelling.canonical(name) == (leaf.name, spelling.turned and leaf.kind == "kernel"), name
        seen.add(name)
    assert len(seen) == len(parameters(config, model))


TF = "model/tf_pegasus_for_conditional_generation/model"
#: What transformers writes → what it is called here.
WRITTEN = {
    FLAX: {
        "model/encoder/layers/0/self_attn/q_proj/kernel": "model.encoder.layers.0.self_attn.q_proj.weight",
        "model/shared/embedding": "model.shared.weight",
        "model/decoder/layers/11/fc2/bias": "model.decoder.layers.11.fc2.bias",
        "model/decoder/layers/11/final_layer_norm/scale": "model.decoder.layers.11.final_layer_norm.weight",
        "model/decoder/layer_norm/bias": "model.decoder.layer_norm.bias",
        "final_logits_bias": "final_logits_bias",
        "lm_head/kernel": "lm_head.weight",
        "model/some/thing": "model.some.thing",
    },
    KERAS: {
        f"{TF}/encoder/layers.3/fc1/kernel:0": "model.encoder.layers.3.fc1.weight",
        f"{TF}/encoder/embed_positions/embeddings:0": "model.encoder.embed_positions.weight",
        "model/tf_pegasus_model/model/decoder/layer_norm/gamma:0": "model.decoder.layer_norm.weight",
        "model/tf_pegasus_model/model/decoder/layer_norm/beta:0": "model.decoder.layer_norm.bias",
        "model/model.shared/model.shared/embeddings:0": "model.shared.weight",
        "final_logits_bias/final_logits_bias:0": "final_logits_bias",
    },
}


@pytest.mark.parametrize("spelling", [FLAX, KERAS], ids=lambda one: one.name)
def test_names_that_transformers_writes(spelling):
    for name, canonical in WRITTEN[spelling].items():
        assert spelling.canonical(name) == (canonical, "kernel" in name), name


def test_a_turned_matrix_is_that_of_numpy():
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    turned = TurnedTensor(RawTensor.from_array(matrix))
    assert turned.shape == (3, 2)
    np.testing.assert_array_equal(turned.array(), matrix.T)
    halves = TurnedTensor(
        RawTensor(
            "BF16", (2, 3), (matrix.view(np.uint32) >> 16).astype(np.uint16).reshape(-1).view(np.uint8)
        )
    )
    np.testing.assert_array_equal(halves.array(), matrix.T)
