"""The endless stream of batches that training hands to an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from pegasus.spec.batch import Batch


class BatchStream(Protocol):
    """Endless batches of this process, in an order that a small state names exactly."""

    def __next__(self) -> Batch:
        """The next one."""
        ...

    def __iter__(self) -> Self:
        """Itself."""
        ...

    def state(self) -> dict[str, Any]:
        """Where it stands, as JSON can hold it; the same in all processes."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        ...
