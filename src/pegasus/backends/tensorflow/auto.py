"""TFAutoModelForSeq2SeqLM: the import that finds a model's class by the name of a checkpoint."""

from __future__ import annotations

from pegasus.backends.tensorflow.model.tf_classes import TFPegasusForConditionalGeneration
from pegasus.checkpoint.auto import Auto


class TFAutoModelForSeq2SeqLM(Auto[TFPegasusForConditionalGeneration]):
    """:class:`TFPegasusForConditionalGeneration`."""

    head = TFPegasusForConditionalGeneration
