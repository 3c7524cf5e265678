"""NumPy arrays as TensorFlow tensors, for ``return_tensors="tf"``."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def from_array(array: np.ndarray) -> tf.Tensor:
    """A tensor with the numbers of an array; whole numbers become int32, as TensorFlow prefers them."""
    if array.dtype == np.int64:
        array = array.astype(np.int32)
    return tf.constant(array)
