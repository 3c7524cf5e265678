"""NumPy arrays as JAX arrays, for ``return_tensors="jax"``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def from_array(array: np.ndarray) -> jax.Array:
    """A JAX array with the numbers of an array; whole numbers become int32, as JAX keeps them."""
    if array.dtype == np.int64:
        array = array.astype(np.int32)
    return jnp.array(array)
