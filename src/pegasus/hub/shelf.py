"""The checkpoints that came with the package."""

from __future__ import annotations

import importlib.resources


def bundled() -> tuple[str, ...]:
    """The names of the checkpoints that came with the package."""
    shelf = importlib.resources.files("pegasus") / "assets"
    if not shelf.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in shelf.iterdir() if (entry / "config.json").is_file()))


def bundled_in_words() -> str:
    """Their names for a message."""
    return ", ".join(bundled()) or "none in this installation"
