"""Batches of NumPy arrays as a ``tf.data`` pipeline, for ``fit`` of Keras models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import tensorflow as tf

from pegasus.spec.batch import Batch


def dataset_of(batches: Iterable[Batch], steps: int | None = None) -> tf.data.Dataset:
    """A pipeline over batches, such as those of ``data.loader.Loader``; their sizes may differ.

    Args:
        batches: dictionaries of int32 arrays [B, S] with equal names. A stream goes on in each pass
            where it stood after the one before; a list begins anew.
        steps: how many batches a pass has; None: all, which of an endless stream is without end.

    Returns:
        Dictionaries that ``fit`` takes, with ``labels`` among the inputs.
    """
    source = iter(batches)
    first = next(source)
    known = {name: tf.TensorSpec([None] * array.ndim, tf.int32) for name, array in first.items()}
    stream = chain([first], source) if source is batches else None

    def one_pass() -> Iterator[Batch]:
        return islice(iter(batches) if stream is None else stream, steps)

    made = tf.data.Dataset.from_generator(one_pass, output_signature=known)
    return made if steps is None else made.apply(tf.data.experimental.assert_cardinality(steps))
