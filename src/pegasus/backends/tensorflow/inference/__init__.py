"""Inference in TensorFlow: the decoder's step, the hooks of generation, search within a graph."""
