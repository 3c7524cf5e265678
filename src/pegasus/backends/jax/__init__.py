"""PEGASUS in JAX: Linen modules, the classes of transformers' Flax API, inference and learning."""
