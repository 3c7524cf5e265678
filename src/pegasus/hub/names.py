"""From a name to a folder: which of the three places a name means."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Sequence
from pathlib import Path

from pegasus.errors import CheckpointNotFound
from pegasus.hub.bundled import bundled, bundled_in_words
from pegasus.hub.options import HubOptions
from pegasus.hub.repository import fetch, is_repository_name


def locate(
    name_or_path: str | os.PathLike[str],
    options: HubOptions = HubOptions(),  # noqa: B008 - frozen
    *,
    patterns: Sequence[str] | None = None,
) -> Path:
    """The folder that holds the checkpoint called ``name_or_path``.

    An existing folder is itself; then come the bundled names; then the Hugging Face hub.

    Args:
        name_or_path: a folder, a bundled name, or ``owner/name`` on the hub.
        options: how to look it up.
        patterns: file names to fetch from the hub, with wildcards. None: everything that loading a model
            needs, which is the json and vocabulary files and the weights in one format.

    Returns:
        An existing folder. Whether it holds all that a reader needs is the reader's to say, except that a
        hub snapshot without network is checked here, where the reason is known.

    Raises:
        CheckpointNotFound: nothing has that name, or it cannot be reached.
        CheckpointCorrupt: a file from the hub does not have the hash that the hub states.
    """
    name = os.fspath(name_or_path)
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return _inside(folder, options.subfolder)
    if folder.is_file():
        raise CheckpointNotFound(
            f"{name!r} is a file, and a checkpoint is a folder with config.json in it: give "
            f"{str(folder.parent)!r}."
        )
    if name in bundled():
        return _inside(Path(str(importlib.resources.files("pegasus") / "assets" / name)), options.subfolder)
    if not is_repository_name(name):
        raise CheckpointNotFound(
            f"There is no folder {name!r}, and it cannot be a repository on the hub either: give a folder, "
            f"a hub name such as 'google/pegasus-xsum', or a bundled name ({bundled_in_words()})."
        )
    return _inside(fetch(name, options, patterns), options.subfolder)


def _inside(folder: Path, subfolder: str) -> Path:
    inner = folder / subfolder if subfolder else folder
    if not inner.is_dir():
        raise CheckpointNotFound(f"{folder} has no folder {subfolder!r} in it: check `subfolder`.")
    if not subfolder:
        _refuse_run(folder)
    if subfolder and not inner.resolve().is_relative_to(folder.resolve()):
        raise CheckpointNotFound(f"The folder {subfolder!r} leads out of {folder}: give one inside it.")
    return inner


def _refuse_run(folder: Path) -> None:
    """A folder that holds no checkpoint but has some in it: a training run's, or a collection.

    Raises:
        CheckpointNotFound: which names them.
    """
    if (folder / "config.json").is_file():
        return
    run = (folder / "job.toml").is_file()
    if not run and any(path.is_file() for path in folder.iterdir()):
        return  # a tokenizer alone, or files that somebody else will miss something in
    inner = sorted(path.parent for path in folder.glob("*/config.json"))
    if run:
        inner.sort(key=lambda path: path.name != "best")
        kind = "the folder of a training run"
    elif inner:
        kind = "a folder of checkpoints"
    else:
        return
    use = " or ".join(str(path) for path in inner[:3])
    todo = f"use {use}." if use else "it has exported none yet, let it go on."
    raise CheckpointNotFound(f"{folder} is {kind} and no checkpoint: {todo}")
