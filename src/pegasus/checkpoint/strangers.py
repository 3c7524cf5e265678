"""Files of other frameworks: packages that only some of them need, and bytes that may be anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pegasus.errors import BackendMissing, CheckpointCorrupt, PegasusError


@contextmanager
def needing(sentence: str) -> Iterator[None]:
    """Inside a package of the extra ``convert`` is imported.

    Args:
        sentence: what it is for, as a sentence that "which is not installed" may follow.

    Raises:
        BackendMissing: it is not installed.
    """
    try:
        yield
    except ImportError as problem:
        raise BackendMissing(
            f"{sentence}, which is not installed: pip install 'pegasus-summarizer[convert]'"
        ) from problem


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Whatever goes wrong inside is a damaged file, unless it was told already.

    Args:
        path: the file.
        what: it should be, such as "Flax weights".

    Raises:
        CheckpointCorrupt: names the file and what went wrong.
    """
    try:
        yield
    except PegasusError:
        raise
    except Exception as problem:  # bytes of strangers: libraries fail in many ways
        raise CheckpointCorrupt(
            f"{path} cannot be read as {what} ({type(problem).__name__}: {problem}): it is "
            "cut short, damaged or something else, fetch it again."
        ) from problem
