"""What ``generate`` hands to a backend to open a decoder, in the backend's own arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pegasus.generation.session.recording import Records


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
    records: Records = Records()  # noqa: RUF009 - frozen

    @classmethod
    def names(cls) -> set[str]:
        """The arguments that a caller may give."""
        return {field.name for field in fields(cls)} - {"records", "use_cache"}
