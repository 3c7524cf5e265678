"""Small text files of a checkpoint's folder: read with one clear error, written whole."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from pegasus.errors import CheckpointCorrupt, CheckpointNotFound

#: Deeper than anything a checkpoint states, and short of what Python can copy.
_DEEPEST = 32


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointCorrupt: it holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CheckpointNotFound(
            f"{path} does not exist: a checkpoint folder holds a {path.name}; was another folder meant?"
        ) from None
    except UnicodeDecodeError as error:
        raise CheckpointCorrupt(f"{path} is not JSON ({error}): fetch the file again") from None
    except OSError as error:
        raise CheckpointNotFound(f"{path} cannot be read ({error.strerror}): check it") from None
    values = parse_json(text, str(path))
    if not isinstance(values, dict):
        raise CheckpointCorrupt(
            f"{path} holds a {type(values).__name__}, not an object: fetch the file again"
        )
    return values


def parse_json(text: str, name: str) -> Any:
    """What a JSON text holds.

    Args:
        text: the text.
        name: what to call it.

    Raises:
        CheckpointCorrupt: it is none, or lists and objects in it are nested more than ``_DEEPEST`` deep.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CheckpointCorrupt(f"{name} is not JSON ({error}): fetch the file again") from None
    except RecursionError:
        values = None
    if (values is None and text.strip() != "null") or _is_deep(values):
        raise CheckpointCorrupt(f"{name} is nested more than {_DEEPEST} deep: fetch the file again")
    return values


def _is_deep(values: Any) -> bool:
    level = [values]
    for _ in range(_DEEPEST):
        inner = [
            each.values() if isinstance(each, dict) else each
            for each in level
            if isinstance(each, dict | list)
        ]
        level = [value for each in inner for value in each if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place first, then rename it into it; who reads never sees half of it.

    Raises:
        OSError: it cannot be written; the name in it is that of the file, and nothing is left beside it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
