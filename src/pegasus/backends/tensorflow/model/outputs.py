"""The output records as structures that Keras looks into: ``predict`` joins them, models may be chained."""

from __future__ import annotations

from typing import Any

import optree

from pegasus.spec.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    ModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)

RECORDS: tuple[type[ModelOutput], ...] = (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)


def _register(record: type[ModelOutput]) -> None:
    def flatten(output: ModelOutput) -> tuple[Any, Any, Any]:
        return tuple(output.values()), tuple(output), tuple(output)

    def build(names: Any, values: Any) -> ModelOutput:
        return record(**dict(zip(names, values)))

    optree.register_pytree_node(record, flatten, build, namespace="keras")


for _record in RECORDS:
    _register(_record)
