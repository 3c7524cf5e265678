"""The loss of a batch: cross-entropy over the output layer, a slice of tokens at a time.

Logits of all tokens would need more memory than all else. Those of a slice are gone before the next slice's
are made, and with them goes what gradients need: these are found on the way there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pegasus.backends.contract import IGNORED, PARTS, Batch
from pegasus.backends.tensorflow.model.layers import Mode, exact, wide
from pegasus.backends.tensorflow.model.tf_classes import shift_tokens_right
from pegasus.errors import BadSetting

#: Logits that exist at a time: 2**24 float32 numbers are 64 MiB.
SLICE = 2**24


def tensors_of(batch: Batch) -> dict[str, tf.Tensor]:
    """A batch as tensors, with a mask.

    Raises:
        BadSetting: it has no labels.
    """
    if not any(name in batch for name in PARTS.values()):
        raise BadSetting(f"a batch has only {sorted(batch)}; to learn from it, it must have labels")
    found = {name: tf.constant(array, tf.int32) for name, array in batch.items()}
    found.setdefault("attention_mask", tf.ones_like(found["input_ids"]))
    return found


def losses(
    model: Any, batch: Mapping[str, tf.Tensor], mode: Mode, parts: tuple[str, ...], smoothing: float
) -> dict[str, tf.Tensor]:
    """The cross-entropy of each part that the batch has labels for, summed over its tokens.

    Args:
        model: with a head.
        batch: what ``tensors_of`` made.
        mode: what dropout is drawn from.
        parts: of the objective.
        smoothing: of the target's loss.
    """
    main, mask = model.model, batch["attention_mask"]
    encoded = main.encoder.run(main.encoder.embed(batch["input_ids"]), mask, mode).states
    found = {}
    if "labels" in batch and "target" in parts:
        labels = batch["labels"]
        given = shift_tokens_right(
            labels, model.config.pad_token_id or 0, model.config.decoder_start_token_id
        )
        decoded = main.decoder.run(main.decoder.embed(given), encoded, mask, mode=mode)
        found["target"] = _of_states(model, decoded.states, labels, smoothing)
    if "mlm_labels" in batch and "mlm" in parts:
        found["mlm"] = _of_states(model, encoded, batch["mlm_labels"], 0.0)
    return found


def _of_states(model: Any, states_BTD: tf.Tensor, labels_BT: tf.Tensor, smoothing: float) -> tf.Tensor:
    flat = tf.reshape(states_BTD, (-1, model.config.d_model))
    if model.lm_head is None:
        table = model.model.shared.made(model.model.shared.embeddings)
    else:
        table = tf.transpose(model.lm_head.made(model.lm_head.kernel))
    bias = exact(model.bias_layer.bias)[0]
    loss: tf.Tensor = cross_entropy(flat, table, bias, tf.reshape(labels_BT, (-1,)), smoothing)
    return loss


def cross_entropy(
    states_ND: tf.Tensor, table_VD: tf.Tensor, bias_V: tf.Tensor, labels_N: tf.Tensor, smoothing: float
) -> tf.Tensor:
    """The cross-entropy of labels, summed; -100 is not counted. The bias does not learn."""
    count = tf.shape(states_ND)[0]
    size = tf.maximum(1, SLICE // tf.shape(table_VD)[0])
    total = wide(states_ND.dtype)

    def of_slice(at: tf.Tensor, states: tf.Tensor, table: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The loss of some tokens, its gradients for their states and for the table."""
        mine, labels = states[at : at + size], labels_N[at : at + size]
        logits = tf.cast(tf.matmul(mine, table, transpose_b=True), total) + tf.cast(bias_V, total)
        logs = tf.nn.log_softmax(logits)
        counted = tf.cast(labels != IGNORED, total)
        width = tf.shape(table)[0]
        right = tf.one_hot(tf.maximum(labels, 0), width, 1 - smoothing, 0.0, dtype=total)
        wanted = right + smoothing / tf.cast(width, total)
        loss = -tf.reduce_sum(counted * tf.reduce_sum(wanted * logs, -1))
        slopes = tf.cast((tf.exp(logs) - wanted) * counted[:, None], mine.dtype)
        return loss, tf.matmul(slopes, table), tf.matmul(slopes, mine, transpose_a=True)

    @tf.custom_gradient
    def whole(states: tf.Tensor, table: tf.Tensor) -> Any:
        def step(at: Any, loss: Any, of_states: Any, of_table: Any) -> Any:
            more, mine, its = of_slice(at, states, table)
            of_states = tf.concat([of_states, mine], 0)
            return at + size, loss + more, of_states, of_table + tf.cast(its, total)

        started = (0, tf.zeros((), total), states[:0], tf.zeros(tf.shape(table), total))
        shapes = tuple(tf.TensorShape([None] * rank) for rank in (0, 0, 2, 2))
        _, loss, of_states, of_table = tf.while_loop(lambda at, *_: at < count, step, started, shapes)
        of_states.set_shape(states.shape)
        of_table.set_shape(table.shape)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.cast(upstream, states.dtype) * of_states, tf.cast(upstream * of_table, table.dtype)

        return loss, gradient

    return whole(states_ND, table_VD)
