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
    logits: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is kept."""
        return self.scores or self.attentions or self.hidden_states or self.logits


@dataclass
class Recorded:
    """What a session kept: lists over steps of the device's arrays."""

    scores: list[Any] = field(default_factory=list)
    attentions: list[Any] = field(default_factory=list)
    cross_attentions: list[Any] = field(default_factory=list)
    hidden_states: list[Any] = field(default_factory=list)
    logits: list[Any] = field(default_factory=list)
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
            return self._of_places(found.taken, found.guessed)
        return self

    def _of_places(self, taken: Sequence[int], guessed: Sequence[int]) -> Recorded:
        """Of passes that read guesses, one step for each token that came of them."""
        passes = list(zip(taken, guessed))

        def rows(kept: list[Any]) -> list[Any]:
            return [one[place : place + 1] for one, (n, _) in zip(kept, passes) for place in range(n)]

        def layers(kept: list[Any], cut: Any) -> list[Any]:
            return [
                tuple(cut(layer, step == 0 and place == 0, place, many) for layer in one)
                for step, (one, (n, many)) in enumerate(zip(kept, passes))
                for place in range(n)
            ]

        return replace(
            self,
            scores=rows(self.scores),
            logits=rows(self.logits),
            attentions=layers(self.attentions, _looks),
            cross_attentions=layers(self.cross_attentions, _cross_looks),
            hidden_states=layers(self.hidden_states, _states),
        )

    def _of_rows(self, rows: Sequence[Any]) -> Recorded:
        def layers(steps: Sequence[Any]) -> list[Any]:
            return [tuple(layer[mine] for layer in step) for step, mine in zip(steps, rows)]

        return replace(
            self,
            scores=[step[mine] for step, mine in zip(self.scores, rows)],
            logits=[step[mine] for step, mine in zip(self.logits, rows)],
            attentions=layers(self.attentions),
            cross_attentions=layers(self.cross_attentions),
            hidden_states=layers(self.hidden_states),
        )

    def fields(self, causal: bool) -> dict[str, Any]:
        """The fields of an output record."""

        def steps(values: list[Any]) -> tuple[Any, ...] | None:
            return tuple(values) or None

        fields = {"scores": steps(self.scores), "logits": steps(self.logits)}
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


def _places(length: int, whole: bool, place: int, guessed: int) -> slice:
    """Which of the places that were read said a token; a search's first pass shows its prompt whole."""
    own = length - guessed - 1 + place  # the guesses come last, and before them what was not read yet
    return slice(0 if whole else own, own + 1)


def _looks(layer_RHTS: Any, whole: bool, place: int, guessed: int) -> Any:
    seen = layer_RHTS.shape[3] - guessed + place  # what a later guess may see, this token did not
    return layer_RHTS[:, :, _places(layer_RHTS.shape[2], whole, place, guessed), :seen]


def _cross_looks(layer_RHTS: Any, whole: bool, place: int, guessed: int) -> Any:
    return layer_RHTS[:, :, _places(layer_RHTS.shape[2], whole, place, guessed)]


def _states(layer_RTD: Any, whole: bool, place: int, guessed: int) -> Any:
    return layer_RTD[:, _places(layer_RTD.shape[1], whole, place, guessed)]


def together(parts: Sequence[Recorded], to_host: Callable[[Any], np.ndarray], to_native: Any) -> Recorded:
    """What was recorded of texts one by one, as if of all at once; after its end a text has zeros."""

    def stack(values: Sequence[Any]) -> Any:
        return to_native(np.concatenate([to_host(one) for one in values]))

    def rows(name: str) -> list[Any]:
        kept = [getattr(part, name) for part in parts]
        longest = max(kept, key=len)
        return [
            stack([steps[t] if t < len(steps) else longest[t] * 0 for steps in kept])
            for t in range(len(longest))
        ]

    def layers(name: str) -> list[Any]:
        kept = [getattr(part, name) for part in parts]
        longest = max(kept, key=len)
        return [
            tuple(
                stack([steps[t][i] if t < len(steps) else longest[t][i] * 0 for steps in kept])
                for i in range(len(longest[t]))
            )
            for t in range(len(longest))
        ]

    def encoder(name: str) -> Any:
        first = getattr(parts[0], name)
        return first and tuple(stack([getattr(part, name)[i] for part in parts]) for i in range(len(first)))

    return Recorded(
        scores=rows("scores"),
        attentions=layers("attentions"),
        cross_attentions=layers("cross_attentions"),
        hidden_states=layers("hidden_states"),
        logits=rows("logits"),
        encoder_attentions=encoder("encoder_attentions"),
        encoder_hidden_states=encoder("encoder_hidden_states"),
    )
