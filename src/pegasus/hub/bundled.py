"""The checkpoints that came with the package."""

from __future__ import annotations

import importlib.resources


def bundled() -> tuple[str, ...]:
    """The names of the checkpoints that came with the package."""
    assets = importlib.resources.files("pegasus") / "assets"
    if not assets.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in assets.iterdir() if (entry / "config.json").is_file()))


def bundled_in_words() -> str:
    """Their names for a message."""
    return ", ".join(bundled()) or "none in this installation"
