"""Learning in JAX: one update over any number of micro-batches, on one device or on all of a process.

Losses are divided by the number of tokens of the whole update before the backward pass. Rows are spread
over the devices of a mesh ("ddp" keeps all weights on each, "fsdp" a share of each; "tensor" spreads the
layers themselves, and each device reads all rows), and the compiler adds what is to be added. Dropout is
drawn from the seed, the update and the micro-batch, so that a run that goes on draws what it would have
drawn.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pegasus.backends.contract import Batch
from pegasus.backends.contract.learning import Measures, Objective, OptimSettings, Placement, Ranks
from pegasus.backends.jax.devices import device_named
from pegasus.backends.jax.learning import lora
from pegasus.backends.jax.learning.distillation import Guide, guide_of
from pegasus.backends.jax.learning.loss import losses, rounded
from pegasus.backends.jax.learning.optim import Leaf, fresh_state, rule_for, update_all
from pegasus.backends.jax.model import weights
from pegasus.backends.jax.model.mode import Mode
from pegasus.backends.jax.model.sharding import tensor_spec
from pegasus.backends.learning.accounting import (
    count_tokens,
    part_scales,
    part_weights,
    source_tokens,
    update_totals,
)
from pegasus.backends.learning.alone import Alone
from pegasus.backends.learning.freezing import learns
from pegasus.backends.learning.scale import LossScale
from pegasus.backends.learning.schedules import learning_rate
from pegasus.checkpoint.files import read_safetensors
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.writing import Staging
from pegasus.errors import BadSetting, CheckpointMismatch, CheckpointNotFound, NotOffered, PegasusError
from pegasus.spec.parameters import Parameter

STATE = "state.safetensors"


def join(placement: Placement) -> Alone:
    """This process alone: its devices learn together.

    Raises:
        NotOffered: a launcher started several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 or jax.process_count() > 1:
        raise NotOffered(
            "the JAX backend learns in one process, on all of its devices: start it without torchrun and "
            "without jax.distributed"
        )
    return Alone()


