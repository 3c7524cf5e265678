"""Triton kernels for decoding and encoding on GPUs. Importing a module of this folder imports Triton."""
