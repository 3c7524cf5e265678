"""TensorFlow's checkpoints: what was written is read, and what is damaged is one error."""

from __future__ import annotations

import random
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from pegasus.checkpoint.bundle.checksum import crc32c, masked
from pegasus.checkpoint.bundle.entry import Entry, Header
from pegasus.checkpoint.bundle.protobuf import bytes_field, varint_field, write_varint
from pegasus.checkpoint.bundle.reading import find_bundle, read_bundle
from pegasus.checkpoint.bundle.table import read_table, write_table
from pegasus.checkpoint.bundle.writing import add_bundle
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointNotFound, NotOffered, PegasusError

GOLDEN = Path(__file__).parents[2] / "golden" / "authors-model"
NAME = "model.ckpt-7"
DATA = f"{NAME}.data-00000-of-00001"
HALVES = RawTensor("BF16", (3,), np.array([1, 0x3F80, 0x7F80], np.uint16).view(np.uint8))
ARRAYS = {
    **{f"a/{t}": np.arange(6).reshape(2, 3).astype(t) for t in ("float64", "float32", "float16", "int64")},
    **{f"b/{t}": np.array([0, 1, 100], t) for t in ("int32", "int16", "int8", "uint8", "uint16", "bool")},
    "global_step": np.array(1_500_000, np.int64),
    "empty": np.zeros((0, 4), np.float32),
}


def copied(folder: Path) -> Path:
    shutil.copytree(GOLDEN, folder, dirs_exist_ok=True)
    return folder / NAME


def read_all(prefix: Path) -> dict[str, bytes]:
    return {name: tensor.data.tobytes() for name, tensor in read_bundle(prefix).items()}


def test_what_is_written_is_read(tmp_path):
    tensors = {name: RawTensor.from_array(array) for name, array in ARRAYS.items()} | {"halves": HALVES}
    with Staging(tmp_path) as staging:
        add_bundle(staging, "model.ckpt", tensors)
    prefix = find_bundle(tmp_path)
    assert prefix == tmp_path / "model.ckpt"
    found = read_bundle(prefix)
    assert list(found) == sorted(tensors)
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert found[name].data.tobytes() == tensor.data.tobytes(), name
        assert found[name].nbytes == tensor.nbytes


def test_a_table_of_many_blocks():
    rows = {f"{number:05d}/" + "x" * 40: bytes([number % 256]) * 60 for number in range(3000)}
    assert read_table(write_table(rows, crc32c()), crc32c()) == rows


def test_numbers_stay_in_the_file():
    tensor = read_bundle(GOLDEN / NAME)["embeddings/weights"]
    assert not tensor.data.flags.owndata
    assert not tensor.data.flags.writeable


def test_several_files_of_numbers(tmp_path):
    crc, one, two = crc32c(), np.arange(3, dtype=np.float32), np.arange(4, dtype=np.float32)
    rows = {"": Header(shards=2).serialized()}
    for shard, array in enumerate((one, two)):
        (tmp_path / f"m.data-{shard:05d}-of-00002").write_bytes(array.tobytes())
        entry = Entry(1, array.shape, shard, 0, array.nbytes, masked(crc(0, array.tobytes())))
        rows[f"v{shard}"] = entry.serialized()
    (tmp_path / "m.index").write_bytes(write_table(rows, crc))
    assert read_all(tmp_path / "m") == {"v0": one.tobytes(), "v1": two.tobytes()}
    (tmp_path / "m.data-00001-of-00002").unlink()
    with pytest.raises(CheckpointNotFound, match=r"1 of the 2 data files .*m\.data-00001-of-00002"):
        read_bundle(tmp_path / "m")


def test_how_one_is_named(tmp_path):
    prefix = copied(tmp_path)
    for place in (prefix, tmp_path / f"{NAME}.index", tmp_path / DATA, tmp_path):
        assert find_bundle(place) == prefix
    for end in (".index", ".data-00000-of-00001"):
        shutil.copyfile(f"{prefix}{end}", tmp_path / f"model.ckpt-9{end}")
    assert find_bundle(tmp_path) == prefix  # the file `checkpoint` says so
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/train/model.ckpt-9"')
    assert find_bundle(tmp_path) == tmp_path / "model.ckpt-9"
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(BadSetting, match=r"2 TensorFlow checkpoints \(model.ckpt-7, model.ckpt-9\)"):
        find_bundle(tmp_path)
    assert find_bundle(tmp_path / "absent") is None


# -- damage ----------------------------------------------------------------------------------------------


def spoiled(content: bytes, generator: random.Random) -> bytes:
    place = generator.randrange(len(content))
    kind = generator.randrange(3)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return (
            content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :]
        )
    return content[:place] + generator.randbytes(8) + content[place + 8 :]


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [f"{NAME}.index", DATA])
def test_each_damage_is_one_error(tmp_path, name, count):
    """Every byte is under a checksum, or in the footer, or it is padding between them."""
    prefix, generator = copied(tmp_path), random.Random(name)
    whole, expected = (GOLDEN / name).read_bytes(), read_all(GOLDEN / NAME)
    before, told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for _ in range(count):
        (tmp_path / name).write_bytes(spoiled(whole, generator))
        try:
            found = read_all(prefix)
        except PegasusError as error:
            told, found = told + (str(tmp_path) in str(error)), expected
        assert found == expected
    assert told >= 0.97 * count  # a flip in the footer's padding changes nothing
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def with_entry(**changes: int | tuple[int, ...] | bool) -> bytes:
    """An index with true checksums that says something else of one variable."""
    rows = read_table((GOLDEN / f"{NAME}.index").read_bytes(), crc32c())
    name = "decoder/LayerNorm/beta"
    entry = Entry.parse(rows[name])
    rows[name] = Entry(**{**entry.__dict__, **changes}).serialized()
    return write_table(rows, crc32c())


