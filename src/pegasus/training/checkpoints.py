"""The folders a run can go on from: written aside, sealed with checksums, renamed into place when whole.

A folder without a manifest does not exist for a reader. One whose bytes are not those of its manifest is
damaged: the one before it is taken, with a warning.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pegasus.backends.contract.learning import Engine, Ranks
from pegasus.checkpoint.writing import sync_folder
from pegasus.errors import CheckpointCorrupt

log = logging.getLogger(__name__)

MANIFEST, STATE = "manifest.json", "state.json"
FORMAT = 1
_STEP = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole.

    Attributes:
        step: updates done when it was written.
        folder: where it is.
        state: what the loop remembered.
    """

    step: int
    folder: Path
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, shared by its processes, which all see the same file system.

    Args:
        folder: holds one folder a checkpoint.
        ranks: the processes; the first one writes what belongs to all.
        keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, ranks: Ranks, keep: int = 2) -> None:
        self.folder, self.ranks, self.keep = folder, ranks, keep

    def save(self, step: int, engine: Engine, state: dict[str, Any]) -> Path:
        """Write a checkpoint; all processes call it. No moment leaves a half one that a reader takes.

        Args:
            step: updates done.
            engine: is asked for weights, optimizer and random state.
            state: what the loop must remember, as JSON can hold it.
        """
        place = self.folder / f"step-{step:08d}"
        draft = self.folder / f".{place.name}.partial"
        if self.ranks.rank == 0:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        self.ranks.wait()
        engine.save(draft)
        self.ranks.wait()
        if self.ranks.rank == 0:
            _write_synced(draft / STATE, json.dumps(state, indent=1))
            seal(draft, {"step": step, "processes": self.ranks.count})
            # The same step again (a run that was resumed with a damaged newest checkpoint): replace it.
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
            sync_folder(self.folder)
            self._prune()
        self.ranks.wait()
        return place

    def latest(self) -> Found | None:
        """The newest whole checkpoint; all processes call it and get the same answer."""
        step = -1
        if self.ranks.rank == 0:
            step = next((number for number, folder in self._newest_first() if _is_whole(folder)), -1)
        step = round(self.ranks.total([step if self.ranks.rank == 0 else 0])[0])
        if step < 0:
            return None
        folder = self.folder / f"step-{step:08d}"
        return Found(step, folder, json.loads((folder / STATE).read_text(encoding="utf-8")))

    def _newest_first(self) -> Iterator[tuple[int, Path]]:
        found = []
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                match = _STEP.fullmatch(path.name)
                if match is not None and path.is_dir():
                    found.append((int(match[1]), path))
        yield from sorted(found, reverse=True)

    def _prune(self) -> None:
        for _, folder in list(self._newest_first())[self.keep :]:
            shutil.rmtree(folder, ignore_errors=True)
        for draft in self.folder.glob(".step-*.partial"):
            shutil.rmtree(draft, ignore_errors=True)


def seal(folder: Path, notes: dict[str, Any]) -> None:
    """Write the manifest: the size and sha256 of every file, and of the manifest itself."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    _write_synced(folder / MANIFEST, _manifest_text({"format": FORMAT, **notes, "files": files}))
    sync_folder(folder)


def verify(folder: Path) -> dict[str, Any]:
    """Compare every byte of a sealed folder with its manifest, and return the manifest.

    Raises:
        CheckpointCorrupt: says which file differs, and how.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        content: dict[str, Any] = json.loads(text)
        content.pop("sha256")
        files = dict(content["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise CheckpointCorrupt(f"{folder / MANIFEST} cannot be read ({problem})") from None
    if text != _manifest_text(content):
        raise CheckpointCorrupt(f"{folder / MANIFEST} is not what was written: its own checksum differs")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointCorrupt(f"{path} is missing")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise CheckpointCorrupt(f"{path} has {size:,} bytes; {expected['bytes']:,} were written")
        if sha256(path) != expected["sha256"]:
            raise CheckpointCorrupt(f"{path} is damaged: its sha256 is not that of its manifest")
    return content


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_folder(draft: Path, place: Path) -> None:
    """Put a finished folder in the place of an older one of that name.

    A folder cannot be replaced in one move: the older one steps aside first, and comes back (see
    ``recover_folder``) if the machine stops between the two moves.
    """
    aside = place.with_name(f".{place.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if place.exists():
        place.rename(aside)
    draft.rename(place)
    sync_folder(place.parent)
    shutil.rmtree(aside, ignore_errors=True)


def recover_folder(place: Path) -> None:
    """Bring the older folder back where ``replace_folder`` was cut short."""
    aside = place.with_name(f".{place.name}.old")
    if aside.is_dir() and not place.exists():
        aside.rename(place)


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except CheckpointCorrupt as problem:
        log.warning("%s; the checkpoint before it is used", problem)
        return False
    return True


def _manifest_text(content: dict[str, Any]) -> str:
    plain = json.dumps(content, sort_keys=True)
    own = hashlib.sha256(plain.encode("utf-8")).hexdigest()
    return json.dumps({**content, "sha256": own}, indent=1, sort_keys=True)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
