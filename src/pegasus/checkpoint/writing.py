"""Writing a checkpoint so that no moment of it leaves a folder that loads and is wrong.

Everything is written under names that no reader looks for, and pushed to the disk. Only when all of it is
there do the files get their names, one rename each: weights first, what points to them last.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from pegasus.checkpoint.files import INDEX, SINGLE, with_variant
from pegasus.checkpoint.raw import ITEM_SIZES, RawTensor
from pegasus.errors import BadSetting

_UNITS = {
    "": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
#: Names of weights that a save replaces: of one variant, pickles too, since stale ones must not load.
_WEIGHTS = r"model{0}(-\d{{5}}-of-\d{{5}})?\.safetensors|model\.safetensors\.index{0}\.json"
_PICKLES = r"pytorch_model{0}(-\d{{5}}-of-\d{{5}})?\.bin|pytorch_model\.bin\.index{0}\.json"


class Staging:
    """Files of one folder that appear together: written aside, then renamed.

    Used as a context: what is added inside appears when the block ends well and never when it does not.
    """

    def __init__(self, folder: Path, variant: str | None = None, pickled: bool = False) -> None:
        self.folder, self.variant = folder, variant
        mark = "" if variant is None else re.escape(f".{variant}")
        # Loaders look for safetensors first: beside a new pickle old ones would win.
        names = [_WEIGHTS, *([_PICKLES] if pickled else [])]
        self._replaced = re.compile("|".join(name.format(mark) for name in names))
        self._index = with_variant("pytorch_model.bin.index.json" if pickled else INDEX, variant)
        self._drafts: list[tuple[Path, Path]] = []

    @property
    def names(self) -> set[str]:
        """The files that were added so far."""
        return {final.name for _, final in self._drafts}

    def __enter__(self) -> Staging:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            for draft, _ in self._drafts:
                draft.unlink(missing_ok=True)

    def add_text(self, name: str, text: str) -> None:
        """Adds a text file; the order of adding is the order of appearing."""
        self.add_bytes(name, text.encode("utf-8"))

    def add_bytes(self, name: str, content: bytes) -> None:
        """Adds a file as it is."""
        self.add_parts(name, [content])

    def add_parts(self, name: str, parts: Iterable[bytes | memoryview]) -> None:
        """Adds a file of parts, each of which is asked for when the one before is written."""
        with self._open(name) as file:
            _finish(file, parts)

    def add_tensors(
        self,
        name: str,
        tensors: Mapping[str, RawTensor],
        metadata: Mapping[str, str],
        alignment: int = 8,
    ) -> None:
        """Adds a safetensors file.

        Args:
            name: of the file.
            tensors: by name.
            metadata: what stands beside them.
            alignment: a multiple of 8; tensors of so many bytes, or a multiple, start at a multiple of it.
        """

        def rank(key: str) -> tuple[bool, int, str]:
            # wide numbers first, so that each tensor starts at a multiple of its own width
            even = alignment == 8 or tensors[key].nbytes % alignment == 0
            return not even, -ITEM_SIZES[tensors[key].dtype], key

        order = sorted(tensors, key=rank)
        header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
        end = 0
        for key in order:
            tensor = tensors[key]
            start, end = end, end + tensor.nbytes
            header[key] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode("utf-8")
        text += b" " * (-(8 + len(text)) % alignment)
        head = [len(text).to_bytes(8, "little"), text]
        self.add_parts(name, itertools.chain(head, numbers_of(tensors[key] for key in order)))

    def add_written(self, name: str, write: Callable[[Path], None]) -> None:
        """Adds a file that somebody else's library writes."""
        self._open(name).close()
        draft = self._drafts[-1][0]
        write(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())

    def _open(self, name: str) -> IO[bytes]:
        # os.open with 0o666, and not a temporary file of 0o600, so that the umask decides who may read
        draft = self.folder / f".{name}.{os.getpid()}.partial"
        self._drafts.append((draft, self.folder / name))
        return os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), "wb")

    def _publish(self) -> None:
        names = self.names
        shards = {name for name in names if self._replaced.fullmatch(name)} - {self._index}
        if self._index in names and any((self.folder / name).exists() for name in shards):
            # The old index fits files of the same names: without it nothing half new can load.
            (self.folder / self._index).unlink(missing_ok=True)
        for draft, final in self._drafts:
            draft.replace(final)
        if shards:
            for path in self.folder.iterdir():
                if self._replaced.fullmatch(path.name) and path.name not in names:
                    path.unlink()
        sync_folder(self.folder)


