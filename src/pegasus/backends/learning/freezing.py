"""Which weights learn, by their names."""

from __future__ import annotations

from pegasus.backends.contract.learning import Objective
from pegasus.errors import BadSetting

#: Positions never learn. Neither do the biases of keys: a number added to all scores of a query changes no
#: probability, so their gradient is rounding noise, which Adafactor would turn into steps of full size.
_STILL = ("embed_positions.weight", "k_proj.bias", "k_proj.base_layer.bias")


def learns(name: str, objective: Objective, *, embedding: bool) -> bool:
    """Whether a weight learns.

    Args:
        name: its canonical name, or with LoRA that of one of its parts.
        objective: says what is frozen.
        embedding: it is the table of tokens, or that of the output.

    Raises:
        BadSetting: the objective freezes a part that no model has.
    """
    unknown = set(objective.frozen) - {"embeddings", "encoder", "decoder"}
    if unknown:
        raise BadSetting(f"{sorted(unknown)} cannot be frozen: choose embeddings, encoder, decoder")
    stack = "encoder" if ".encoder." in f".{name}" else "decoder" if ".decoder." in f".{name}" else ""
    part = "embeddings" if embedding else stack
    chosen = objective.lora is None or ".lora_" in name
    return chosen and part not in objective.frozen and not name.endswith(_STILL)
