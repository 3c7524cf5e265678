"""Tensor parallelism: which axis of each parameter is spread over the devices of a mesh.

A layer's first products are spread by what comes out (heads, the inner width), its last ones by what goes
in, so that the devices exchange numbers once behind each of both. Tables of tokens are spread by tokens
where they divide, else by width. What does not divide, and every norm, is whole on each device.
"""

from __future__ import annotations

from typing import Any

from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pegasus.backends.jax.model import weights
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import Model, Parameter

#: Layers whose results are spread; those of ``_FROM`` take them in.
_OUT = ("q_proj", "k_proj", "v_proj", "fc1", "lm_head")
_FROM = ("out_proj", "fc2")


def tensor_spec(path: weights.Path, leaf: Parameter, devices: int, axis: str = "model") -> PartitionSpec:
    """How one parameter is spread.

    Args:
        path: where it is in the tree.
        leaf: what it is.
        devices: over how many.
        axis: what the mesh calls them.
    """
    shape, layer = weights.shape(leaf), path[-2] if len(path) > 1 else ""
    if leaf.kind == "embedding":
        wanted = [0, 1]
    elif leaf.kind == "kernel":
        wanted = [1] if layer in _OUT else [0] if layer in _FROM else []
    else:
        wanted = [0] if leaf.kind == "bias" and layer in _OUT else []
    chosen = next((at for at in wanted if shape[at] % devices == 0), None)
    return PartitionSpec(*(axis if at == chosen else None for at in range(len(shape))))


def tensor_shardings(config: PegasusConfig, kind: Model, mesh: Mesh, axis: str = "model") -> dict[str, Any]:
    """The tree of parameters with a ``NamedSharding`` in the place of each, for ``jax.device_put``.

    Args:
        config: the shapes.
        kind: "bare" or "conditional".
        mesh: has the axis.
        axis: along which parameters are spread.
    """
    devices = mesh.shape[axis]
    leaves = weights.leaves(config, kind).items()
    specs = {path: tensor_spec(path, leaf, devices, axis) for path, leaf in leaves}
    return weights.nested({path: NamedSharding(mesh, spec) for path, spec in specs.items()})
