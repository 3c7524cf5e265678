"""What ``generate`` hands to a backend to open a session, in the backend's own arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


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

    scores: list[Any]
    attentions: list[Any]
    cross_attentions: list[Any]
    hidden_states: list[Any]
    encoder_attentions: Any = None
    encoder_hidden_states: Any = None
