"""Loss scaling: small gradients are lifted into the range of float16, and let down before they are used."""

from __future__ import annotations

from collections.abc import Mapping


class LossScale:
    """A factor that doubles after many good updates and halves after a gradient that was not finite.

    The usual start, 2^16, is divided by the 64 by which gradients are larger inside the branches of a
    layer, where the products are (``half.ROOM``).

    Attributes:
        value: what the loss is multiplied by; always 1 when scaling is off.
    """

    def __init__(self, on: bool, start: float = 2.0**10, patience: int = 2000) -> None:
        self.on, self.patience = on, patience
        self.value = start if on else 1.0
        self._good = 0

    def update(self, finite: bool) -> None:
        """Learn whether the last gradient was finite."""
        if not self.on:
            return
        self._good = self._good + 1 if finite else 0
        if not finite:
            self.value = max(1.0, self.value / 2)
        elif self._good % self.patience == 0:
            self.value *= 2

    def state(self) -> list[float]:
        """What ``restore`` takes."""
        return [self.value, float(self._good)]

    def restore(self, state: list[float] | Mapping[int, float]) -> None:
        """Go on from an earlier state; without scaling there is nothing to go on from."""
        if self.on:
            self.value, self._good = state[0], int(state[1])
