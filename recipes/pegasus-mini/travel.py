"""Files on their way to another machine and back: as pieces of at most 15 MB, with the hash of each.

A bundle is one tar archive, compressed or not, that is cut into pieces::

    bundle/part-0/manifest.json   what the pieces and the files are, by SHA-256
    bundle/part-0/00 … 03         four pieces, less than 60 MB together
    bundle/part-1/04 …
"""

from __future__ import annotations

import io
import json
import lzma
import shutil
import tarfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from learn import COMPUTED
from safetensors import safe_open
from safetensors.torch import save_file

from pegasus.errors import CheckpointCorrupt
from pegasus.training.checkpoints import sha256

PIECE = 14_900_000
PIECES = 4
"""Pieces in a part."""
_MANIFEST = Path("part-0", "manifest.json")
# Ids have two bytes, which xz is told; a larger window finds what documents share.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 2, "lp": 1, "pb": 1, "dict_size": 1 << 26}]


def bundle(files: Mapping[str, Path], folder: Path, compress: bool, piece: int = PIECE) -> None:
    """Write files into pieces.

    Args:
        files: by the names that they are to have where they are put together again.
        folder: of the bundle; an older one there is removed.
        compress: weights hardly shrink, and are not worth the time.
        piece: most bytes in a piece.
    """
    if folder.exists():
        shutil.rmtree(folder)
    pieces = _Pieces(folder, piece)
    whole = cast(BinaryIO, io.BufferedWriter(pieces))
    packed = lzma.open(whole, "wb", filters=_FILTERS) if compress else nullcontext(whole)  # noqa: SIM115
    hashes = {}
    with whole, packed as stream, tarfile.open(mode="w|", fileobj=stream) as archive:
        for name, file in sorted(files.items()):
            hashes[name] = sha256(file)
            archive.add(file, name, filter=_anonymous)
    manifest = {"compressed": compress, "pieces": pieces.done, "files": hashes}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def unbundle(folder: Path, into: Path) -> list[str]:
    """Put the files of a bundle together again; none is written before all pieces are found whole.

    Returns:
        the names of the files.

    Raises:
        CheckpointCorrupt: a piece or a file is missing, altered or cut short.
    """
    if not (folder / _MANIFEST).is_file():
        raise CheckpointCorrupt(f"{folder} holds no {_MANIFEST}: give a folder that was packed, whole")
    manifest = json.loads((folder / _MANIFEST).read_text())
    names = [str(piece["file"]) for piece in manifest["pieces"]]
    wrong = [
        name
        for name, piece in zip(names, manifest["pieces"], strict=True)
        if not (folder / name).is_file() or sha256(folder / name) != piece["sha256"]
    ]
    if wrong:
        raise CheckpointCorrupt(f"{folder}: {', '.join(wrong)} missing or altered: bring them again")
    whole = io.BufferedReader(_Joined([folder / name for name in names]))
    packed = lzma.open(whole) if manifest["compressed"] else nullcontext(whole)  # noqa: SIM115
    wanted: dict[str, str] = manifest["files"]
    with whole, packed as stream, tarfile.open(mode="r|", fileobj=stream) as archive:
        for member in archive:
            _extract(archive, member, wanted, into)
    return list(wanted)


def _extract(
    archive: tarfile.TarFile, member: tarfile.TarInfo, wanted: Mapping[str, str], into: Path
) -> None:
    """Write one file beside its place, and put it there when it is what the manifest says."""
    content = archive.extractfile(member)
    if (
        content is None
        or member.name not in wanted
        or not (into / member.name).resolve().is_relative_to(into.resolve())
    ):
        raise CheckpointCorrupt(f"{member.name} is no file of the manifest: make the bundle again")
    target = into / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    with partial.open("wb") as out:
        shutil.copyfileobj(content, out)
    if sha256(partial) != wanted[member.name]:
        raise CheckpointCorrupt(f"{partial} is not what was bundled: bring the bundle again")
    partial.replace(target)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's file of no time, so that equal files give equal bundles."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


class _Pieces(io.RawIOBase):
    """A stream that is written into one file after another."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self.done: list[dict[str, Any]] = []
        self.file: io.BufferedWriter | None = None
        self.room = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        data = memoryview(content).cast("B")
        if self.file is None:
            number = len(self.done)
            name = f"part-{number // PIECES}/{number:02d}"
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.file = (self.folder / name).open("wb")
            self.done.append({"file": name, "bytes": 0, "sha256": ""})
            self.room = self.most
        count = self.file.write(data[: self.room])
        self.room -= count
        if not self.room:
            self._finish()
        return count

    def _finish(self) -> None:
        if self.file is not None:
            self.file.close()
            file = Path(self.file.name)
            self.done[-1] |= {"bytes": file.stat().st_size, "sha256": sha256(file)}
            self.file = None

    def close(self) -> None:
        self._finish()
        super().close()


class _Joined(io.RawIOBase):
    """Files read as one."""

    def __init__(self, files: list[Path]) -> None:
        self.left = list(files)
        self.file: io.BufferedReader | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self.file is None:
                if not self.left:
                    return 0
                self.file = self.left.pop(0).open("rb")
            count = self.file.readinto(buffer)
            if count:
                return count
            self._finish()

    def _finish(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None

    def close(self) -> None:
        self._finish()
        super().close()


def write_half(state: Mapping[str, Any], file: Path) -> None:
    """The weights of a run's state alone, each once and in half precision: what of it travels.

    Raises:
        OverflowError: a weight is too large for float16.
    """
    weights: dict[str, torch.Tensor] = {}
    places = set()
    for name, weight in state["model"].items():
        if weight.data_ptr() in places or name.endswith(COMPUTED):
            continue
        places.add(weight.data_ptr())
        weights[name] = weight.half()
    large = [name for name, weight in weights.items() if not bool(torch.isfinite(weight).all())]
    if large:
        raise OverflowError(f"{', '.join(large)} are beyond float16, which ends at 65,504")
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, file, {"step": str(state["step"])})


def read_half(file: Path) -> dict[str, Any]:
    """What ``write_half`` wrote, as a state that a run goes on from with optimizers that know nothing."""
    with safe_open(file, "pt") as content:
        weights = {name: content.get_tensor(name).float() for name in content.keys()}  # noqa: SIM118
        return {"model": weights, "step": int(content.metadata()["step"])}
