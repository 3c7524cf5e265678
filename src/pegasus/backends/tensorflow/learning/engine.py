"""Learning in TensorFlow: one update over any number of micro-batches, on all devices of a process.

Losses are divided by the number of tokens of the whole update before the backward pass. With several
devices ``tf.distribute.MirroredStrategy`` keeps all weights on each: each reads its share of the rows, and
gradients are added. Dropout is drawn from the seed, the update and the micro-batch, so that a run that goes
on draws what it would have drawn. Graphs are traced once, for batches of any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pegasus.backends.contract import Batch
from pegasus.backends.contract.learning import Objective, OptimSettings, Placement, Ranks
from pegasus.backends.learning.alone import Alone
from pegasus.backends.learning.engine import BaseEngine, is_table, join_alone, refuse_placement, thawed
from pegasus.backends.tensorflow.devices import device_named
from pegasus.backends.tensorflow.inference.programs import opened
from pegasus.backends.tensorflow.learning.loss import losses, tensors_of
from pegasus.backends.tensorflow.learning.optim import Leaf, rule_for, state_shapes
from pegasus.backends.tensorflow.model.layers import Draws, Mode, exact
from pegasus.errors import NotOffered


def join(placement: Placement) -> Alone:
    """This process alone, with all of its devices."""
    return join_alone("TensorFlow", 1)


class TfEngine(BaseEngine):
    """Teaches one TF model.

    Args:
        model: a TF model with a head. On one device in float32 it is changed itself, else a copy of it.
        optim: how weights are changed.
        objective: what is learned.
        placement: where, and in which numbers.
        ranks: this process.
    """

    framework = "tensorflow"

    def __init__(
        self, model: Any, optim: OptimSettings, objective: Objective, placement: Placement, ranks: Ranks
    ) -> None:
        super().__init__(model, optim, objective, ranks, placement.precision)
        refuse_placement("TensorFlow", placement)
        _refuse(objective, placement)
        self.strategy = _strategy(placement)
        self.model = _placed(model, placement.precision, self.strategy)
        self.remat = placement.gradient_checkpointing or model.gradient_checkpointing
        spec, mine = self.model._spec(), self.model.variables_by_name()
        self.leaves = thawed(spec, objective)
        self.weights = {name: exact(mine[name]) for name in self.leaves}
        known = {name: Leaf(is_table(leaf), tuple(mine[name].shape)) for name, leaf in self.leaves.items()}
        self.rules = {name: rule_for(one, optim) for name, one in known.items()}
        with self.strategy.scope():
            self.states = {
                name: {key: tf.Variable(tf.zeros(shape)) for key, shape in state_shapes(one, optim).items()}
                for name, one in known.items()
            }
        self._programs: dict[Any, Any] = {}
        self._change = opened(self._changed)

    # -- learning ------------------------------------------------------------------------------------------

    def differentiate(
        self, batch: Batch, scales: dict[str, float], number: int
    ) -> tuple[Mapping[str, Any], Any]:
        """The sums of the losses of a micro-batch, and gradients by name."""
        seed = tf.constant([self.objective.seed & 0x7FFFFFFF, 0], tf.int32)
        for part in (self.updates, number):
            seed = tf.random.experimental.stateless_fold_in(seed, part)
        factors = {part: tf.constant(scale) for part, scale in scales.items()}
        tensors = tensors_of(batch)
        key = tuple(sorted(tensors))
        if key not in self._programs:
            self._programs[key] = opened(self._differentiated)
        return self._programs[key](tensors, factors, seed)  # type: ignore[no-any-return]

    def evaluate(self, batch: Batch) -> Mapping[str, Any]:
        """The sums of the losses without smoothing or dropout."""
        tensors = tensors_of(batch)
        key = ("measure", *sorted(tensors))
        if key not in self._programs:
            self._programs[key] = opened(
                lambda batch: losses(self.model, batch, Mode(), self.objective.parts, 0.0)
            )
        return self._programs[key](tensors)  # type: ignore[no-any-return]

    def added(self, gradients: Any, more: Any) -> Any:
        """The sum of two gradients."""
        return tf.nest.map_structure(tf.add, gradients, more)

    def norm(self, gradients: Any) -> float:
        """The root of the sum of their squares."""
        return float(tf.linalg.global_norm(tf.nest.flatten(gradients)))

    def apply(self, gradients: Any, factor: float, rate: float) -> None:
        """Change weights and optimizer state in place."""
        self._change(gradients, *(tf.constant(one, tf.float32) for one in (factor, rate, self.applied)))

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

    # -- remembering ---------------------------------------------------------------------------------------

    def named(self) -> Mapping[str, Any]:
        """Variables by their names in a saved run; matrices are [in, out]."""
        named = {f"model/{name}": one for name, one in self.weights.items()}
        for name, state in self.states.items():
            named |= {f"optim/{name}/{key}": one for key, one in state.items()}
        return named

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the arrays of a saved run."""
        for name, variable in self.named().items():
            variable.assign(arrays[name])

    def write_model(self, folder: Path) -> None:
        """Write the model as a checkpoint."""
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


def _refuse(objective: Objective, placement: Placement) -> None:
    if objective.lora is not None:
        raise NotOffered(
            "the TensorFlow backend has no LoRA: leave objective.lora out, or learn with torch"
        )
    if placement.spread == "fsdp":
        raise NotOffered(
            "the TensorFlow backend keeps all weights on every device: leave placement.spread out, or "
            "learn with jax or torch"
        )
