"""Small text files of a checkpoint's folder: read with one clear error, written whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pegasus.errors import CheckpointCorrupt, CheckpointNotFound


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointCorrupt: it holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointNotFound(
            f"{path} does not exist: a checkpoint folder holds a {path.name}; was another folder meant?"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointCorrupt(f"{path} is not JSON ({error}): fetch the file again") from None
    if not isinstance(values, dict):
        raise CheckpointCorrupt(
            f"{path} holds a {type(values).__name__}, not an object: fetch the file again"
        )
    return values


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place first, then rename it into it; who reads never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    os.replace(draft, path)
