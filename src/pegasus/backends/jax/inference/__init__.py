"""Inference in JAX: the decoder's step, its scores, and the hooks of generation."""
