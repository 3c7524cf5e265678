"""PEGASUS in TensorFlow: Keras 3 models, the classes of transformers' TF API, inference and learning.

Keras chooses what it computes with when it is first imported, so that is settled here, before any module of
this room imports it.
"""

from __future__ import annotations

from pegasus.backends.tensorflow.opening import settle_keras

settle_keras()
