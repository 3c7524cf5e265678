"""One process that learns alone, in the place of several."""

from __future__ import annotations

from collections.abc import Sequence


class Alone:
    """One process; see ``pegasus.backends.contract.Ranks``."""

    rank = 0
    count = 1

    def wait(self) -> None:
        """Nobody to wait for."""

    def any(self, flag: bool) -> bool:
        """The flag itself."""
        return flag

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The numbers themselves."""
        return [float(number) for number in numbers]

    def leave(self) -> None:
        """Nothing to leave."""
