"""``ConstraintListState``: how far one hypothesis has come with its constraints, as 4.34 lets one ask."""

from __future__ import annotations

from collections.abc import Sequence

from pegasus.errors import BadSetting
from pegasus.generation.constraints import Constraint, Progress


class ConstraintListState:
    """The progress of one hypothesis; one constraint is worked on at a time.

    Args:
        constraints: what must be said.
    """

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        if not constraints:
            raise BadSetting("there are no constraints: give at least one")
        self.constraints = list(constraints)
        self.max_seqlen = max(one.seqlen for one in self.constraints)
        self.n_constraints = len(self.constraints)
        self.init_state()

    def init_state(self) -> None:
        """Nothing has been said."""
        self._progress = Progress(self.constraints)

    @property
    def completed(self) -> bool:
        """Whether everything has been said."""
        return self._progress.completed

    @property
    def inprogress_constraint(self) -> Constraint | None:
        """The one that was begun."""
        return self._progress.current

    @property
    def pending_constraints(self) -> list[Constraint]:
        """Those that were not begun."""
        return self._progress.pending

    def get_bank(self) -> int:
        """How much has been said, in tokens."""
        return self._progress.bank

    def advance(self) -> list[int] | None:
        """The tokens that would bring it on; None when there are none."""
        return self._progress.advance() or None

    def reset(self, token_ids: Sequence[int] | None) -> None:
        """Begin anew, and take in these tokens."""
        self.init_state()
        for token in token_ids or ():
            self.add(token)
            if self.completed:
                break

    def add(self, token_id: int) -> tuple[bool, bool]:
        """Take in a token: whether it fulfilled a constraint, whether it brought one on.

        Raises:
            BadSetting: it is no token.
        """
        if not isinstance(token_id, int):
            raise BadSetting(f"{token_id!r} is no token: give a whole number")
        if self.completed:
            return True, False
        before = self._progress
        self._progress = before.after(token_id)
        fulfilled = len(self._progress.pending) < len(before.pending) or before.current is not None
        complete = self._progress.fulfilled > before.fulfilled
        return complete, complete or (fulfilled and self._progress.bank > before.bank)

    def copy(self, stateful: bool = True) -> ConstraintListState:
        """A new one, as far along if ``stateful``."""
        other = ConstraintListState(self.constraints)
        if stateful:
            other._progress = self._progress
        return other
