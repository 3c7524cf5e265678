"""``compile``, ``fit``, ``evaluate`` and ``predict`` of Keras: labels go to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from pegasus.errors import BadSetting


class Fitting:
    """What Keras' training asks of the models.

    Labels may be among the inputs or be given as targets, as ``labels`` or alone: the model reads them to
    make the decoder's input either way. Without a loss of the caller's, the model's own is learned; a loss
    of the caller's, and metrics, see labels and logits.
    """

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **kwargs: Any) -> None:
        """See ``keras.Model.compile``; without ``loss`` the model's own is learned."""
        super().compile(optimizer=optimizer, loss=loss, **kwargs)  # type: ignore[misc]

    def train_step(self, data: Any) -> Any:
        """One update."""
        return super().train_step(self._settled(data))  # type: ignore[misc]

    def test_step(self, data: Any) -> Any:
        """One measurement."""
        return super().test_step(self._settled(data))  # type: ignore[misc]

    def predict_step(self, data: Any) -> Any:
        """Everything that the model says of its inputs."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self(x, training=False)  # type: ignore[operator]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The caller's loss of labels and logits, or the model's own."""
        if self._compile_loss is not None:  # type: ignore[attr-defined]
            return super().compute_loss(x, y, _shown(y_pred), sample_weight, training)  # type: ignore[misc]
        if sample_weight is not None:
            raise BadSetting("the model's own loss weighs no texts: compile with a loss, or leave them out")
        if getattr(y_pred, "loss", None) is None:
            raise BadSetting(
                "there is no loss: give labels among the inputs or as targets, or compile with a loss"
            )
        return tf.reduce_sum(y_pred.loss)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Metrics of labels and logits."""
        return super().compute_metrics(x, y, _shown(y_pred), sample_weight)  # type: ignore[misc]

    def _settled(self, data: Any) -> tuple[Any, Any, Any]:
        """Inputs by name with the labels among them, the labels, and weights of texts."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        y = y.get("labels") if isinstance(y, Mapping) else y
        if not isinstance(x, Mapping):
            x = {"input_ids": x} if tf.is_tensor(x) else dict(zip(("input_ids", "attention_mask"), x))
        inputs = dict(x)
        if self.kind == "conditional":  # type: ignore[attr-defined]
            inputs.setdefault("labels", y)
            y = inputs["labels"]
        return {name: value for name, value in inputs.items() if value is not None}, y, weight


def _shown(output: Any) -> Any:
    """What a loss looks at."""
    return output.logits if getattr(output, "logits", None) is not None else output[0]
