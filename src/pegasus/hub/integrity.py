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
    """Compares files with their hashes, once: a note beside the cache spares the next load the reading.

    Args:
        repo: for messages.
        snapshot: a folder of huggingface_hub's cache.
        names: files in it.
        remove: whether a damaged file leaves the cache, so that the next try fetches it.

    Raises:
        CheckpointCorrupt: the first file that has other bytes than the hub lists.
    """
    listing = recall_listing(storage_of(snapshot), snapshot.name) or {}
    for name in names:
        path = snapshot / name
        digest = listing.get(name) or _digest_in_link(path)
        if not digest or _noted(snapshot, path, digest):
            continue
        if _hash(path, digest) == digest:
            _write_quietly(_note(snapshot, digest), _state(path))
            continue
        size = path.stat().st_size
        if remove:
            _unlink_with_blob(path)
        advice = "It was removed from the cache: load again" if remove else "Load with force_download=True"
        raise CheckpointCorrupt(
            f"{name} of {repo!r} is damaged: its {size:,} bytes do not have the hash {digest[:12]}… that "
            "the "
            f"hub states. {advice} to fetch it anew."
        )


def storage_of(snapshot: Path) -> Path:
    """The folder of one repository in the cache, two above a snapshot of it."""
    return snapshot.parent.parent


def remember_listing(storage: Path, commit: str, listing: Listing) -> None:
    """Keeps what a commit holds: it never changes, so nobody need ask again, or can offline."""
    _write_quietly(_listing_note(storage, commit), json.dumps(dict(listing)))


def recall_listing(storage: Path, commit: str) -> dict[str, str] | None:
    """What ``remember_listing`` kept of a commit, or None."""
    try:
        content = json.loads(_listing_note(storage, commit).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in content.items()}
    except (OSError, ValueError, AttributeError):
        return None


def is_hexadecimal(text: str) -> bool:
    """Whether these are the digits of a hash or a commit."""
    return all(character in "0123456789abcdef" for character in text)


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


def _unlink_with_blob(path: Path) -> None:
    """A name in a snapshot is a link to a blob, which may be a link to a store of all repositories."""
    while path.is_symlink():
        target = path.parent / os.readlink(path)
        path.unlink()
        path = target
    path.unlink(missing_ok=True)


def _listing_note(storage: Path, commit: str) -> Path:
    return storage / _OUR_NOTES / f"listing-{commit}.json"


def _note(snapshot: Path, digest: str) -> Path:
    return storage_of(snapshot) / _OUR_NOTES / f"verified-{digest}"


def _noted(snapshot: Path, path: Path, digest: str) -> bool:
    note = _note(snapshot, digest)
    return note.is_file() and note.read_text(encoding="utf-8") == _state(path)


def _state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _write_quietly(path: Path, content: str) -> None:
    """A note is a convenience: a cache that cannot be written to is read all the same."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    except OSError as problem:
        logger.debug("no note written beside the cache: %s", problem)
