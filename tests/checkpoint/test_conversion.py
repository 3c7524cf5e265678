"""Every format to every other, bit by bit, and what is said where that cannot be."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pegasus import PegasusConfig
from pegasus.checkpoint.authors import Wishes, read_authors_tensorflow
from pegasus.checkpoint.bundle.reading import read_bundle
from pegasus.checkpoint.bundle.writing import add_bundle
from pegasus.checkpoint.conversion import AUTHORS, TARGETS, Conversion, open_source
from pegasus.checkpoint.flax_file import msgpack_parts, read_msgpack
from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.errors import (
    BadSetting,
    CheckpointCorrupt,
    CheckpointMismatch,
    CheckpointNotFound,
    NotOffered,
)
from pegasus.spec.positions import sinusoid_table

GOLDEN = Path(__file__).parents[1] / "golden"
AUTHORS_MODEL = GOLDEN / "authors-model"
HEADS = Wishes(heads=2)
PREFIX = AUTHORS_MODEL / "model.ckpt-7"


@pytest.fixture(scope="module")
def relu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of transformers, with biases in its attentions."""
    folder = tmp_path_factory.mktemp("relu")
    PegasusConfig(**json.loads((GOLDEN / "model-relu.json").read_text())["config"]).save_pretrained(folder)
    shutil.copyfile(GOLDEN / "model-relu.safetensors", folder / "model.safetensors")
    (folder / "generation_config.json").write_text('{"num_beams": 3}')
    return folder


def wishes_of(place: Path) -> Wishes | None:
    return HEADS if any(place.glob("*.index")) else None


def numbers(place: Path) -> dict[str, tuple[str, bytes]]:
    """The bytes of every tensor by canonical name, those that are all zeros left out."""
    tensors = open_source(place, wishes_of(place)).tensors
    return {n: (t.dtype, t.data.tobytes()) for n, t in tensors.items() if t.data.any()}


def convert(source: Path, target: Path, to: str, **how) -> Path:
    Conversion(open_source(source, wishes_of(source)), to, **how).write(target)
    return target


@pytest.mark.parametrize(("one", "other"), [*itertools.product(TARGETS, TARGETS)])
def test_every_pair_there_and_back(tmp_path, one, other):
    first = convert(AUTHORS_MODEL, tmp_path / "first", one)
    second = convert(first, tmp_path / "second", other)
    third = convert(second, tmp_path / "third", one)
    expected = numbers(AUTHORS_MODEL)
    assert len(expected) == 2 * 12 + 3 * 18 + 5
    assert numbers(first) == numbers(second) == numbers(third) == expected
    assert weight_files(first) == weight_files(third)


