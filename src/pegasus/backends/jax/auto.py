"""FlaxAutoModelForSeq2SeqLM: the import that finds a model's class by the name of a checkpoint."""

from __future__ import annotations

from pegasus.backends.jax.model.flax_classes import FlaxPegasusForConditionalGeneration
from pegasus.checkpoint.auto import Auto


class FlaxAutoModelForSeq2SeqLM(Auto[FlaxPegasusForConditionalGeneration]):
    """:class:`FlaxPegasusForConditionalGeneration`."""

    head = FlaxPegasusForConditionalGeneration
