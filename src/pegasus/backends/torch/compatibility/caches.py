"""Memories of other libraries as ours: per layer keys and values, those of cross-attention behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

Memory = Sequence[tuple[Tensor, ...]]


def memory_of(given: Any) -> Memory | None:
    """A memory in any of the forms that transformers has had.

    Args:
        given: tuples as of 4.34, or an object as of 4.36 and later, such as its ``DynamicCache`` and
            ``EncoderDecoderCache``; None and empty ones: no memory.
    """
    if given is None or isinstance(given, list | tuple):
        return given or None
    if not hasattr(given, "self_attention_cache"):
        return _layers(given) or None
    own, cross = _layers(given.self_attention_cache), _layers(given.cross_attention_cache)
    behind: list[tuple[Tensor, ...]] = [*cross, *[()] * (len(own) - len(cross))]
    return [(*one, *other) for one, other in zip(own, behind)] or None


def _layers(cache: Any) -> list[tuple[Tensor, ...]]:
    """Keys and values of each layer that holds any."""
    if hasattr(cache, "layers"):
        pairs = [(layer.keys, layer.values) for layer in cache.layers if layer.keys is not None]
    else:
        pairs = list(zip(cache.key_cache, cache.value_cache))
    return [pair for pair in pairs if pair[0].numel()]