def weight_files(folder: Path) -> dict[str, bytes]:
    """All but h5, which notes times."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix not in (".json", ".h5")}


@pytest.mark.parametrize("to", [name for name in TARGETS if name not in AUTHORS])
@pytest.mark.parametrize("shard", ["5GB", "5KB"])
def test_biases_and_settings_go_along(tmp_path, relu, to, shard):
    target = convert(relu, tmp_path / "there", to, max_shard_size=shard)
    weights = open_checkpoint(target)
    assert weights.format == to
    assert (len(weights.files) > 2) == (shard == "5KB")
    expected = load_file(relu / "model.safetensors")
    assert set(weights.tensors) == {name for name in expected if "embed_positions" not in name}
    for name, tensor in weights.tensors.items():
        np.testing.assert_array_equal(tensor.array(), expected[name], err_msg=name)
    for name in ("config.json", "generation_config.json"):
        assert (target / name).read_bytes() == (relu / name).read_bytes()


@pytest.mark.parametrize("to", [name for name in TARGETS if name not in AUTHORS])
def test_pytorch_says_the_same_of_every_format(tmp_path, relu, to):
    torch = pytest.importorskip("torch")
    from pegasus import PegasusForConditionalGeneration

    target = convert(relu, tmp_path / "there", to)
    if to == "bin":
        state = torch.load(target / "pytorch_model.bin", weights_only=True, mmap=True)
        assert state["model.shared.weight"].dtype == torch.float32
    ids = torch.tensor([[5, 9, 7, 1]])
    one, other = (PegasusForConditionalGeneration.from_pretrained(place) for place in (relu, target))
    given = {"input_ids": ids, "decoder_input_ids": ids}
    with torch.no_grad():
        assert torch.equal(one(**given).logits, other(**given).logits)


# -- types of numbers ---------------------------------------------


def test_bfloat16_is_rounded_as_pytorch_rounds(tmp_path, relu):
    torch = pytest.importorskip("torch")
    target = convert(relu, tmp_path / "there", "safetensors", dtype="bfloat16")
    for name, tensor in open_checkpoint(target).tensors.items():
        there = torch.from_numpy(load_file(relu / "model.safetensors")[name])
        assert torch.equal(torch.from_numpy(np.array(tensor.array())), there.bfloat16().float()), name
    values = json.loads((target / "config.json").read_text())
    assert values["torch_dtype"] == "bfloat16"
    assert {**values, "torch_dtype": None} == {
        **json.loads((relu / "config.json").read_text()),
        "torch_dtype": None,
    }


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_numbers_in_every_format(tmp_path, to, dtype):
    if (to, dtype) == ("h5", "bfloat16"):
        with pytest.raises(BadSetting, match="HDF5 has no numbers of type BF16"):
            convert(AUTHORS_MODEL, tmp_path / "there", to, dtype=dtype)
        assert not list((tmp_path / "there").iterdir())
        return
    there = convert(AUTHORS_MODEL, tmp_path / "there", to, dtype=dtype)
    expected = convert(AUTHORS_MODEL, tmp_path / "plain", "safetensors", dtype=dtype)
    assert numbers(there) == numbers(expected)
    name = {"float16": "F16", "bfloat16": "BF16", "float64": "F64"}[dtype]
    assert {kind for kind, _ in numbers(there).values()} == {name}


def test_numbers_that_float16_has_not_are_told(tmp_path, relu):
    weights = load_file(relu / "model.safetensors")
    weights["model.encoder.layer_norm.bias"][:2] = 7e4
    shutil.copytree(relu, tmp_path / "large")
    save_file(weights, tmp_path / "large" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        BadSetting, match=r"2 of the 16 numbers of model\.encoder\.layer_norm\.bias are too large"
    ):
        convert(tmp_path / "large", tmp_path / "there", "safetensors", dtype="float16")
    assert not list((tmp_path / "there").iterdir())


def test_rounding_to_bfloat16_keeps_what_is_no_number(tmp_path):
    from pegasus.checkpoint.dtypes import cast

    array = np.array([np.nan, np.inf, -np.inf, 3.4e38, -0.0, 1 + 2**-8, 1 + 3 * 2**-8], np.float32)
    found = cast("x", RawTensor.from_array(array), "BF16").array()
    np.testing.assert_array_equal(
        found, np.array([np.nan, np.inf, -np.inf, np.inf, 0, 1, 1 + 2**-6], np.float32)
    )


# -- the authors ---------------------------------------------


def test_what_is_recorded_of_the_authors_model():
    source = open_source(AUTHORS_MODEL, Wishes(heads=2, max_input=512, max_target=64, length_penalty=0.6))
    config = source.config
    shape = (config.vocab_size, config.d_model, config.encoder_layers, config.decoder_layers)
    assert shape == (40, 16, 2, 3)
    assert (config.encoder_ffn_dim, config.decoder_attention_heads, config.max_position_embeddings) == (
        24,
        2,
        512,
    )
    assert (config.position_table, config.layer_norm_eps, config.decoder_start) == (
        "authors",
        1e-12,
        "zeros",
    )
    settings = json.loads(source.texts["generation_config.json"])
    assert settings["search"] == settings["length_normalization"] == "authors"
    assert (settings["max_length"], settings["length_penalty"], settings["num_beams"]) == (65, 0.6, 8)
    assert len(source.skipped) == 2 * 43 + 40 + 1
    assert "global_step" in source.skipped


def test_as_transformers_it_is_what_their_conversion_gives():
    """Their rule, written out here: every kernel turned, biases of zeros, the row of padding zero."""
    source = open_source(AUTHORS_MODEL, Wishes("transformers", heads=2, max_target=64))
    config = source.config
    assert (config.position_table, config.layer_norm_eps, config.decoder_start) == (
        "transformers",
        1e-5,
        "token",
    )
    assert (config.max_length, config.forced_eos_token_id, config.activation_function) == (64, 1, "relu")
    settings = json.loads(source.texts["generation_config.json"])
    assert "search" not in settings
    variables = {name: tensor.array() for name, tensor in read_bundle(PREFIX).items()}
    for name, tensor in source.tensors.items():
        array = tensor.array()
        if name not in source.names:
            assert name == "final_logits_bias" or name.endswith("_proj.bias"), name
            assert not array.any()
            continue
        expected = np.array(variables[source.names[name]])
        if name == "model.shared.weight":
            assert expected[0].any()
            expected[0] = 0
        elif expected.ndim == 2:
            expected = expected.T
        np.testing.assert_array_equal(array, expected, err_msg=name)


def rewritten(folder: Path, change) -> Path:
    """The golden checkpoint with other variables."""
    tensors = dict(read_bundle(PREFIX))
    change(tensors)
    with Staging(folder) as staging:
        add_bundle(staging, "model.ckpt", tensors)
    return folder


FLOAT = RawTensor.from_array(np.zeros((3, 3), np.float32))
CHANGES = {
    "unknown": (
        lambda v: v.update({"encoder/layer_0/ffn/gate/kernel": FLOAT}),
        "1 unknown: encoder/layer_0/ffn/gate",
    ),
    "missing": (lambda v: v.pop("decoder/LayerNorm/beta"), "1 missing: decoder/LayerNorm/beta"),
    "a layer amid": (
        lambda v: [v.pop(n) for n in list(v) if "decoder/layer_1/" in n],
        "18 unknown.*18 missing",
    ),
    "turned": (
        lambda v: v.update(
            {"decoder/layer_0/ffn/dense/kernel": RawTensor.from_array(np.zeros((24, 16), np.float32))}
        ),
        r"of another shape: decoder/layer_0/ffn/dense/kernel has \[24, 16\] and needs",
    ),
    "whole numbers": (
        lambda v: v.update({"decoder/LayerNorm/beta": RawTensor.from_array(np.zeros(16, np.int32))}),
        "1 no numbers of a model: decoder/LayerNorm/beta is I32",
    ),
    "nothing of it": (lambda v: v.pop("embeddings/weights"), "no embeddings/weights, so it is not"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_every_variable_is_accounted_for(tmp_path, kind):
    change, said = CHANGES[kind]
    with pytest.raises(CheckpointMismatch, match=said):
        open_source(rewritten(tmp_path, change), HEADS)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("pegasus/encoder/layer_0/attention/self/query/kernel", "BigBird-PEGASUS"),
        ("encoder/layer_0/GlobalLocalSelfAttention_0/query/kernel", "PEGASUS-X"),
    ],
)
def test_other_families_are_named(tmp_path, relu, name, family):
    with pytest.raises(NotOffered, match=f"is {family}"):
        open_source(rewritten(tmp_path / "bundle", lambda v: v.update({name: FLOAT})), HEADS)
    state = tmp_path / "checkpoint_5"
    state.write_bytes(b"".join(msgpack_parts({f"params/{name}": FLOAT})))
    with pytest.raises(NotOffered, match=f"is {family}"):
        open_source(state)


@pytest.mark.parametrize(
    ("kind", "family"), [("pegasus_x", "PEGASUS-X"), ("bigbird_pegasus", "BigBird-PEGASUS")]
)
def test_other_families_are_named_by_their_configuration(tmp_path, relu, kind, family):
    shutil.copytree(relu, tmp_path / "other")
    values = json.loads((relu / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**values, "model_type": kind}))
    with pytest.raises(NotOffered, match=f"is {family}"):
        open_source(tmp_path / "other")


def test_heads_are_asked_for_where_they_cannot_be_known():
    with pytest.raises(BadSetting, match=r"width 16 is no multiple of 64.*--heads"):
        open_source(AUTHORS_MODEL)
    with pytest.raises(BadSetting, match="heads is 3, and the width"):
        open_source(AUTHORS_MODEL, Wishes(heads=3))


def test_damage_ends_a_conversion_and_leaves_nothing(tmp_path):
    folder = shutil.copytree(AUTHORS_MODEL, tmp_path / "damaged")
    data = folder / "model.ckpt-7.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 4
    data.write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match="do not have their checksum"):
        convert(folder, tmp_path / "there", "safetensors")
    assert not list((tmp_path / "there").iterdir())


# -- the authors' Flax files ---------------------------------------------


def flax_state(path: Path, prefix: str, **beside: object) -> Path:
    """What their training leaves: parameters by their paths, a step, an optimizer."""
    msgpack = pytest.importorskip("msgpack")
    plain = convert(AUTHORS_MODEL, path.parent / "plain", "flax-checkpoint") / "checkpoint_0"
    tensors = {n.removeprefix("params/"): t for n, t in read_msgpack(plain).items()}
    content = b"".join(msgpack_parts({f"{prefix}{name}": tensor for name, tensor in tensors.items()}))
    tree = msgpack.unpackb(content, strict_map_key=False)
    path.write_bytes(msgpack.packb({**tree, **beside}))
    return path


@pytest.mark.parametrize(
    ("prefix", "beside"),
    [
        ("params/", {"step": 1_800_000, "opt_state": {"0": {"count": 3, "v": None}, "1": {}}}),
        ("params/", {"opt_state0": {"count": 3, "v_row": [1.5]}}),
        ("params/params/", {"step": 3}),
        ("target/", {"state": {"step": 3}}),
    ],
)
def test_their_states_of_training(tmp_path, prefix, beside):
    path = flax_state(tmp_path / "checkpoint_1800000", prefix, **beside)
    source = open_source(path)
    assert source.config.encoder_attention_heads == 2  # their shapes say it
    assert set(source.skipped) == set(beside)
    expected = read_authors_tensorflow(PREFIX, HEADS)
    for name, tensor in source.tensors.items():
        np.testing.assert_array_equal(tensor.array(), expected.tensors[name].array(), err_msg=name)
    assert open_source(tmp_path).place == path  # the only one of the folder


def test_the_shapes_of_flax():
    found = {
        one.name: one.tensor.shape
        for one in Conversion(open_source(AUTHORS_MODEL, HEADS), "flax-checkpoint").tensors()
    }
    block = "decoder/encoderdecoderblock_2"
    assert found[f"{block}/MultiHeadDotProductAttention_0/query/kernel"] == (16, 2, 8)
    assert found[f"{block}/SelfAttention_0/out/kernel"] == (2, 8, 16)
    assert found[f"{block}/LayerNorm_2/scale"] == (16,)
    assert found["encoder/encoderblock_1/MlpBlock_0/Dense_0/kernel"] == (16, 24)
    assert found["encoder/encoderblock_1/LayerNorm_1/bias"] == (16,)
    assert {
        "shared_embedding/embedding",
        "encoder/encoder_norm/scale",
        "decoder/encoderdecoder_norm/bias",
    } < set(found)


def test_wrong_files_of_flax_are_told(tmp_path):
    path = flax_state(tmp_path / "checkpoint_7", "params/", step=3)
    whole = path.read_bytes()
    for content in (whole[:2000], b"\xdd\xff\xff\xff\xff" + b"\0" * 5000, b"\x91" * 5000, whole + b"1"):
        path.write_bytes(content)
        with pytest.raises(CheckpointCorrupt, match="checkpoint_7"):
            open_source(path)


# -- what the authors' code lacks ---------------------------------------------


@pytest.mark.parametrize("to", AUTHORS)
def test_what_the_authors_lack_is_listed(tmp_path, relu, to):
    with pytest.raises(NotOffered, match=r"model\.encoder\.layers\.0\.self_attn\.k_proj\.bias is not zero"):
        convert(relu, tmp_path / "there", to)
    assert not (tmp_path / "there").exists()


def test_what_they_compute_otherwise_is_said(tmp_path):
    as_transformers = tmp_path / "as-transformers"
    Conversion(open_source(AUTHORS_MODEL, Wishes("transformers", heads=2))).write(as_transformers)
    back = Conversion(open_source(as_transformers), "tf-checkpoint")
    assert [line.split()[0] for line in back.warnings()] == [
        "position_table",
        "layer_norm_eps",
        "decoder_start",
    ]
    assert not Conversion(open_source(AUTHORS_MODEL, HEADS), "tf-checkpoint").warnings()


# -- what is there ---------------------------------------------


def test_positions_that_no_formula_gives_are_kept_or_refused(tmp_path, relu):
    folder = shutil.copytree(relu, tmp_path / "own")
    weights = load_file(relu / "model.safetensors")
    config = PegasusConfig.from_pretrained(relu)
    name, shape = "model.encoder.embed_positions.weight", (config.max_position_embeddings, config.d_model)
    for table, kept in ((sinusoid_table(*shape), False), (np.ones(shape, np.float32), True)):
        save_file({**weights, name: table}, folder / "model.safetensors", metadata={"format": "pt"})
        assert (name in open_source(folder).tensors) == kept
    assert name in open_checkpoint(convert(folder, tmp_path / "bin", "bin")).tensors
    with pytest.raises(NotOffered, match="Flax computes positions"):
        convert(folder, tmp_path / "msgpack", "msgpack")


def test_what_does_not_fit_its_configuration_is_no_source(tmp_path, relu):
    folder = shutil.copytree(relu, tmp_path / "odd")
    weights = load_file(relu / "model.safetensors")
    del weights["model.decoder.layer_norm.bias"]
    save_file({**weights, "adapter": np.ones(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointMismatch, match=r"1 missing: model\.decoder\.layer_norm\.bias\. 1 unexpected: adapter"
    ):
        open_source(folder)


def test_where_nothing_or_too_much_is(tmp_path, relu):
    with pytest.raises(CheckpointNotFound, match="There is no checkpoint"):
        open_source(tmp_path / "absent")
    with pytest.raises(CheckpointNotFound, match=r"model\.safetensors is one file of a checkpoint"):
        open_source(relu / "model.safetensors")
    with pytest.raises(BadSetting, match="says itself what it is"):
        open_source(relu, Wishes("transformers"))
    with pytest.raises(BadSetting, match=r"holds weights already \(model\.safetensors\)"):
        convert(relu, relu, "bin")
    for number in (3, 4):
        (tmp_path / f"checkpoint_{number}").write_bytes(b"\x80")
    with pytest.raises(BadSetting, match=r"2 Flax checkpoints: name one, such as .*checkpoint_4"):
        open_source(tmp_path)


def test_a_decoder_alone_goes_along(tmp_path):
    folder = GOLDEN / "generation-causal-model"
    target = convert(folder, tmp_path / "there", "msgpack")
    expected = {n: t.array() for n, t in open_source(folder).tensors.items()}
    found = {n: t.array() for n, t in open_source(target).tensors.items()}
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_the_mapping_in_words():
    lines = list(Conversion(open_source(AUTHORS_MODEL, HEADS)).lines())
    assert "embeddings/weights -> model.shared.weight  F32 [40, 16]" in lines
    name = "decoder/layer_2/memory_attention/output_proj"
    assert f"{name}/kernel -> model.decoder.layers.2.encoder_attn.out_proj.weight  F32 [16, 16]" in lines
    assert "(zeros) -> final_logits_bias  F32 [1, 40]" in lines
    assert "encoder/LayerNorm/beta/Adafactor -> (left out)" in lines
    back = list(Conversion(open_source(AUTHORS_MODEL, HEADS), "tf-checkpoint").lines())
    assert back[0] == "(made) -> global_step  I64 []"


@pytest.mark.parametrize("cut", [1 << 30, 500])
def test_flax_itself_reads_what_is_written(tmp_path, relu, monkeypatch, cut):
    """Large arrays are cut as Flax cuts them, so that each piece fits into a value of msgpack."""
    serialization = pytest.importorskip("flax.serialization")
    monkeypatch.setattr("pegasus.checkpoint.flax_file._CUT_AT", cut)
    target = convert(relu, tmp_path / "there", "msgpack")
    tree = serialization.msgpack_restore((target / "flax_model.msgpack").read_bytes())
    expected = load_file(relu / "model.safetensors")
    np.testing.assert_array_equal(tree["model"]["shared"]["embedding"], expected["model.shared.weight"])
    kernel = tree["model"]["decoder"]["layers"]["2"]["fc2"]["kernel"]
    np.testing.assert_array_equal(kernel, expected["model.decoder.layers.2.fc2.weight"].T)
    assert numbers(target) == numbers(relu)
