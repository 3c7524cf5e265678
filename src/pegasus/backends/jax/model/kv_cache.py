"""The decoder's memory (KV cache) as transformers' Flax classes hand it to callers: a tree of arrays."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pegasus.backends.jax.model.modules import Past
from pegasus.errors import BadSetting


def past_of(cache: Any, mask: Any = None) -> Past:
    """The decoder's memory out of transformers' tree, whose arrays are [B, L, H, E]."""
    layers = cache["decoder"]["layers"]
    parts = [layers[str(number)]["self_attn"] for number in range(len(layers))]
    memory = tuple((p["cached_key"].swapaxes(1, 2), p["cached_value"].swapaxes(1, 2)) for p in parts)
    if mask is not None:
        mask = jnp.asarray(mask, jnp.int32)
        room = memory[0][0].shape[2]
        if mask.shape[1] > room:
            raise BadSetting(f"the mask covers {mask.shape[1]} tokens; the memory has room for {room}")
        mask = jnp.pad(mask, ((0, 0), (0, room - mask.shape[1])), constant_values=1)
    return Past(memory, parts[0]["cache_index"], mask)
