"""LoRA in JAX: ``pegasus.backends.learning.lora`` as leaves beside the tree, and a collection of modules.

Here as elsewhere matrices are [in, out]: A is kept as [in, rank] and B as [rank, out].
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from pegasus.backends.contract.learning import LoraSettings
from pegasus.backends.jax.model import weights
from pegasus.backends.jax.model.weights import Path
from pegasus.backends.learning.lora import adapted_layers, first_bound, side_name, side_shapes
from pegasus.spec.parameters import Parameter


def side_leaves(leaves: Mapping[Path, Parameter], settings: LoraSettings | None) -> dict[Path, Parameter]:
    """The small matrices by their paths: A and B stand beside the kernel of their layer.

    Raises:
        BadSetting: no layer has such a name.
    """
    if settings is None:
        return {}
    found = {}
    for layer, shape in adapted_layers(leaves.values(), settings).items():
        kernel = next(path for path, leaf in leaves.items() if leaf.name == f"{layer}.weight")
        for side, small in side_shapes(shape, settings).items():
            found[*kernel[:-1], f"lora_{side}"] = Parameter(side_name(layer, side), small, "kernel")
    return found


def first(path: Path, leaf: Parameter, seed: int) -> jax.Array:
    """The first numbers of a small matrix: A's are drawn, B's are zero."""
    shape = weights.shape(leaf)
    if path[-1] == "lora_B":
        return jnp.zeros(shape)
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(leaf.name.encode()))
    bound = first_bound(shape[0])
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def collection(learning: Mapping[Path, Any], settings: LoraSettings | None, train: bool) -> dict[str, Any]:
    """What modules get as "lora": A, ``alpha / rank`` times B, and the share of inputs that is kept."""
    if settings is None:
        return {}
    found: dict[Path, Any] = {}
    for path, small in learning.items():
        if path[-1] == "lora_A":
            found[path] = small
            if train and settings.dropout:
                found[*path[:-1], "keep"] = jnp.float32(1 - settings.dropout)
        elif path[-1] == "lora_B":
            found[path] = small * (settings.alpha / settings.rank)
    return weights.nested(found)


def merged(flat: Mapping[Path, Any], settings: LoraSettings | None) -> dict[Path, Any]:
    """The parameters of the plain model: each product added to the matrix that it stood beside."""
    plain = {path: one for path, one in flat.items() if not path[-1].startswith("lora_")}
    if settings is None:
        return plain
    factor = settings.alpha / settings.rank
    for path, down in flat.items():
        if path[-1] == "lora_A":
            kernel, up = (*path[:-1], "kernel"), flat[*path[:-1], "lora_B"]
            product = factor * jnp.dot(down, up, precision=jax.lax.Precision.HIGHEST)
            plain[kernel] = (plain[kernel].astype(jnp.float32) + product).astype(plain[kernel].dtype)
    return plain
