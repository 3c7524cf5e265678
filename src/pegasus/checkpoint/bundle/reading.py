"""Opening a TensorFlow checkpoint: variables by name, mapped, and compared with their checksums."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pegasus.checkpoint.bundle.checksum import Crc32c, crc32c, masked
from pegasus.checkpoint.bundle.entry import Entry, Header
from pegasus.checkpoint.bundle.protobuf import Malformed
from pegasus.checkpoint.bundle.table import read_table
from pegasus.checkpoint.raw import Bytes, MappedFile, RawTensor
from pegasus.errors import BadSetting, CheckpointCorrupt, CheckpointNotFound, NotOffered

_INDEX = ".index"
_FILE_END = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_STATE = re.compile(r'^model_checkpoint_path:\s*"([^"]*)"', re.MULTILINE)
_STATE_LIMIT = 1 << 20
_INDEX_LIMIT = 1 << 26  # bytes; that of PEGASUS large has 100 KB
_PIECE = 1 << 24  # bytes that are summed at a time


class StoredTensor(RawTensor):
    """A variable, whose bytes are compared with their checksum when they are first looked at.

    Args:
        name: as the checkpoint calls it.
        entry: what the index says of it.
        mapped: the file it lies in.
        crc: how sums are made.
    """

    def __init__(self, name: str, entry: Entry, mapped: MappedFile, crc: Crc32c) -> None:
        view = mapped.bytes[entry.offset : entry.offset + entry.size]
        for field, value in (
            ("dtype", entry.name or f"TensorFlow's type {entry.dtype}"),
            ("shape", entry.shape),
            ("_home", mapped),
            ("_name", name),
            ("_entry", entry),
            ("_view", view),
            ("_crc", crc),
        ):
            object.__setattr__(self, field, value)

    @property
    def data(self) -> Bytes:  # type: ignore[override]
        """The bytes.

        Raises:
            CheckpointCorrupt: they do not have their checksum.
        """
        entry, crc = self.__dict__["_entry"], self.__dict__["_crc"]
        view: Bytes = self.__dict__["_view"]
        if crc is not None:
            found = 0
            for start in range(0, view.nbytes, _PIECE):
                found = crc(found, view[start : start + _PIECE])
            if masked(found) != entry.crc:
                raise CheckpointCorrupt(
                    f"{self._home.path} is damaged: the numbers of {self.__dict__['_name']} do not have "  # type: ignore[union-attr]
                    "their checksum. Fetch it again."
                )
            object.__setattr__(self, "_crc", None)
        return view

    @property
    def nbytes(self) -> int:
        """How many bytes it is, without reading them."""
        size: int = self.__dict__["_entry"].size
        return size

    def release(self) -> None:
        """Gives the mapped memory back."""
        self.__dict__["_home"].release(self.__dict__["_view"])


def find_bundle(place: Path) -> Path | None:
    """The prefix of the checkpoint that a path means; None where there is none.

    Args:
        place: a prefix such as ``model.ckpt-30000``, one of its files, or a folder: then the one that
            its file ``checkpoint`` names, or the only one that is there.

    Raises:
        BadSetting: the folder holds several and does not say which is meant.
    """
    if place.is_file() and (end := _FILE_END.search(place.name)):
        return place.with_name(place.name[: end.start()])
    if place.with_name(place.name + _INDEX).is_file():
        return place
    if not place.is_dir():
        return None
    names = [path.name for path in place.iterdir()]
    found = sorted(
        path
        for path in place.glob(f"*{_INDEX}")
        if any(name.startswith(f"{path.stem}.data-") for name in names)
    )
    named = _named(place / "checkpoint")
    chosen = [path for path in found if path.stem == named] or found
    if len(chosen) > 1:
        raise BadSetting(
            f"{place} holds {len(chosen)} TensorFlow checkpoints "
            f"({', '.join(path.stem for path in chosen[:6])}): name one, "
            f"such as {chosen[-1].with_suffix('')}."
        )
    return chosen[0].with_name(chosen[0].stem) if chosen else None


def _named(state: Path) -> str | None:
    """Which checkpoint the file ``checkpoint`` says is the newest: a path, of which the end counts."""
    if not state.is_file() or state.stat().st_size > _STATE_LIMIT:
        return None
    found = _STATE.search(state.read_text(encoding="utf-8", errors="replace"))
    return Path(found[1]).name if found else None


def read_bundle(prefix: Path) -> dict[str, RawTensor]:
    """Every variable of a checkpoint by its name, of whatever kind; numbers stay in the files.

    Args:
        prefix: as ``find_bundle`` gives it.

    Raises:
        CheckpointNotFound: a file is missing.
        CheckpointCorrupt: a file is cut short or damaged.
        NotOffered: variables are cut into slices, or numbers lie highest byte first.
        BackendMissing: the package that makes checksums is not installed.
    """
    crc, index = crc32c(), prefix.with_name(prefix.name + _INDEX)
    mapped = MappedFile(index)
    if mapped.bytes.nbytes > _INDEX_LIMIT:
        raise CheckpointCorrupt(f"{index} has {mapped.bytes.nbytes:,} bytes: that is no index of a model.")
    try:
        rows = read_table(mapped.bytes.tobytes(), crc)
        if "" not in rows:
            raise Malformed("it has no header")
        header = Header.parse(rows.pop(""))
        entries = {name: Entry.parse(data) for name, data in rows.items()}
    except Malformed as problem:
        raise CheckpointCorrupt(
            f"{index} cannot be read as the index of a TensorFlow checkpoint: {problem}. Fetch it again."
        ) from problem
    _refuse(prefix, header, entries)
    files = _files(prefix, header.shards, entries)
    # A variable of no numbers lies nowhere: any file will do.
    return {n: StoredTensor(n, entry, files.get(entry.shard, mapped), crc) for n, entry in entries.items()}


def _refuse(prefix: Path, header: Header, entries: Mapping[str, Entry]) -> None:
    if header.big_endian:
        raise NotOffered(f"{prefix} was written on a big-endian machine: save it again on a usual one.")
    cut = [name for name, entry in entries.items() if entry.cut]
    if cut:
        raise NotOffered(
            f"{prefix} keeps {len(cut)} variables in slices ({', '.join(map(repr, cut[:3]))}): load it "
            "with TensorFlow and save it without a partitioner."
        )


def _files(prefix: Path, shards: int, entries: Mapping[str, Entry]) -> dict[int, MappedFile]:
    """The files of data, which the variables must fill without overlapping."""
    wanted = sorted({entry.shard for entry in entries.values() if entry.size})
    if wanted and wanted[-1] >= shards:
        raise CheckpointCorrupt(f"{prefix}{_INDEX} names file {wanted[-1]} of {shards}: fetch it again.")
    names = {n: prefix.with_name(f"{prefix.name}.data-{n:05d}-of-{shards:05d}") for n in wanted}
    missing = [path.name for path in names.values() if not path.is_file()]
    if missing:
        raise CheckpointNotFound(
            f"{len(missing)} of the {len(names)} data files of {prefix} are missing "
            f"({', '.join(missing[:6])}): fetch the whole checkpoint."
        )
    files = {number: MappedFile(path) for number, path in names.items()}
    ends = dict.fromkeys(files, 0)
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].shard, item[1].offset)):
        if not entry.size:
            continue
        path, there = files[entry.shard].path, files[entry.shard].bytes.nbytes
        if entry.offset < ends[entry.shard]:
            raise CheckpointCorrupt(f"{path}: {name} overlaps what lies before it. Fetch it again.")
        ends[entry.shard] = entry.offset + entry.size
        if ends[entry.shard] > there:
            raise CheckpointCorrupt(
                f"{path} is cut short: {name} ends at byte {ends[entry.shard]:,} and {there:,} are there. "
                "Fetch it again."
            )
    return files
