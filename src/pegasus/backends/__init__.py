"""The table of backends: where each lives, what it needs, how to get that.

The command line prints its names in every ``--help``, so it imports next to nothing.

It is the one place that opens a backend by its name. Another package adds a row by an entry point of the
group ``pegasus.backends``: the name, and the module or object that fulfils ``contract.Backend``.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, NamedTuple, cast

from pegasus.errors import BackendMissing, BadSetting

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pegasus.backends.contract import Backend
    from pegasus.backends.contract.learning import LearningBackend

#: The group of entry points by which other packages add backends.
GROUP = "pegasus.backends"


class Row(NamedTuple):
    """One backend.

    Attributes:
        module: where it lives: a module that fulfils ``contract.Backend``.
        needs: the package that it computes with.
        remedy: how to get that.
        computes: where, in a few words, for the table in the documentation.
    """

    module: str
    needs: str
    remedy: str
    computes: str


BACKENDS: dict[str, Row] = {
    "packed": Row(
        "pegasus.backends.packed.backend",
        "numpy",
        "pip install numpy",
        "inference on a CPU, without a framework",
    ),
    "torch": Row(
        "pegasus.backends.torch.backend",
        "torch",
        "pip install torch",
        "inference and training, CPU, CUDA, MPS",
    ),
    "jax": Row(
        "pegasus.backends.jax.backend",
        "flax",
        "pip install 'pegasus-summarizer[jax]'",
        "inference and training, CPU, CUDA, TPU",
    ),
    "onnx": Row(
        "pegasus.backends.onnx.backend",
        "onnxruntime",
        "pip install 'pegasus-summarizer[export]'",
        "inference on a CPU, of what `pegasus export --to onnx` made",
    ),
    "tensorflow": Row(
        "pegasus.backends.tensorflow.backend",
        "tensorflow",
        "pip install 'pegasus-summarizer[tensorflow]'",
        "inference and training, CPU, CUDA",
    ),
}


def backend_names() -> list[str]:
    """Every backend that can be asked for: those of the table, then those that other packages add."""
    return [*BACKENDS, *sorted(_entry_points().keys() - BACKENDS.keys())]


def require_backend(name: str | None) -> None:
    """Raise ``BadSetting`` for a name that no backend has; None is none in particular."""
    if name is not None and name not in BACKENDS and name not in _entry_points():
        raise BadSetting(f"unknown backend {name!r}: choose one of {', '.join(backend_names())}.")


def load_backend(name: str) -> Backend:
    """Open a backend, which imports its framework.

    Args:
        name: one of ``backend_names()``.

    Raises:
        BadSetting: there is no such backend.
        BackendMissing: its framework is not installed; the message says what to install.
    """
    require_backend(name)
    if name not in BACKENDS:
        return _load_entry_point(name)
    row = BACKENDS[name]
    if importlib.util.find_spec(row.needs) is None:
        raise BackendMissing(f"the {name} backend needs {row.needs}, which is not installed: {row.remedy}")
    return cast("Backend", importlib.import_module(row.module))


def load_learning_backend(name: str) -> LearningBackend:
    """Open a backend that can learn.

    Raises:
        BadSetting: there is no such backend, or it only infers.
        BackendMissing: its framework is not installed.
    """
    backend = load_backend(name)
    if not hasattr(backend, "engine"):
        raise BadSetting(f"the {name} backend only infers: train with another, such as torch.")
    return cast("LearningBackend", backend)


def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # loads more than the rest of this file: only when asked

    return {one.name: one for one in entry_points(group=GROUP)}


def _load_entry_point(name: str) -> Backend:
    point = _entry_points()[name]
    try:
        return cast("Backend", point.load())
    except ImportError as problem:
        raise BackendMissing(
            f"the {name} backend ({point.value}) cannot be imported ({problem}): install what it needs."
        ) from problem
