"""TensorFlow checkpoints that are not what was saved: flipped bits, files cut short, hostile lengths.

A length that a file states is what a careless reader allocates, seeks to or counts up to. Checksums hide
them from flips, so half of the cases here say something else and have true checksums.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from fuzz.running import Case
from pegasus.checkpoint.bundle.checksum import crc32c, masked
from pegasus.checkpoint.bundle.entry import Entry
from pegasus.checkpoint.bundle.protobuf import bytes_field, fixed32_field, varint_field, write_varint
from pegasus.checkpoint.bundle.reading import find_bundle, read_bundle
from pegasus.checkpoint.bundle.table import read_table, write_table

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "authors-model"
INDEX, DATA = "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"
_FOOTER = 48
#: What a file may say that something is long, far away, or many.
LENGTHS = (
    0,
    1,
    2,
    7,
    64,
    127,
    128,
    1000,
    2**20,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    -1,
    -5,
)


def prepare(folder: Path) -> Path:
    """The small checkpoint that TensorFlow wrote, and what reads it, imported."""
    import pegasus.checkpoint.conversion
    import pegasus.cli.app  # noqa: F401

    return Path(shutil.copytree(GOLDEN, folder / "bundle"))


def case(chance: random.Random, source: Path, place: Path) -> Case:
    """A fresh copy of the checkpoint, changed, and read in some way.

    Args:
        chance: draws all of it.
        source: what ``prepare`` made.
        place: a folder to work in.
    """
    folder = place / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    told = chance.choice(_CHANGES)(chance, folder)
    name, use = chance.choice(_USES)
    return Case(f"{told}; {name}", partial(use, folder))


def _flip(chance: random.Random, folder: Path) -> str:
    path = folder / chance.choice((INDEX, INDEX, DATA, "checkpoint"))
    content = bytearray(path.read_bytes())
    spots = [chance.randrange(len(content)) for _ in range(chance.choice((1, 1, 1, 2, 8, 64)))]
    for spot in spots:
        content[spot] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(content))
    return f"{path.name} has flipped bits at {spots[:4]}"


def _cut(chance: random.Random, folder: Path) -> str:
    path = folder / chance.choice((INDEX, DATA))
    content = path.read_bytes()
    kept = chance.choice(
        (0, 1, 7, 8, _FOOTER - 1, _FOOTER, chance.randrange(len(content)), len(content) - 1)
    )
    end = chance.choice((b"", b"\0" * (len(content) - kept), content[-_FOOTER:]))
    path.write_bytes(content[:kept] + end)
    return f"{path.name} ends after {kept} bytes, then {len(end)} others"


def _footer(chance: random.Random, folder: Path) -> str:
    """Other places of the index block: nothing sums the footer."""
    path = folder / INDEX
    content = path.read_bytes()
    numbers = [chance.choice(LENGTHS) for _ in range(4)]
    handles = b"".join(write_varint(number) for number in numbers)
    path.write_bytes(content[:-_FOOTER] + handles.ljust(_FOOTER - 8, b"\0")[: _FOOTER - 8] + content[-8:])
    return f"the footer says {numbers}"


def _entry(chance: random.Random, folder: Path) -> str:
    """An entry, or the header, that says something else, its checksum true."""
    rows = _rows(folder)
    name = chance.choice(sorted(rows))
    if name == "":
        rows[name] = _header(chance)
        told = f"the header is {rows[name]!r}"
    else:
        entry = Entry.parse(rows[name])
        field = chance.choice(("dtype", "shape", "shape", "shard", "offset", "size", "crc"))
        value = (
            _shape(chance)
            if field == "shape"
            else chance.choice(LENGTHS) & (2**32 - 1 if field == "crc" else -1)
        )
        changed = {field: value}
        if field == "shape" and chance.random() < 0.5:  # such as to agree with it
            changed["size"] = 4 * math.prod(value) % 2**63
        rows[name] = replace(entry, **changed).serialized()
        told = f"{name} has {field} = {value!r:.60}"
    (folder / INDEX).write_bytes(write_table(rows, crc32c()))
    return told


def _header(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(12))
    return varint_field(1, chance.choice(LENGTHS)) + varint_field(2, chance.choice((0, 0, 0, 1, 7)))


def _shape(chance: random.Random) -> tuple[int, ...]:
    return tuple(chance.choice(LENGTHS) for _ in range(chance.choice((0, 1, 2, 3, 9, 300))))


def _fields(chance: random.Random, folder: Path) -> str:
    """The bytes of an entry drawn as fields of any number, kind and length."""
    rows = _rows(folder)
    name = chance.choice(sorted(rows))
    rows[name] = _message(chance, chance.choice((0, 1, 3, 60)))
    (folder / INDEX).write_bytes(write_table(rows, crc32c()))
    return f"{name!r} is {rows[name][:20]!r}"


def _message(chance: random.Random, count: int) -> bytes:
    made = b""
    for _ in range(count):
        number = chance.choice((1, 2, 3, 4, 5, 6, 7, 15, 16, 1 << 20))
        made += chance.choice(
            (
                varint_field(number, chance.choice(LENGTHS)),
                fixed32_field(number, chance.getrandbits(32)),
                bytes_field(number, chance.randbytes(chance.randrange(20))),
                bytes_field(2, _message(chance, 1) if count > 1 else b""),
                write_varint(number << 3 | 2)
                + write_varint(chance.choice(LENGTHS)),  # of what is not there
                write_varint(number << 3 | chance.randrange(8)) + chance.randbytes(4),
            )
        )
    return made


def _block(chance: random.Random, folder: Path) -> str:
    """A table whose blocks say of keys, values and each other what is not so, their checksums true."""
    rows = b""
    for _ in range(chance.choice((1, 2, 50))):
        shared, fresh, size = (chance.choice((0, 0, 1, 4, 1000, *LENGTHS)) for _ in range(3))
        rows += write_varint(shared) + write_varint(fresh) + write_varint(size)
        rows += chance.randbytes(min(max(fresh, 0), 40)) + chance.randbytes(min(max(size, 0), 40))
    restarts = chance.choice((0, 1, 2, 1 << 20, (1 << 32) - 1))
    block = _summed(rows + b"\0" * 4 + restarts.to_bytes(4, "little"))
    handles = [
        chance.choice([(0, len(block) - 5)] * 6 + [(chance.choice(LENGTHS), chance.choice(LENGTHS))])
        for _ in range(chance.choice((1, 1, 2, 1000)))
    ]
    index = b""
    for number, (start, size) in enumerate(handles):
        value = write_varint(start) + write_varint(size)
        index += bytes([0, 2, len(value)]) + number.to_bytes(2, "big") + value
    index = _summed(index + b"\0" * 4 + (1).to_bytes(4, "little"))
    footer = b"\0\0" + write_varint(len(block)) + write_varint(len(index) - 5)
    magic = (folder / INDEX).read_bytes()[-8:]
    (folder / INDEX).write_bytes(block + index + footer.ljust(_FOOTER - 8, b"\0") + magic)
    return f"a block of {len(block)} bytes with {restarts} restarts, named {len(handles)} times"


def _summed(content: bytes) -> bytes:
    crc = crc32c()
    return content + b"\0" + masked(crc(crc(0, content), b"\0")).to_bytes(4, "little")


def _names(chance: random.Random, folder: Path) -> str:
    """Variables that are called otherwise, are missing, or are there twice under names alike."""
    rows = _rows(folder)
    name = chance.choice(sorted(set(rows) - {""}))
    other = chance.choice(
        (
            name + "x",
            "x" * 1000,
            name.upper(),
            "encoder/layer_999999999999/ffn/dense/bias",
            "../" * 30,
            "\x1b[2J",
            "décodeur",
            "global_step/1",
        )
    )
    entry = rows.pop(name)
    if chance.random() < 0.7:
        rows[other] = entry
    if chance.random() < 0.3:
        rows[name] = entry
    (folder / INDEX).write_bytes(write_table(rows, crc32c()))
    return f"{name} is called {other!r:.60}"


def _rows(folder: Path) -> dict[str, bytes]:
    return read_table((folder / INDEX).read_bytes(), crc32c())


_CHANGES: tuple[Callable[[random.Random, Path], str], ...] = (
    *(_flip, _flip, _flip, _cut, _cut, _footer, _entry, _entry, _entry, _fields, _block, _block, _names),
)


def _read(folder: Path) -> None:
    found = find_bundle(folder)
    if found is not None:
        for tensor in read_bundle(found).values():
            tensor.data.tobytes()


def _convert(folder: Path, *options: str) -> int:
    from pegasus.cli.app import main

    target = folder.parent / "converted"
    shutil.rmtree(target, ignore_errors=True)
    return main(["convert", str(folder), str(target), "--heads", "2", *options])


def _map(folder: Path) -> int:
    return _convert(folder, "--dry-run")


_USES: tuple[tuple[str, Callable[[Path], int | None]], ...] = (
    ("read", _read),
    ("convert", _convert),
    ("convert --dry-run", _map),
)
