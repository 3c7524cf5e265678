"""The output records as pytrees, so that they pass through ``jit``, ``grad``, ``vmap`` and ``pmap``."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import jax

from pegasus.spec.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    ModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)

RECORDS: tuple[type[ModelOutput], ...] = (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)


def _names(record: type[ModelOutput]) -> list[str]:
    return [field.name for field in fields(record)]  # type: ignore[arg-type]


def _flatten(record: type[ModelOutput], output: ModelOutput) -> tuple[list[tuple[Any, Any]], None]:
    return [(jax.tree_util.GetAttrKey(name), getattr(output, name)) for name in _names(record)], None


def _build(record: type[ModelOutput], _: None, values: Any) -> ModelOutput:
    # Not through the constructor: JAX also builds trees of things that are no arrays.
    output = record.__new__(record)
    for name, value in zip(_names(record), values):
        object.__setattr__(output, name, value)
        if value is not None:
            dict.__setitem__(output, name, value)
    return output


for _record in RECORDS:
    jax.tree_util.register_pytree_with_keys(_record, partial(_flatten, _record), partial(_build, _record))
