"""Learning in JAX: one update over any number of micro-batches, on one device or on all of a process.

Losses are divided by the number of tokens of the whole update before the backward pass. Rows are spread
over the devices of a mesh ("ddp" keeps all weights on each, "fsdp" a share of each; "tensor" spreads the
layers themselves, and each device reads all rows), and the compiler adds what is to be added. Dropout is
drawn from the seed, the update and the micro-batch, so that a run that goes on draws what it would have
drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pegasus.backends.contract import Batch
from pegasus.backends.contract.learning import Objective, OptimSettings, Placement, Ranks
from pegasus.backends.jax.devices import device_named
from pegasus.backends.jax.learning import lora
from pegasus.backends.jax.learning.distillation import Guide, guide_of
from pegasus.backends.jax.learning.loss import losses, rounded
from pegasus.backends.jax.learning.optim import Leaf, fresh_state, rule_for, update_all
from pegasus.backends.jax.model import weights
from pegasus.backends.jax.model.mode import Mode
from pegasus.backends.jax.model.sharding import tensor_spec
from pegasus.backends.learning.alone import Alone
from pegasus.backends.learning.engine import (
    BaseEngine,
    is_table,
    join_alone,
    refuse_placement,
    thawed,
)
from pegasus.errors import BadSetting
from pegasus.spec.parameters import Parameter


def join(placement: Placement) -> Alone:
    """This process alone, with all of its devices."""
    return join_alone("JAX", jax.process_count())


class JaxEngine(BaseEngine):
    """Teaches one Flax model, whose parameters are replaced after each update.

    Args:
        model: a Flax model with a head.
        optim: how weights are changed.
        objective: what is learned.
        placement: where, and in which numbers.
        ranks: this process.
        teacher: the model that ``objective.distillation`` compares with, whole on each device.
    """

    framework = "jax"

    def __init__(
        self,
        model: Any,
        optim: OptimSettings,
        objective: Objective,
        placement: Placement,
        ranks: Ranks,
        teacher: Any = None,
    ) -> None:
        super().__init__(model, optim, objective, ranks, placement.precision)
        refuse_placement("JAX", placement)
        model.dtype = jnp.dtype(placement.precision)
        model.gradient_checkpointing = placement.gradient_checkpointing or model.gradient_checkpointing
        self.mesh, self.spread = _mesh(placement), placement.spread
        leaves = weights.leaves(model.config, model.kind)
        small = lora.side_leaves(leaves, objective.lora)
        leaves |= small
        self.learning = thawed(leaves, objective)
        known = {path: _known(leaf) for path, leaf in self.learning.items()}
        self.rules = {path: rule_for(one, optim) for path, one in known.items()}
        flat = weights.flat(model.params)
        flat |= {path: lora.first(path, leaf, objective.seed) for path, leaf in small.items()}
        self.specs = {path: self._spec(path, leaf) for path, leaf in leaves.items()}
        self.still = {path: self._place(flat[path], path) for path in leaves if path not in self.learning}
        self.weights = {path: self._place(flat[path].astype(jnp.float32), path) for path in self.learning}
        self.states = {
            path: {key: self._place(one, path, key) for key, one in state.items()}
            for path, state in ((p, fresh_state(one, self.weights[p], optim)) for p, one in known.items())
        }
        self.teacher, self.guide = teacher, _guide(teacher, model, objective)
        self._slopes = jax.jit(self._differentiated, static_argnames="train")
        self._change = jax.jit(partial(update_all, self.rules), donate_argnums=(0, 2))

    # -- learning ------------------------------------------------------------------------------------------

    def differentiate(
        self, batch: Batch, scales: dict[str, float], number: int
    ) -> tuple[Mapping[str, Any], Any]:
        """The sums of the losses of a micro-batch, and gradients by path."""
        key = jax.random.key(self.objective.seed)
        for part in (self.updates, number):
            key = jax.random.fold_in(key, part)
        factors = {part: np.float32(scale) for part, scale in scales.items()}
        arrays = self._on_devices(batch)
        taught = self._taught(arrays)
        (_, found), slopes = self._slopes(self.weights, arrays, factors, key, taught, train=True)
        return found, slopes

    def evaluate(self, batch: Batch) -> Mapping[str, Any]:
        """The sums of the losses without smoothing or dropout."""
        arrays = self._on_devices(batch)
        variables = self._variables(self.weights, arrays)
        found: dict[str, jax.Array] = _evaluate(
            self.model.module, variables, arrays, self.objective.parts, self._starts()
        )
        return found

    def added(self, gradients: Any, more: Any) -> Any:
        """The sum of two gradients."""
        return _add(gradients, more)

    def norm(self, gradients: Any) -> float:
        """The root of the sum of their squares."""
        return float(_norm(gradients))

    def apply(self, gradients: Any, factor: float, rate: float) -> None:
        """New weights and optimizer state in the place of the old."""
        if factor != 1:
            gradients = _scaled(gradients, np.float32(factor))
        self.weights, self.states = self._change(
            self.weights, gradients, self.states, np.float32(rate), np.float32(self.applied)
        )

    def _taught(self, arrays: Any) -> Any:
        if self.guide is None:
            return None
        longest = max(array.shape[1] for array in arrays.values())
        return jax.device_put(
            self.teacher.variables(None, longest), NamedSharding(self.mesh, PartitionSpec())
        )

    def _differentiated(
        self, learning: Any, batch: Any, scales: Any, key: Any, taught: Any, train: bool
    ) -> Any:
        mode = Mode(train=train, shared_dropout=self.objective.dropout == "broadcast")

        def total(learning: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
            variables = self._variables(learning, batch, train)
            settings = (mode, self.objective.parts, self.objective.label_smoothing, self._starts())
            found = losses(self.model.module, variables, batch, key, *settings, self.guide, taught)
            return sum((found[part] * scales[part] for part in found), jnp.float32(0)), found

        value, slopes = jax.value_and_grad(total, has_aux=True)(learning)
        pad = self.model.config.pad_token_id
        for path, leaf in self.learning.items():
            if leaf.kind == "embedding" and pad is not None:
                slopes[path] = slopes[path].at[pad].set(0)  # the row of padding stays what it is
        return value, slopes

    # -- places --------------------------------------------------------------------------------------------

    def _spec(self, path: weights.Path, leaf: Parameter) -> PartitionSpec:
        """Which axis of a weight each device has a share of; none where weights are whole everywhere."""
        count, shape = self.mesh.size, weights.shape(leaf)
        if self.spread == "tensor":
            return tensor_spec(path, leaf, count, "data")
        divides = (at for at, size in enumerate(shape) if size % count == 0)
        chosen = next(divides, None) if self.spread == "fsdp" else None
        return PartitionSpec(*("data" if at == chosen else None for at in range(len(shape))))

    def _place(self, array: Any, path: weights.Path, key: str = "") -> jax.Array:
        """On the devices: a weight, or what the optimizer remembers of it, of its rows or columns too."""
        spec = tuple(self.specs[path])
        spec = {"row": spec[:-1], "column": spec[1:]}.get(key, spec)
        return jax.device_put(array, NamedSharding(self.mesh, PartitionSpec(*spec)))

    def _on_devices(self, batch: Batch) -> dict[str, jax.Array]:
        pad = self.model.config.pad_token_id or 0
        # Where each device has a share of every layer, all of them read all rows.
        whole = self.spread == "tensor"
        rows = NamedSharding(self.mesh, PartitionSpec(None if whole else "data"))
        arrays = rounded(batch, 1 if whole else self.mesh.size, pad)
        return {name: jax.device_put(array, rows) for name, array in arrays.items()}

    def _variables(self, learning: Any, batch: Any, train: bool = False) -> dict[str, Any]:
        longest = max(array.shape[1] for array in batch.values())
        plain = {path: one for path, one in learning.items() if not path[-1].startswith("lora_")}
        variables: dict[str, Any] = self.model.variables(weights.nested({**self.still, **plain}), longest)
        return variables | {"lora": lora.collection(learning, self.objective.lora, train)}

    def _starts(self) -> tuple[int, int]:
        return self.model.config.pad_token_id or 0, self.model.config.decoder_start_token_id

    # -- remembering ---------------------------------------------------------------------------------------

    def named(self) -> Mapping[str, Any]:
        """Arrays by their names in a saved run."""
        named = {f"model/{'/'.join(path)}": one for path, one in self.weights.items()}
        for path, state in self.states.items():
            named |= {f"optim/{'/'.join(path)}/{key}": one for key, one in state.items()}
        return named

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the arrays of a saved run, spread as this run spreads them."""
        for path, state in self.states.items():
            name = "/".join(path)
            self.weights[path] = self._place(arrays[f"model/{name}"], path)
            self.states[path] = {
                key: self._place(arrays[f"optim/{name}/{key}"], path, key) for key in state
            }

    def write_model(self, folder: Path) -> None:
        """Write the model as a checkpoint, LoRA merged."""
        plain = lora.merged({**self.still, **self.weights}, self.objective.lora)
        self.model.save_pretrained(folder, weights.nested(plain))


