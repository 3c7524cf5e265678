"""What must be settled before TensorFlow and Keras are imported."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pegasus.errors import BackendMissing


def settle_keras() -> None:
    """Have Keras compute with TensorFlow, and TensorFlow report errors alone.

    Raises:
        BackendMissing: Keras computes with another framework in this process.
    """
    other = _chosen()
    if other not in (None, "tensorflow"):
        raise BackendMissing(
            f"Keras computes with {other} here ({_where()}), and these models with TensorFlow: set "
            "KERAS_BACKEND=tensorflow before Python starts, or use the models of the other backend."
        )
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _chosen() -> str | None:
    """What Keras computes with, if anybody has said so."""
    if "keras" in sys.modules:
        backend: str = sys.modules["keras"].config.backend()
        return backend
    if named := os.environ.get("KERAS_BACKEND"):
        return named
    try:
        content = json.loads(_file().read_text())
    except (OSError, ValueError):
        return None
    found = content.get("backend") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def _where() -> str:
    if "keras" in sys.modules:
        return "it is imported already"
    return "by KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else f"by {_file()}"


def _file() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "keras.json"
