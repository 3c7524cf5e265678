"""A model that leaves this process: a SavedModel that TensorFlow alone can serve, and a TFLite file.

Both hold the encoder, the decoder and the search, and answer ids with ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from pegasus.backends.tensorflow.inference.graph_search import Plan, search
from pegasus.backends.tensorflow.model.layers import exact
from pegasus.errors import BadSetting, NotOffered
from pegasus.generation.arguments import settings_for


class Served(tf.Module):
    """A model with a search, as functions that TensorFlow can keep.

    Args:
        model: with a head.
        settings: of the search, in place of the model's own: ``num_beams``, ``max_length`` and so on.

    Raises:
        BadSetting: a setting that nothing knows.
        NotOffered: a search that no graph has.
    """

    def __init__(self, model: Any, **settings: Any) -> None:
        super().__init__()
        chosen, rest = settings_for(model.generation_config, settings)
        if rest:
            raise BadSetting(f"a search has no {', '.join(rest)}: give settings of GenerationConfig.")
        self.kept = [exact(one) for one in model.weights]
        self._model, self._pad = model, model.config.pad_token_id
        self.plan = Plan.of(chosen, model.config.decoder_start_token_id)

    def generate(self, input_ids: tf.Tensor, attention_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the model says of texts [B, S], 1 for a token and 0 for padding."""
        return {"sequences": search(self._model, self.plan, input_ids, attention_mask)}

    def of_ids(self, input_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same, where the padding token says what padding is."""
        return self.generate(input_ids, tf.cast(input_ids != self._pad, tf.int32))

    def signatures(self, texts: int | None = None, length: int | None = None) -> dict[str, Any]:
        """Both as traced functions, for any or for these numbers of texts and tokens."""
        ids, mask = (
            tf.TensorSpec((texts, length), tf.int32, name) for name in ("input_ids", "attention_mask")
        )
        return {
            "serving_default": tf.function(self.generate, autograph=False).get_concrete_function(ids, mask),
            "ids": tf.function(self.of_ids, autograph=False).get_concrete_function(ids),
        }


def export(model: Any, folder: Path, **settings: Any) -> None:
    """Write a SavedModel.

    Its signature "serving_default" takes ``input_ids`` and ``attention_mask``, "ids" the first alone; both
    answer ``sequences``.

    Args:
        model: with a head.
        folder: made when it does not exist.
        **settings: see ``Served``.
    """
    served = Served(model, **settings)
    tf.saved_model.save(served, str(folder), signatures=served.signatures())


def to_tflite(model: Any, length: int, **settings: Any) -> bytes:
    """A TFLite file that searches greedily, for one text of ``length`` tokens at a time, padded to that.

    Args:
        model: with a head; a small one, as TFLite ends at 2 GB.
        length: S.
        **settings: see ``Served``.

    Raises:
        NotOffered: beams, whose scores are compared in 64 bits, which TFLite does not compute in.
    """
    served = Served(model, **{"num_beams": 1, **settings})
    if served.plan.beams > 1:
        raise NotOffered(
            "TFLite does not compute in 64 bits, in which beams are compared: take num_beams=1."
        )
    signature = served.signatures(1, length)["serving_default"]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], served)
    content: bytes = converter.convert()
    return content
