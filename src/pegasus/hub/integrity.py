"""Whether the bytes in the cache are those that the hub lists; each file is read for it once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pegasus.errors import CheckpointCorrupt

logger = logging.getLogger(__name__)

#: Files of a commit and what each must hash to: 64 hexadecimal digits are the sha256 of its bytes, 40 are
#: git's sha1 of the blob, "" is not known.
Listing = Mapping[str, str]

_OUR_NOTES = ".pegasus"  # beside huggingface_hub's own folders of one repository's cache

def verify(repo: str, snapshot: Path, names: Iterable[str], *, remove: bool) -> None:
    """Compares each file with its hash, once: a note beside the cache spares the next load the reading."""
    listing = recall_listing(snapshot) or {}
    for name in names:
        path = snapshot / name
        digest = listing[name].digest if name in listing else ""
        digest = digest or _digest_in_link(path)
        if not digest or _noted(snapshot, path, digest):
            continue
        if _hash(path, digest) == digest:
            _note(snapshot, path, digest)
            continue
        size = path.stat().st_size
        if remove:  # so that the next try fetches it afresh
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        raise CheckpointCorrupt(
            f"{name} of {repo!r} is damaged: its {size:,} bytes do not have the hash {digest[:12]}… that the hub "
            f"states. "
            + (
                "It was removed from the cache: load again to fetch it anew."
                if remove
                else "Load with force_download=True."
            )
        )


def _hash(path: Path, digest: str) -> str:
    with path.open("rb") as file:
        if len(digest) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _digest_in_link(path: Path) -> str:
    """huggingface_hub names a blob by its hash and links the file's name to it."""
    name = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
    return name if len(name) in (40, 64) and is_hexadecimal(name) else ""


def _notes(snapshot: Path) -> Path:
    return snapshot.parent.parent / _OUR_NOTES


def _state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _noted(snapshot: Path, path: Path, digest: str) -> bool:
    note = _notes(snapshot) / f"verified-{digest}"
    return note.is_file() and note.read_text() == _state(path)


def _note(snapshot: Path, path: Path, digest: str) -> None:
    _write_quietly(_notes(snapshot) / f"verified-{digest}", _state(path))


def remember_listing(snapshot: Path, listing: Mapping[str, Listed]) -> None:
    content = json.dumps({name: file.digest for name, file in listing.items()})
    _write_quietly(_notes(snapshot) / f"listing-{snapshot.name}.json", content)


def recall_listing(snapshot: Path) -> dict[str, Listed] | None:
    note = _notes(snapshot) / f"listing-{snapshot.name}.json"
    try:
        return {str(name): Listed(str(digest)) for name, digest in json.loads(note.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return None


def _write_quietly(path: Path, content: str) -> None:
    """A note is a convenience: a cache that cannot be written to is read all the same."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        draft.write_text(content)
        draft.replace(path)
    except OSError as problem:
        logger.debug("no note written beside the cache: %s", problem)


def is_hexadecimal(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)
