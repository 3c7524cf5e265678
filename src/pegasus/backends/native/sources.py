"""The digest of the library's sources: which state of them a library was compiled from.

``hatch_build.py`` reads this file by its path, before the package can be imported: nothing of it is
imported here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def sources_digest(csrc: Path) -> str:
    """SHA-256 over every source and header below a folder, names and contents; not over their times."""
    found = hashlib.sha256()
    for path in sorted(source_files(csrc)):
        content = path.read_bytes()
        found.update(f"{path.relative_to(csrc).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def source_files(csrc: Path) -> list[Path]:
    """The sources and headers below a folder."""
    return [path for path in csrc.rglob("*") if path.suffix in (".cpp", ".h")]
