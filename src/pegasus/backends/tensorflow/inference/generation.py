"""Generation on TensorFlow: the hooks of ``GenerationMixin``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pegasus.backends.tensorflow.inference.decoder import TfDecoder
from pegasus.backends.tensorflow.inference.programs import Programs
from pegasus.backends.tensorflow.tensors import from_array
from pegasus.generation.generate import GenerationMixin
from pegasus.generation.model_inputs import Request


class TfGeneration(GenerationMixin):
    """The TensorFlow hooks of ``GenerationMixin``, mixed into every model class."""

    @property
    def programs(self) -> Programs:
        """The graphs of this model."""
        if "_programs" not in self.__dict__:
            self.__dict__["_programs"] = Programs(self)
        programs: Programs = self.__dict__["_programs"]
        return programs

    def forget_programs(self) -> None:
        """Trace anew: weights have other shapes."""
        self.__dict__.pop("_programs", None)

    def empty_memory(self, rows: int, places: int) -> tuple[tuple[tf.Tensor, tf.Tensor], ...]:
        """Keys and values of nothing yet, [R, H, L, E] a layer."""
        model: Any = self
        layers = (layer.self_attn for layer in model.model.decoder.layers)
        empty = (tf.zeros((rows, one.kept, places, one.head), one.compute_dtype) for one in layers)
        return tuple((one, one) for one in empty)

    def open_decoder(self, request: Request) -> TfDecoder:
        """A decoder over the sources of this request, which are encoded here."""
        return TfDecoder(self, request)

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Where the decoder looked: float32 [summary tokens, source tokens], mean of layers and heads.

        Args:
            source: tokens of the source.
            summary: tokens of the summary, without the start token. Row t is the look that token t was
                written with, and sums to 1.
        """
        model: Any = self
        found = model(
            np.array([list(source)]),
            decoder_input_ids=np.array([[model.config.decoder_start_token_id, *summary[:-1]]]),
            output_attentions=True,
            return_dict=True,
        )
        layers = [self.to_host(layer[0]).mean(axis=0) for layer in found.cross_attentions]
        mean_TS: np.ndarray = np.mean(layers, axis=0)
        return mean_TS[: len(summary)]

    def export_saved_model(self, folder: Path, **settings: Any) -> None:
        """Write a SavedModel whose signature answers ids with ids; see ``inference.serving``."""
        from pegasus.backends.tensorflow.inference.serving import export  # summarizing does without it

        export(self, folder, **settings)

    def to_native(self, array: np.ndarray) -> tf.Tensor:
        """A tensor; whole numbers are int32."""
        return from_array(np.asarray(array))

    def to_host(self, native: Any) -> np.ndarray:
        """A NumPy array."""
        array: np.ndarray = native.numpy() if tf.is_tensor(native) else np.asarray(native)
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array

    def draw_seed(self) -> int:
        """A seed from TensorFlow's generator, so that ``tf.random.set_seed`` rules sampling."""
        return int(tf.random.uniform((), maxval=2**62, dtype=tf.int64))