@partial(jax.jit, static_argnames=("module", "parts", "starts"))
def _evaluate(module: Any, variables: Any, batch: Any, parts: Any, starts: Any) -> dict[str, jax.Array]:
    return losses(module, variables, batch, jax.random.key(0), Mode(), parts, 0.0, starts)


@jax.jit
def _add(one: Any, other: Any) -> Any:
    return jax.tree.map(jnp.add, one, other)


@jax.jit
def _scaled(gradients: Any, factor: Any) -> Any:
    return jax.tree.map(lambda slope: slope * factor, gradients)


@jax.jit
def _norm(gradients: Any) -> jax.Array:
    return jnp.sqrt(sum((slope * slope).sum() for slope in jax.tree.leaves(gradients)))


def _mesh(placement: Placement) -> Mesh:
    """All devices of one kind, in one row."""
    devices = jax.devices(device_named(placement.device).platform)
    return Mesh(np.array(devices), ("data",))


def _known(leaf: Parameter) -> Leaf:
    return Leaf(leaf.kind, is_table(leaf), len(leaf.shape))


def _guide(teacher: Any, model: Any, objective: Objective) -> Guide | None:
    if objective.distillation is None:
        return None
    if teacher is None:
        raise BadSetting("objective.distillation needs a teacher: use a job of pegasus distill")
    return guide_of(teacher, model.config, objective.distillation)
