"""A batch: what training hands to an engine, and the endless stream of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np

#: Arrays by name, int32: ``input_ids`` [B, S], ``attention_mask`` [B, S], ``labels`` [B, T] (-100: not
#: counted; the decoder's input is made from them by shifting) and ``mlm_labels`` [B, S] (-100: not hidden).
#: ``labels`` or ``mlm_labels`` may be absent; a model without an encoder needs ``labels`` alone.
Batch = Mapping[str, np.ndarray]

#: The parts a loss may have, and the array that each needs.
PARTS = {"target": "labels", "mlm": "mlm_labels"}
IGNORED = -100


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