class JaxEngine:
    """Teaches one model; see ``pegasus.backends.contract.Engine``.

    Args:
        model: a Flax model with a head. Its parameters are replaced after each update.
        optim: how weights are changed.
        objective: what is learned.
        placement: where, and in which numbers.
        ranks: this process.
        teacher: the model that ``objective.distillation`` compares with, whole on each device.
    """

    def __init__(
        self,
        model: Any,
        optim: OptimSettings,
        objective: Objective,
        placement: Placement,
        ranks: Ranks,
        teacher: Any = None,
    ) -> None:
        _refuse(model, objective)
        self.model, self.optim, self.objective, self.ranks = model, optim, objective, ranks
        self.updates = self.applied = 0
        self.scale = LossScale(placement.precision == "float16")
        model.dtype = jnp.dtype(placement.precision)
        model.gradient_checkpointing = placement.gradient_checkpointing or model.gradient_checkpointing
        self.mesh, self.spread = _mesh(placement), placement.spread
        leaves = weights.leaves(model.config, model.kind)
        small = lora.side_leaves(leaves, objective.lora)
        leaves |= small
        self.learning = {path: leaf for path, leaf in leaves.items() if _learns(leaf, objective)}
        if not self.learning:
            raise BadSetting(
                "nothing is left to learn: every parameter is frozen, thaw a part of the model"
            )
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

    def step(self, batches: Sequence[Batch], progress: float = 0.0) -> Measures:
        """One update over all these micro-batches."""
        parts = self.objective.all_parts
        counts = [count_tokens(batch, parts) for batch in batches]
        totals, sources = update_totals(batches, counts, parts, self.ranks)
        sums: dict[str, float] = dict.fromkeys(parts, 0.0)
        gradients = None
        for number, (batch, count) in enumerate(zip(batches, counts)):
            scales = part_scales(self.objective, count, totals, len(batches), self.ranks.count)
            found, slopes = self._differentiate(batch, scales, number)
            gradients = slopes if gradients is None else _add(gradients, slopes)
            for part, value in found.items():
                sums[part] += float(value)
        rate = learning_rate(self.optim, self.updates, progress)
        norm = self._update(gradients, rate)
        rest = {"norm": norm, "rate": rate, "skipped": not math.isfinite(norm)}
        return self._measures(sums, totals, sources, **rest)

    def measure(self, batch: Batch) -> Measures:
        """The loss of one batch without smoothing or dropout."""
        count = count_tokens(batch, self.objective.parts)
        arrays = self._on_devices(batch)
        found = _evaluate(
            self.model.module,
            self._variables(self.weights, arrays),
            arrays,
            self.objective.parts,
            self._starts(),
        )
        sums: dict[str, float] = {part: float(found.get(part, 0.0)) for part in self.objective.parts}
        found = self._measures(sums, count, source_tokens(batch))
        # Held-out loss is comparable with that of a model which learned without a teacher.
        return found if self.guide is None else replace(found, weights={"target": 1.0})

    def _differentiate(self, batch: Batch, scales: dict[str, float], number: int) -> tuple[Any, Any]:
        key = jax.random.key(self.objective.seed)
        for part in (self.updates, number):
            key = jax.random.fold_in(key, part)
        factors = {part: np.float32(scale * self.scale.value) for part, scale in scales.items()}
        arrays = self._on_devices(batch)
        taught = self._taught(arrays)
        (_, found), slopes = self._slopes(self.weights, arrays, factors, key, taught, train=True)
        return found, slopes

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

    def _update(self, gradients: Any, rate: float) -> float:
        """Clip and apply the gradients, if they are finite. Returns their norm."""
        norm = float(_norm(gradients)) / self.scale.value
        self.updates += 1
        if math.isfinite(norm):
            factor = 1 / self.scale.value
            if self.optim.clip_norm is not None:
                factor *= min(1.0, self.optim.clip_norm / (norm + 1e-6))
            if factor != 1:
                gradients = _scaled(gradients, np.float32(factor))
            self.weights, self.states = self._change(
                self.weights, gradients, self.states, np.float32(rate), np.float32(self.applied)
            )
            self.applied += 1
        self.scale.update(math.isfinite(norm))
        return norm

    def _measures(
        self, sums: dict[str, float], counts: dict[str, int], source_tokens: int, **rest: Any
    ) -> Measures:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = peak if sys.platform == "darwin" else peak * 1024
        return Measures(sums, counts, part_weights(self.objective), source_tokens, memory=memory, **rest)

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

    def save(self, folder: Path) -> None:
        """Write weights, the optimizer's state and how far the run is."""
        notes = {"updates": self.updates, "applied": self.applied, "scale": self.scale.state()}
        notes["optimizer"] = self.optim.name
        tensors = {name: RawTensor.from_array(np.asarray(one)) for name, one in self._named().items()}
        metadata = {"notes": json.dumps(notes), "format": "pegasus-run-jax"}
        with Staging(folder) as staging:
            staging.add_tensors(STATE, tensors, metadata)

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote, on as many devices or on another number.

        Raises:
            CheckpointNotFound: it is not there.
            CheckpointMismatch: it was saved by another kind of model or optimizer.
        """
        if not (folder / STATE).is_file():
            raise CheckpointNotFound(f"{folder} holds no {STATE}: it is no run that JAX saved")
        tensors, metadata = read_safetensors(folder / STATE)
        notes = json.loads(metadata["notes"])
        mine = self._named()
        if notes["optimizer"] != self.optim.name or tensors.keys() != mine.keys():
            raise CheckpointMismatch(
                f"{folder} was saved by the optimizer {notes['optimizer']!r} with {len(tensors)} tensors, "
                f"this job has {self.optim.name!r} with {len(mine)}: go on with the same job, or start a "
                "new run from the exported model"
            )
        if wrong := [name for name, raw in tensors.items() if raw.shape != mine[name].shape]:
            raise CheckpointMismatch(
                f"{len(wrong)} tensors of {folder} have another shape, such as {wrong[0]}"
            )
        found = {name: np.array(raw.array()) for name, raw in tensors.items()}
        for path, state in self.states.items():
            name = "/".join(path)
            self.weights[path] = self._place(found[f"model/{name}"], path)
            self.states[path] = {key: self._place(found[f"optim/{name}/{key}"], path, key) for key in state}
        self.updates, self.applied = int(notes["updates"]), int(notes["applied"])
        self.scale.restore(notes["scale"])

    def _named(self) -> dict[str, jax.Array]:
        named = {f"model/{'/'.join(path)}": one for path, one in self.weights.items()}
        for path, state in self.states.items():
            named |= {f"optim/{'/'.join(path)}/{key}": one for key, one in state.items()}
        return named

    def export(self, folder: Path) -> None:
        """Write the model as a checkpoint.

        Raises:
            PegasusError: weights are not finite.
        """
        broken = ["/".join(path) for path, one in self.weights.items() if not np.isfinite(one).all()]
        if broken:
            raise PegasusError(
                f"after {self.updates:,} updates {len(broken)} of {len(self.weights)} weights are not "
                f"finite, such as {broken[0]}: nothing was exported. Use a lower rate, or clip_norm"
            )
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


def _learns(leaf: Parameter, objective: Objective) -> bool:
    return leaf.kind != "logits_bias" and learns(leaf.name, objective, embedding=_is_table(leaf))


def _is_table(leaf: Parameter) -> bool:
    return leaf.kind == "embedding" or leaf.name == "lm_head.weight"


def _known(leaf: Parameter) -> Leaf:
    return Leaf(leaf.kind, _is_table(leaf), len(leaf.shape))


def _guide(teacher: Any, model: Any, objective: Objective) -> Guide | None:
    if objective.distillation is None:
        return None
    if teacher is None:
        raise BadSetting("objective.distillation needs a teacher: use a job of pegasus distill")
    return guide_of(teacher, model.config, objective.distillation)


def _refuse(model: Any, objective: Objective) -> None:
    if getattr(model, "kind", None) != "conditional":
        raise BadSetting(f"a {type(model).__name__} has no head to learn with: use one that has")
