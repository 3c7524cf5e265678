"""How fresh weights are drawn as the authors did: by the kind of leaf, whatever framework draws.

Embeddings have a deviation of D^-0.5, matrices follow Glorot's rule, biases are 0 and norms 1. The row of
padding is zero, as in all checkpoints of transformers; the authors' own decoder starts from a zero vector
beside the table. transformers draws all matrices with one deviation, ``init_std``.
"""

from __future__ import annotations

import math


def embedding_deviation(width: int) -> float:
    """The standard deviation of a table of tokens.

    Args:
        width: D, the width of the model.
    """
    return float(width**-0.5)


def matrix_bound(outputs: int, inputs: int) -> float:
    """The bound b of a matrix whose numbers are drawn evenly from [-b, b] (Glorot and Bengio, 2010)."""
    return math.sqrt(3.0) * math.sqrt(2.0 / float(inputs + outputs))
