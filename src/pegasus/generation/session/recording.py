"""What is kept of every step for ``return_dict_in_generate``: scores, attentions, hidden states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pegasus.generation.session.search import Hypotheses


@dataclass(frozen=True)
class Records:
    """What a session keeps of every step, in the device's own arrays, for ``return_dict_in_generate``."""

    scores: bool = False
    attentions: bool = False
    hidden_states: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is kept."""
        return self.scores or self.attentions or self.hidden_states


@dataclass
class Recorded:
    """What a session kept: lists over steps of the device's arrays."""

    scores: list[Any] = field(default_factory=list)
    attentions: list[Any] = field(default_factory=list)
    cross_attentions: list[Any] = field(default_factory=list)
    hidden_states: list[Any] = field(default_factory=list)
    encoder_attentions: Any = None
    encoder_hidden_states: Any = None

    def followed(self, found: Hypotheses, to_native: Callable[[np.ndarray], Any]) -> Recorded:
        """Only what the search followed, in the caller's arrays.

        Of candidates those are the chosen rows, of guesses the right places.
        """
        # Scores that were joined of parts are still the host's.
        natives = [to_native(one) if isinstance(one, np.ndarray) else one for one in self.scores]
        return replace(self, scores=natives)._followed(found, to_native)

    def _followed(self, found: Hypotheses, to_native: Callable[[np.ndarray], Any]) -> Recorded:
        if found.filtered:
            return replace(self, scores=[to_native(scores) for scores in found.filtered])
        if found.meant:
            return self._of_rows([to_native(rows) for rows in found.meant])
        if found.taken:
            scores = [
                one[place : place + 1] for one, n in zip(self.scores, found.taken) for place in range(n)
            ]
            return replace(self, scores=scores)
        return self

    def _of_rows(self, rows: Sequence[Any]) -> Recorded:
        def layers(steps: Sequence[Any]) -> list[Any]:
            return [tuple(layer[mine] for layer in step) for step, mine in zip(steps, rows)]

        return replace(
            self,
            scores=[step[mine] for step, mine in zip(self.scores, rows)],
            attentions=layers(self.attentions),
            cross_attentions=layers(self.cross_attentions),
            hidden_states=layers(self.hidden_states),
        )

    def fields(self, causal: bool) -> dict[str, Any]:
        """The fields of an output record."""

        def steps(values: list[Any]) -> tuple[Any, ...] | None:
            return tuple(values) or None

        fields = {"scores": steps(self.scores)}
        if causal:
            fields["attentions"] = steps(self.attentions)
            fields["hidden_states"] = steps(self.hidden_states)
            return fields
        fields["decoder_attentions"] = steps(self.attentions)
        fields["cross_attentions"] = steps(self.cross_attentions)
        fields["decoder_hidden_states"] = steps(self.hidden_states)
        fields["encoder_attentions"] = self.encoder_attentions
        fields["encoder_hidden_states"] = self.encoder_hidden_states
        return fields
