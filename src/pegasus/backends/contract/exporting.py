"""What a backend offers beside if it can hand its models to other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from pegasus.backends.contract.inference import Backend

Runtime = Literal["onnx", "torch"]


class ExportingBackend(Backend, Protocol):
    """A backend with exporters."""

    def export(self, folder: Path, output: Path, to: Runtime, int8: bool = False) -> None:
        """Writes the files of a runtime.

        Args:
            folder: a checkpoint.
            output: an existing folder.
            to: the runtime.
            int8: whether matrices are kept in 8 bits, which ONNX Runtime alone offers.

        Raises:
            NotOffered: a model that is not exported.
            BackendMissing: a package that writes the files is not installed.
        """
        ...
