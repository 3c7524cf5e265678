"""What a backend must offer to summarize: ``Backend`` itself, and the model that it opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class InferenceModel(Protocol):
    """A model that summarizes; ``generation.generate.GenerationMixin`` is most of it."""

    @property
    def config(self) -> Any:
        """Its ``PegasusConfig``."""
        ...

    @property
    def generation_config(self) -> Any:
        """Its ``GenerationConfig``: where ``generate`` starts from."""
        ...

    @property
    def dtype(self) -> Any:
        """How its numbers are kept; its name is told to people."""
        ...

    @property
    def device(self) -> Any:
        """Where it computes; its name is told to people."""
        ...

    def to_native(self, array: np.ndarray) -> Any:
        """A NumPy array as one of the backend's, on the model's device."""
        ...

    def to_host(self, native: Any) -> np.ndarray:
        """One of the backend's arrays, wherever it lies, as a NumPy array."""
        ...

    def generate(self, inputs: Any = None, **settings: Any) -> Any:
        """See ``GenerationMixin.generate``."""
        ...

    def start_generate(self, inputs: Any = None, *, deadline: float | None = None, **settings: Any) -> Any:
        """See ``GenerationMixin.start_generate``."""
        ...

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Read a source and a summary of it once more, and return where the decoder looked.

        Args:
            source: tokens of the source.
            summary: tokens of the summary, without the start token.

        Returns:
            float32 [summary tokens, source tokens], averaged over layers and heads: row t is the look with
            which token t was written. Each row sums to 1.
        """
        ...


class Backend(Protocol):
    """A framework or library that computes: what ``backends.load_backend`` returns.

    It is a module (``pegasus.backends.NAME.backend``) or any object with these members.
    """

    @property
    def models(self) -> Mapping[str, Any]:
        """The classes that code written for transformers uses, with ``from_pretrained``, by kind.

        Kinds are "bare", "conditional" and "causal"; a backend may offer only some of them.
        """
        ...

    def unavailable(self) -> str | None:
        """Why it cannot compute on this machine although its package is there; None where it can."""
        ...

    def best_device(self) -> str:
        """The device to take when nobody names one, by the word that ``open_model`` takes; "cpu" too."""
        ...

    def open_model(
        self, folder: Path, *, device: str = "auto", dtype: str = "auto", threads: int | None = None
    ) -> InferenceModel:
        """Load the model in a folder and put it where it will run.

        Args:
            folder: a checkpoint, found already.
            device: "auto" is ``best_device()``.
            dtype: "float32", "bfloat16", "float16" or "int8"; "auto" is what the device computes best in
                without losing words.
            threads: how many threads compute on a CPU; None leaves it to the backend.

        Raises:
            BadSetting: there is no such device here, or the backend does not compute in that dtype.
            CheckpointNotFound: something is missing.
            CheckpointCorrupt: a file is damaged.
            CheckpointMismatch: the weights are not those of the configuration.
        """
        ...
