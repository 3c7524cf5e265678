"""Inference weights and what runs on them: packed for one machine's kernels, in no framework."""
