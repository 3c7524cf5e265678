"""TensorFlow's checkpoints (``.index`` and ``.data-*``), read and written without TensorFlow."""
