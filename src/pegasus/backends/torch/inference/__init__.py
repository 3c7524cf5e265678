"""Inference in PyTorch: decoder steps and caches."""
