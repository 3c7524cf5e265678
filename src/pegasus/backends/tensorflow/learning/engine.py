"""Learning in TensorFlow: one update over any number of micro-batches, on all devices of a process.

Losses are divided by the number of tokens of the whole update before the backward pass. With several
devices ``tf.distribute.MirroredStrategy`` keeps all weights on each: each reads its share of the rows, and
gradients are added. Dropout is drawn from the seed, the update and the micro-batch, so that a run that goes
on draws what it would have drawn. Graphs are traced once, for batches of any size.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pegasus.backends.contract import Batch
from pegasus.backends.contract.learning import Measures, Objective, OptimSettings, Placement, Ranks
from pegasus.backends.learning.accounting import (
    count_tokens,
    part_scales,
    part_weights,
    source_tokens,
    update_totals,
)
from pegasus.backends.learning.alone import Alone
from pegasus.backends.learning.freezing import learns
from pegasus.backends.learning.run_state import SavedState, write_state
from pegasus.backends.learning.scale import LossScale
from pegasus.backends.learning.schedules import learning_rate
from pegasus.backends.tensorflow.devices import device_named
from pegasus.backends.tensorflow.inference.programs import opened
from pegasus.backends.tensorflow.learning.loss import losses, tensors_of
from pegasus.backends.tensorflow.learning.optim import Leaf, rule_for, state_shapes
from pegasus.backends.tensorflow.model.layers import Draws, Mode, exact
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import BadSetting, CheckpointMismatch, NotOffered, PegasusError
from pegasus.spec.parameters import Parameter


def join(placement: Placement) -> Alone:
    """This process alone: its devices learn together.

    Raises:
        NotOffered: a launcher started several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise NotOffered(
            "the TensorFlow backend learns in one process, on all of its devices: start it without torchrun"
        )
    return Alone()


