"""Trees of parameters: shapes from the spec, fresh ones, casts, and to canonical names and back.

A path is the tuple of keys that leads to a parameter, as ``flax.traverse_util`` has it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import unfreeze
from flax.traverse_util import flatten_dict, unflatten_dict

from pegasus.backends.learning.drawing import embedding_deviation, matrix_bound
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig
from pegasus.spec.names import FLAX
from pegasus.spec.parameters import Model, Parameter, parameters

Path = tuple[str, ...]


def leaves(config: PegasusConfig, kind: Model) -> dict[Path, Parameter]:
    """The parameters of a model by their paths; tables of positions are none."""
    spec = parameters(config, kind).values()
    return {tuple(FLAX.spell(leaf).split("/")): leaf for leaf in spec if leaf.kind != "positions"}


def shape(leaf: Parameter) -> tuple[int, ...]:
    """As Flax keeps it: matrices of layers are [in, out]."""
    return leaf.shape[::-1] if leaf.kind == "kernel" else leaf.shape


def shape_tree(config: PegasusConfig, kind: Model, dtype: Any = jnp.float32) -> dict[str, Any]:
    """Shapes and types in place of arrays."""
    found = {path: jax.ShapeDtypeStruct(shape(leaf), dtype) for path, leaf in leaves(config, kind).items()}
    return nested(found)


def nested(flat: Mapping[Path, Any]) -> dict[str, Any]:
    """A tree of a flat dictionary."""
    tree: dict[str, Any] = unflatten_dict(flat)
    return tree


def flat(tree: Any) -> dict[Path, Any]:
    """A flat dictionary of a tree, frozen or not."""
    found: dict[Path, Any] = flatten_dict(unfreeze(tree))
    return found


def draw(
    config: PegasusConfig,
    wanted: Mapping[Path, Parameter],
    key: jax.Array,
    dtype: Any = jnp.float32,
    initial: str = "transformers",
) -> dict[Path, jax.Array]:
    """Fresh parameters: biases 0, norms 1, the row of padding 0.

    Args:
        config: shapes, ``init_std`` and the padding token.
        wanted: which.
        key: where chance starts from; a parameter's own numbers depend on it and on its name alone.
        dtype: what they are kept as.
        initial: "transformers" draws all matrices with the deviation ``init_std``; "authors" embeddings
            with D^-0.5, and matrices by Glorot's rule.
    """
    found = {}
    for path, leaf in wanted.items():
        mine = jax.random.fold_in(key, zlib.crc32(leaf.name.encode()))
        std = embedding_deviation(config.d_model) if initial == "authors" else config.init_std
        glorot = initial == "authors" and leaf.kind == "kernel"
        values = _drawn(mine, shape(leaf), leaf.kind, std, glorot, config.pad_token_id)
        found[path] = values.astype(dtype)
    return found


@partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _drawn(
    key: jax.Array, shape: tuple[int, ...], kind: str, std: float, glorot: bool, padding: int | None
) -> jax.Array:
    if kind == "scale":
        return jnp.ones(shape)
    if kind not in ("kernel", "embedding"):
        return jnp.zeros(shape)
    if glorot:
        bound = matrix_bound(shape[1], shape[0])
        return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
    values = std * jax.random.normal(key, shape)
    return values.at[padding].set(0) if kind == "embedding" and padding is not None else values


def turned(config: PegasusConfig, kind: Model, tree: Any, dtype: Any) -> dict[str, Any]:
    """The matrices that a step of the decoder reads, as [out, in] and in the type of products.

    The table of tokens, which stands so already, is itself.
    """
    found, parameters = {}, flat(tree)
    for path, leaf in leaves(config, kind).items():
        of_source = "encoder_attn" in path and path[-2] in ("k_proj", "v_proj")
        if leaf.kind == "kernel" and "encoder" not in path and not of_source:
            found[path] = jnp.asarray(parameters[path], dtype).T
        elif leaf.kind == "embedding":
            found[path] = jnp.asarray(parameters[path], dtype)
    return nested(found)


def from_raw(leaf: Parameter, raw: RawTensor, dtype: Any) -> jax.Array:
    """A parameter of a checkpoint; a copy, so that the file may be closed."""
    array = raw.array()
    turned = array.T if leaf.kind == "kernel" else array
    return jax.device_put(np.array(turned, dtype=dtype, order="C", copy=True))


def to_raw(config: PegasusConfig, kind: Model, tree: Any) -> Iterator[tuple[str, RawTensor]]:
    """Parameters by canonical name, as a checkpoint holds them."""
    found = flat(tree)
    for path, leaf in leaves(config, kind).items():
        array = np.asarray(found[path])
        yield leaf.name, RawTensor.from_array(array.T if leaf.kind == "kernel" else array)


def checked(tree: Any, required: Iterable[Path]) -> dict[str, Any]:
    """The tree as plain dictionaries.

    Raises:
        BadSetting: parameters are missing.
    """
    found = flat(tree)
    if missing := sorted("/".join(path) for path in set(required) - set(found)):
        raise BadSetting(
            f"{len(missing)} parameters are missing, such as {', '.join(missing[:3])}: give all that "
            "`required_params` names."
        )
    return nested(found)


def cast(tree: Any, dtype: Any, mask: Any = None) -> Any:
    """The floating numbers of a tree in another type, where ``mask`` (a tree of booleans) is true."""

    def one(values: Any, chosen: bool) -> Any:
        floating = jnp.issubdtype(jnp.result_type(values), jnp.floating)
        return jnp.asarray(values, dtype) if chosen and floating else values

    tree = unfreeze(tree)
    chosen = jax.tree.map(lambda _: True, tree) if mask is None else unfreeze(mask)
    return jax.tree.map(one, tree, chosen)
