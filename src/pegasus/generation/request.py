"""What ``generate`` hands to a backend to open a session, in the backend's own arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pegasus.generation.session import Hypotheses


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


@dataclass(frozen=True)
class Request:
    """The arguments of the model's forward pass that ``generate`` takes, under their own names."""

    input_ids: Any = None
    attention_mask: Any = None
    inputs_embeds: Any = None
    encoder_outputs: Any = None
    decoder_attention_mask: Any = None
    head_mask: Any = None
    decoder_head_mask: Any = None
    cross_attn_head_mask: Any = None
    past_key_values: Any = None
    encoder_hidden_states: Any = None
    encoder_attention_mask: Any = None
    use_cache: bool = True
    records: Records = Records()

    @classmethod
    def names(cls) -> set[str]:
        """The arguments that a caller may give."""
        return {field.name for field in fields(cls)} - {"records", "use_cache"}


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
        """Only what the search followed: of candidates the chosen rows, of guesses the right places."""
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
