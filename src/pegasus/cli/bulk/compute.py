"""What a worker of a bulk job does: opens the model, then makes summaries of texts, as plain facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pegasus.errors import BadSetting

Texts = list[str]
#: For each text the facts of its summary, or its error.
Ends = list[dict[str, Any]]


@dataclass(frozen=True)
class Opening:
    """How a worker opens the model; it can be sent to another machine.

    Attributes:
        model: its name, which every machine must know it by.
        weights: what its folder held where the job was started (`pegasus.cli.weights`).
        backend: what computes.
        device: where.
        dtype: how numbers are kept.
        threads: of the CPU.
        settings: of each summary.
        place: its folder as other machines find it; None: by its name.
    """

    model: str
    weights: str | None
    backend: str | None
    device: str
    dtype: str
    threads: int | None
    settings: Mapping[str, Any]
    place: str | None = None

    def __call__(self) -> Callable[[Texts], Ends]:
        """Open it.

        Raises:
            BadSetting: this machine has other weights under that name.
            PegasusError: it cannot be opened.
        """
        from pegasus.cli.formats import to_facts
        from pegasus.cli.weights import name_weights
        from pegasus.summarizer import Summarizer

        place = self.place or self.model
        if name_weights(place) != self.weights:
            raise BadSetting(
                f"{place} holds other weights on one of the machines, or none: put the same there."
            )
        summarizer = Summarizer.from_pretrained(
            place,
            backend=self.backend,
            device=self.device,
            dtype=self.dtype,
            threads=self.threads,
        )
        summarizer.name = self.model
        return lambda texts: [to_facts(end) for end in summarizer.attempt(texts, **self.settings)]

    def from_elsewhere(self, threads: int) -> Opening:
        """Return the same for a process that was started in another folder, with so many threads."""
        folder = Path(self.model).expanduser()
        place = str(folder.absolute()) if folder.is_dir() else None
        return replace(self, threads=threads, place=place)