class Sized(Protocol):
    """Whatever takes so many bytes of a file."""

    @property
    def nbytes(self) -> int:
        """How many."""
        ...


def shard_names(
    tensors: Mapping[str, Sized], max_shard_size: int | str, single: str = SINGLE
) -> tuple[list[tuple[str, list[str]]], int]:
    """How tensors are spread over files: file name → tensor names, in order, and the bytes of all.

    A tensor that alone is larger than a shard gets a file of its own. ``single`` is the name where one file
    will do.
    """
    limit = size_in_bytes(max_shard_size)
    groups: list[list[str]] = [[]]
    filled = total = 0
    for name, tensor in tensors.items():
        if groups[-1] and filled + tensor.nbytes > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += tensor.nbytes
        total += tensor.nbytes
    if len(groups) == 1:
        return [(single, groups[0])], total
    count, (stem, _, suffix) = len(groups), single.rpartition(".")
    return [(f"{stem}-{i:05d}-of-{count:05d}.{suffix}", group) for i, group in enumerate(groups, 1)], total


def index_of(shards: Sequence[tuple[str, list[str]]], total: int) -> str:
    """The text of the file that lists the shards of a checkpoint."""
    places = {name: file_name for file_name, names in shards for name in names}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    return json.dumps(index, indent=2) + "\n"


def write_checkpoint(
    folder: Path,
    arrays: Iterable[tuple[str, RawTensor]],
    texts: Sequence[tuple[str, str]] = (),
    max_shard_size: int | str = "5GB",
    variant: str | None = None,
) -> None:
    """Writes weights as safetensors and text files beside them; all appear or none does.

    Args:
        folder: made when it does not exist. Weight files of an earlier save that the new one does not
            replace are removed after it has succeeded.
        arrays: names and tensors.
        texts: file names and contents, in the order in which they appear, after the weights.
        max_shard_size: bytes, or text such as "5GB" or "200MB".
        variant: put into the names of the weight files before their ending.
    """
    tensors = dict(arrays)
    shards, total = shard_names(tensors, max_shard_size, with_variant(SINGLE, variant))
    with Staging(folder, variant) as staging:
        for file_name, names in shards:
            staging.add_tensors(file_name, {name: tensors[name] for name in names}, {"format": "pt"})
        for file_name, text in texts:
            staging.add_text(file_name, text)
        if len(shards) > 1:
            staging.add_text(with_variant(INDEX, variant), index_of(shards, total))


def size_in_bytes(size: int | str) -> int:
    """The number of bytes that "5GB", "200MB", "1GiB" or a plain number means.

    Raises:
        BadSetting: no such size, or none above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    if match is None or match[2].upper() not in _UNITS or not float(match[1]):
        raise BadSetting(
            f"max_shard_size is {size!r}: give bytes as a number, or text such as '5GB' or '200MB'."
        )
    return int(float(match[1]) * _UNITS[match[2].upper()])


def numbers_of(tensors: Iterable[RawTensor]) -> Iterator[memoryview]:
    """The bytes of one tensor after another, whose memory is given back before the next is looked at."""
    for tensor in tensors:
        yield tensor.data.data
        tensor.release()


def _finish(file: IO[bytes], parts: Iterable[bytes | memoryview]) -> None:
    for part in parts:
        file.write(part)
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """A rename is on the disk only when its folder is; some file systems cannot be asked."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