class TfEngine:
    """Teaches one model; see ``pegasus.backends.contract.Engine``.

    Args:
        model: a TF model with a head. On one device in float32 it is changed itself, else a copy of it.
        optim: how weights are changed.
        objective: what is learned.
        placement: where, and in which numbers.
        ranks: this process.
    """

    def __init__(
        self, model: Any, optim: OptimSettings, objective: Objective, placement: Placement, ranks: Ranks
    ) -> None:
        _refuse(model, objective, placement)
        self.optim, self.objective, self.ranks = optim, objective, ranks
        self.updates = self.applied = 0
        self.scale = LossScale(placement.precision == "float16")
        self.strategy = _strategy(placement)
        self.model = _placed(model, placement.precision, self.strategy)
        self.remat = placement.gradient_checkpointing or model.gradient_checkpointing
        spec, mine = self.model._spec(), self.model.variables_by_name()
        self.leaves = {name: leaf for name, leaf in spec.items() if _learns(leaf, objective)}
        if not self.leaves:
            raise BadSetting(
                "nothing is left to learn: every parameter is frozen, thaw a part of the model"
            )
        self.weights = {name: exact(mine[name]) for name in self.leaves}
        known = {name: Leaf(_is_table(leaf), tuple(mine[name].shape)) for name, leaf in self.leaves.items()}
        self.rules = {name: rule_for(one, optim) for name, one in known.items()}
        with self.strategy.scope():
            self.states = {
                name: {key: tf.Variable(tf.zeros(shape)) for key, shape in state_shapes(one, optim).items()}
                for name, one in known.items()
            }
        self._programs: dict[Any, Any] = {}
        self._change = opened(self._changed)

    # -- learning ------------------------------------------------------------------------------------------

    def step(self, batches: Sequence[Batch], progress: float = 0.0) -> Measures:
        """One update over all these micro-batches."""
        parts = self.objective.parts
        counts = [count_tokens(batch, parts) for batch in batches]
        totals, sources = update_totals(batches, counts, parts, self.ranks)
        sums: dict[str, float] = dict.fromkeys(parts, 0.0)
        gradients: Any = None
        for number, (batch, count) in enumerate(zip(batches, counts)):
            scales = part_scales(self.objective, count, totals, len(batches), self.ranks.count)
            found, slopes = self._differentiate(batch, scales, number)
            gradients = slopes if gradients is None else tf.nest.map_structure(tf.add, gradients, slopes)
            for part, value in found.items():
                sums[part] += float(value)
        rate = learning_rate(self.optim, self.updates, progress)
        norm = self._update(gradients, rate)
        rest = {"norm": norm, "rate": rate, "skipped": not math.isfinite(norm)}
        return self._measures(sums, totals, sources, **rest)

    def measure(self, batch: Batch) -> Measures:
        """The loss of one batch without smoothing or dropout."""
        count = count_tokens(batch, self.objective.parts)
        tensors = tensors_of(batch)
        key = ("measure", *sorted(tensors))
        if key not in self._programs:
            self._programs[key] = opened(
                lambda batch: losses(self.model, batch, Mode(), self.objective.parts, 0.0)
            )
        found = self._programs[key](tensors)
        sums: dict[str, float] = {part: float(found.get(part, 0.0)) for part in self.objective.parts}
        return self._measures(sums, count, source_tokens(batch))

    def _differentiate(self, batch: Batch, scales: dict[str, float], number: int) -> tuple[Any, Any]:
        seed = tf.constant([self.objective.seed & 0x7FFFFFFF, 0], tf.int32)
        for part in (self.updates, number):
            seed = tf.random.experimental.stateless_fold_in(seed, part)
        factors = {part: tf.constant(scale * self.scale.value) for part, scale in scales.items()}
        tensors = tensors_of(batch)
        key = tuple(sorted(tensors))
        if key not in self._programs:
            self._programs[key] = opened(self._differentiated)
        return self._programs[key](tensors, factors, seed)  # type: ignore[no-any-return]

    def _differentiated(self, batch: Any, factors: Any, seed: tf.Tensor) -> tuple[Any, Any]:
        """Losses and gradients of a batch, added over all devices."""

        def replica() -> Any:
            context = tf.distribute.get_replica_context()
            number, count = context.replica_id_in_sync_group, self.strategy.num_replicas_in_sync
            mine, own = batch, seed
            if count > 1:
                rows = tf.shape(batch["input_ids"])[0]
                first, last = rows * number // count, rows * (number + 1) // count
                mine = {name: one[first:last] for name, one in batch.items()}
                own = tf.random.experimental.stateless_fold_in(seed, number)
            found, slopes = self._slopes(mine, factors, own)
            if count > 1:
                found, slopes = context.all_reduce(tf.distribute.ReduceOp.SUM, (found, slopes))
            return found, slopes

        results = self.strategy.run(replica)
        return tf.nest.map_structure(lambda one: self.strategy.experimental_local_results(one)[0], results)  # type: ignore[no-any-return]

    def _slopes(self, batch: Any, factors: Any, seed: tf.Tensor) -> tuple[Any, Any]:
        broadcast = self.objective.dropout == "broadcast"
        mode = Mode(Draws(seed), shared_dropout=broadcast, remat=self.remat)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(self.weights.values()))
            found = losses(self.model, batch, mode, self.objective.parts, self.objective.label_smoothing)
            total = sum((found[part] * factors[part] for part in found), tf.zeros(()))
        gradients = tape.gradient(total, self.weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        slopes = {name: tf.convert_to_tensor(one) for name, one in gradients.items()}
        pad = self.model.config.pad_token_id
        for name, leaf in self.leaves.items():
            if leaf.kind == "embedding" and pad is not None:  # the row of padding stays what it is
                others = tf.range(leaf.shape[0]) != pad
                slopes[name] = tf.where(others[:, None], slopes[name], 0.0)
        return found, slopes

    def _update(self, gradients: Any, rate: float) -> float:
        """Clip and apply the gradients, if they are finite. Returns their norm."""
        norm = float(tf.linalg.global_norm(tf.nest.flatten(gradients))) / self.scale.value
        self.updates += 1
        if math.isfinite(norm):
            factor = 1 / self.scale.value
            if self.optim.clip_norm is not None:
                factor *= min(1.0, self.optim.clip_norm / (norm + 1e-6))
            self._change(gradients, *(tf.constant(one, tf.float32) for one in (factor, rate, self.applied)))
            self.applied += 1
        self.scale.update(math.isfinite(norm))
        return norm

    def _changed(self, gradients: Any, factor: tf.Tensor, rate: tf.Tensor, applied: tf.Tensor) -> None:
        for name, variable in self.weights.items():
            keys, rule = list(self.states[name]), self.rules[name]

            def change(
                one: Any, slope: Any, *slots: Any, keys: list[str] = keys, rule: Any = rule
            ) -> tf.Operation:
                weight, state = rule(one, slope, dict(zip(keys, slots)), rate, applied)
                return tf.group(
                    one.assign(weight), *(slot.assign(state[key]) for key, slot in zip(keys, slots))
                )

            slope = tf.ensure_shape(gradients[name] * factor, variable.shape)
            self.strategy.extended.update(variable, change, args=(slope, *self.states[name].values()))

    def _measures(
        self, sums: dict[str, float], counts: dict[str, int], source_tokens: int, **rest: Any
    ) -> Measures:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = peak if sys.platform == "darwin" else peak * 1024
        return Measures(sums, counts, part_weights(self.objective), source_tokens, memory=memory, **rest)

    # -- remembering ---------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights, the optimizer's state and how far the run is; matrices are [in, out]."""
        notes = {"updates": self.updates, "applied": self.applied, "scale": self.scale.state()}
        notes |= {"optimizer": self.optim.name, "framework": "tensorflow"}
        tensors = {name: RawTensor.from_array(one.numpy()) for name, one in self._named().items()}
        write_state(folder, 0, 1, tensors, notes)

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote, on as many devices or on another number.

        Raises:
            CheckpointCorrupt: it is not there.
            CheckpointMismatch: it was saved by another kind of model or optimizer, or by another backend.
        """
        saved, mine = SavedState(folder), self._named()
        saved.require_optimizer(self.optim.name)
        if saved.notes.get("framework") != "tensorflow":
            raise CheckpointMismatch(
                f"{folder} was saved by another backend: go on with that one, or start a new run from the "
                "exported model"
            )
        found = {name: saved.read(name).array() for name in mine}
        if wrong := [name for name, array in found.items() if array.shape != tuple(mine[name].shape)]:
            raise CheckpointMismatch(
                f"{len(wrong)} tensors of {folder} have another shape, such as {wrong[0]}: it belongs to "
                "another job"
            )
        for name, array in found.items():
            mine[name].assign(np.array(array))
        self.updates, self.applied = int(saved.notes["updates"]), int(saved.notes["applied"])
        self.scale.restore(saved.notes["scale"])

    def _named(self) -> dict[str, Any]:
        named = {f"model/{name}": one for name, one in self.weights.items()}
        for name, state in self.states.items():
            named |= {f"optim/{name}/{key}": one for key, one in state.items()}
        return named

    def export(self, folder: Path) -> None:
        """Write the model as a checkpoint.

        Raises:
            PegasusError: weights are not finite.
        """
        broken = [name for name, one in self.weights.items() if not np.isfinite(one.numpy()).all()]
        if broken:
            raise PegasusError(
                f"after {self.updates:,} updates {len(broken)} of {len(self.weights)} weights are not "
                f"finite, such as {broken[0]}: nothing was exported. Use a lower rate, or clip_norm"
            )
        self.model.save_pretrained(folder)


def _strategy(placement: Placement) -> Any:
    """All devices of one kind, in step."""
    name = placement.device.replace("cuda", "gpu")
    if name == "auto":
        name = "gpu" if tf.config.list_logical_devices("GPU") else "cpu"
    kind = tf.DeviceSpec.from_string(device_named(name)).device_type
    devices = [one.name for one in tf.config.list_logical_devices(kind)]
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()


def _placed(model: Any, precision: str, strategy: Any) -> Any:
    """The model, or a copy whose weights are float32 and where the strategy wants them."""
    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    if strategy.num_replicas_in_sync == 1 and model.dtype_policy.name == policy:
        return model
    with strategy.scope():
        copied = type(model)(model.config, dtype=policy, _build=False)
        copied._accept(model._arrays())
    if "_generation_config" in model.__dict__:
        copied.generation_config = model.generation_config
    return copied


def _learns(leaf: Parameter, objective: Objective) -> bool:
    return leaf.kind != "logits_bias" and learns(leaf.name, objective, embedding=_is_table(leaf))


def _is_table(leaf: Parameter) -> bool:
    return leaf.kind == "embedding" or leaf.name == "lm_head.weight"


def _refuse(model: Any, objective: Objective, placement: Placement) -> None:
    if getattr(model, "kind", None) != "conditional":
        raise BadSetting(f"a {type(model).__name__} has no head to learn with: use one that has")
    if objective.lora is not None:
        raise NotOffered(
            "the TensorFlow backend has no LoRA: leave objective.lora out, or learn with torch"
        )
    if placement.spread == "fsdp":
        raise NotOffered(
            "the TensorFlow backend keeps all weights on every device: leave placement.spread out, or "
            "learn with jax or torch"
        )