HUGE = 2**62
HOSTILE = {
    "a size beyond the file": (with_entry(shape=(1 << 40,), size=1 << 42), "is cut short"),
    "an offset beyond the file": (with_entry(offset=HUGE), "is cut short"),
    "a negative offset": (with_entry(offset=-1), "negative"),
    "a negative axis": (with_entry(shape=(-16, -4), size=256), "negative"),
    "a shape that is no size": (with_entry(shape=(HUGE, 4)), "cannot be F32 of shape"),
    "another variable's bytes": (with_entry(offset=4), "overlaps"),
    "a file that there is not": (with_entry(shard=5), "names file 5 of 1"),
    "other numbers": (with_entry(crc=7), "do not have their checksum"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_entry(tmp_path, kind):
    prefix = copied(tmp_path)
    content, said = HOSTILE[kind]
    (tmp_path / f"{NAME}.index").write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match=said):
        read_all(prefix)


def signed_block(content: bytes) -> bytes:
    crc = crc32c()
    return content + b"\0" + masked(crc(crc(0, content), b"\0")).to_bytes(4, "little")


def table_of(*blocks: bytes, handles: list[tuple[int, int]] | None = None) -> bytes:
    """A table with these blocks of entries, and an index that names them, or ``handles``."""
    out, places = b"", []
    for block in blocks:
        places.append((len(out), len(block)))
        out += signed_block(block)
    index = b""
    for number, (start, size) in enumerate(handles or places):
        value = write_varint(start) + write_varint(size)
        index += bytes([0, 2, len(value)]) + number.to_bytes(2, "big") + value
    index += b"\0" * 4 + (1).to_bytes(4, "little")
    footer = b"\0\0" + write_varint(len(out)) + write_varint(len(index))
    return out + signed_block(index) + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def entries_of(*rows: tuple[int, bytes, bytes]) -> bytes:
    block = b"".join(
        write_varint(s) + write_varint(len(k)) + write_varint(len(v)) + k + v for s, k, v in rows
    )
    return block + b"\0" * 4 + (1).to_bytes(4, "little")


TABLES = {
    "one block a thousand times": (
        table_of(entries_of((0, b"a", b"")), handles=[(0, 12)] * 1000),
        "overlap",
    ),
    "keys that only grow": (
        table_of(entries_of((0, b"k" * 1000, b""), *((1000 + n, b"x", b"") for n in range(30)))),
        "does not fit",
    ),
    "the same key twice": (table_of(entries_of((0, b"a", b""), (1, b"", b""))), "not in order"),
    "more shared than there is": (table_of(entries_of((9, b"a", b""))), "does not fit"),
    "a value beyond the block": (table_of(b"\0\1\x7fa" + b"\0" * 4 + b"\1\0\0\0"), "does not fit"),
    "more restarts than bytes": (table_of(b"\xff" * 8), "cut short"),
    "a block beyond the file": (
        table_of(entries_of((0, b"a", b"")), handles=[(0, HUGE)]),
        "beyond its end",
    ),
    "no header": (table_of(entries_of((0, b"a", b""))), "no header"),
    "a number without end": (table_of(entries_of((0, b"", b"\x08" + b"\xff" * 12))), "64 bits"),
    "a shape of a hundred axes": (
        table_of(
            entries_of((0, b"", varint_field(1, 1)), (0, b"v", bytes_field(2, bytes_field(2, b"") * 100)))
        ),
        "100 axes",
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_hostile_table(tmp_path, kind):
    prefix = copied(tmp_path)
    content, said = TABLES[kind]
    (tmp_path / f"{NAME}.index").write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match=said):
        read_bundle(prefix)


def test_what_is_not_offered_is_named(tmp_path):
    prefix = copied(tmp_path)
    rows = read_table((GOLDEN / f"{NAME}.index").read_bytes(), crc32c())
    cut = {**rows, "cut": rows["global_step"] + bytes_field(7, b"")}
    for content, said in ((cut, "1 variables in slices"), ({**rows, "": varint_field(2, 1)}, "big-endian")):
        (tmp_path / f"{NAME}.index").write_bytes(write_table(content, crc32c()))
        with pytest.raises(NotOffered, match=said):
            read_bundle(prefix)
    packed = bytearray((GOLDEN / f"{NAME}.index").read_bytes())
    packed[:] = table_of(entries_of((0, b"", b"")))
    crc = crc32c()
    content = entries_of((0, b"", b""))
    packed[len(content) : len(content) + 5] = b"\1" + masked(crc(crc(0, content), b"\1")).to_bytes(
        4, "little"
    )
    (tmp_path / f"{NAME}.index").write_bytes(packed)
    with pytest.raises(CheckpointCorrupt, match="compressed"):
        read_bundle(prefix)
