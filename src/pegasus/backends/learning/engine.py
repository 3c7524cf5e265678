"""The engine that JAX and TensorFlow share: gradients are values, and one process has all devices.

One update over any number of micro-batches, and what is remembered between runs. Losses are divided by the
number of tokens of the whole update before the backward pass. A framework says how it differentiates, adds,
measures and applies gradients, and where its arrays are.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

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
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import BadSetting, CheckpointMismatch, NotOffered, PegasusError
from pegasus.spec.parameters import Parameter


class BaseEngine(ABC):
    """Teaches one model; see ``pegasus.backends.contract.learning.Engine``.

    Args:
        model: a model with a head.
        optim: how weights are changed.
        objective: what is learned.
        ranks: this process.
        precision: what is computed in; the loss is scaled in float16.

    Attributes:
        updates: how many were done.
        applied: those whose gradient was finite.
    """

    #: What a saved run says of who saved it: matrices lie as this framework has them.
    framework: ClassVar[str]

    def __init__(
        self, model: Any, optim: OptimSettings, objective: Objective, ranks: Ranks, precision: str
    ) -> None:
        if getattr(model, "kind", None) != "conditional":
            raise BadSetting(f"a {type(model).__name__} has no head to learn with: use one that has")
        self.model, self.optim, self.objective, self.ranks = model, optim, objective, ranks
        self.updates = self.applied = 0
        self.scale = LossScale(precision == "float16")

    # -- what a framework says -----------------------------------------------------------------------------

    @abstractmethod
    def differentiate(
        self, batch: Batch, scales: dict[str, float], number: int
    ) -> tuple[Mapping[str, Any], Any]:
        """The sums of the losses of a micro-batch, and the gradients of the scaled whole.

        Args:
            batch: of NumPy arrays.
            scales: what each part's sum counts; the loss scale is among it.
            number: of the micro-batch in its update, for dropout.
        """

    @abstractmethod
    def evaluate(self, batch: Batch) -> Mapping[str, Any]:
        """The sums of the losses without smoothing or dropout."""

    @abstractmethod
    def added(self, gradients: Any, more: Any) -> Any:
        """The sum of two gradients."""

    @abstractmethod
    def norm(self, gradients: Any) -> float:
        """The root of the sum of their squares."""

    @abstractmethod
    def apply(self, gradients: Any, factor: float, rate: float) -> None:
        """Change weights and optimizer state by gradients times ``factor``."""

    @abstractmethod
    def named(self) -> Mapping[str, Any]:
        """Arrays by their names in a saved run: ``model/WEIGHT`` and ``optim/WEIGHT/KEY``."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the arrays of a saved run, by those names."""

    @abstractmethod
    def write_model(self, folder: Path) -> None:
        """Write the model as a checkpoint."""

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
            scaled = {part: scale * self.scale.value for part, scale in scales.items()}
            found, slopes = self.differentiate(batch, scaled, number)
            gradients = slopes if gradients is None else self.added(gradients, slopes)
            for part, value in found.items():
                sums[part] += float(value)
        rate = learning_rate(self.optim, self.updates, progress)
        norm = self._update(gradients, rate)
        rest = {"norm": norm, "rate": rate, "skipped": not math.isfinite(norm)}
        return self._measures(sums, totals, sources, **rest)

    def measure(self, batch: Batch) -> Measures:
        """The loss of one batch without smoothing or dropout."""
        count = count_tokens(batch, self.objective.parts)
        found = self.evaluate(batch)
        sums: dict[str, float] = {part: float(found.get(part, 0.0)) for part in self.objective.parts}
        measured = self._measures(sums, count, source_tokens(batch))
        # Held-out loss is comparable with that of a model which learned without a teacher.
        taught = self.objective.distillation is not None
        return replace(measured, weights={"target": 1.0}) if taught else measured

    def _update(self, gradients: Any, rate: float) -> float:
        """Clip and apply the gradients, if they are finite. Returns their norm."""
        norm = self.norm(gradients) / self.scale.value
        self.updates += 1
        if math.isfinite(norm):
            factor = 1 / self.scale.value
            if self.optim.clip_norm is not None:
                factor *= min(1.0, self.optim.clip_norm / (norm + 1e-6))
            self.apply(gradients, factor, rate)
            self.applied += 1
        self.scale.update(math.isfinite(norm))
        return norm

    def _measures(
        self, sums: dict[str, float], counts: dict[str, int], source_tokens: int, **rest: Any
    ) -> Measures:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = peak if sys.platform == "darwin" else peak * 1024
        return Measures(sums, counts, part_weights(self.objective), source_tokens, memory=memory, **rest)

    # -- remembering ---------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write weights, the optimizer's state and how far the run is."""
        notes = {"updates": self.updates, "applied": self.applied, "scale": self.scale.state()}
        notes |= {"optimizer": self.optim.name, "framework": self.framework}
        tensors = {name: RawTensor.from_array(np.asarray(one)) for name, one in self.named().items()}
        write_state(folder, 0, 1, tensors, notes)

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote, on as many devices or on another number.

        Raises:
            CheckpointCorrupt: it is not there.
            CheckpointMismatch: it was saved by another kind of model or optimizer, or by another backend.
        """
        saved, mine = SavedState(folder), self.named()
        if saved.notes.get("framework") != self.framework:
            raise CheckpointMismatch(
                f"{folder} was saved by another backend: go on with that one, or start a new run from the "
                "exported model"
            )
        saved.require_optimizer(self.optim.name)
        found = {name: np.array(saved.read(name).array()) for name in mine}
        if wrong := [name for name, array in found.items() if array.shape != tuple(mine[name].shape)]:
            raise CheckpointMismatch(
                f"{len(wrong)} tensors of {folder} have another shape, such as {wrong[0]}: it belongs to "
                "another job"
            )
        self.restore(found)
        self.updates, self.applied = int(saved.notes["updates"]), int(saved.notes["applied"])
        self.scale.restore(saved.notes["scale"])

    def export(self, folder: Path) -> None:
        """Write the model as a checkpoint.

        Raises:
            PegasusError: weights are not finite.
        """
        weights = {name: one for name, one in self.named().items() if name.startswith("model/")}
        broken = [name for name, one in weights.items() if not np.isfinite(np.asarray(one)).all()]
        if broken:
            raise PegasusError(
                f"after {self.updates:,} updates {len(broken)} of {len(weights)} weights are not "
                f"finite, such as {broken[0].removeprefix('model/')}: nothing was exported. Use a lower "
                "rate, or clip_norm"
            )
        self.write_model(folder)


def join_alone(backend: str, launched: int) -> Alone:
    """This process alone: its devices learn together.

    Args:
        backend: what it is called.
        launched: processes that the framework itself was started with.

    Raises:
        NotOffered: a launcher started several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 or launched > 1:
        raise NotOffered(
            f"the {backend} backend learns in one process, on all of its devices: start it without "
            "torchrun, and without another launcher of several processes"
        )
    return Alone()


def refuse_placement(backend: str, placement: Placement) -> None:
    """Refuse what only the torch backend does.

    Raises:
        NotOffered: names it.
    """
    for name in ("packing", "compile"):
        if getattr(placement, name):
            raise NotOffered(
                f"the {backend} backend has no placement.{name}: leave it out, or take backend = 'torch'"
            )


def thawed(leaves: Mapping[Any, Parameter], objective: Objective) -> dict[Any, Parameter]:
    """Which parameters learn.

    Raises:
        BadSetting: none.
    """
    found = {key: leaf for key, leaf in leaves.items() if _learns(leaf, objective)}
    if not found:
        raise BadSetting("nothing is left to learn: every parameter is frozen, thaw a part of the model")
    return found


def is_table(leaf: Parameter) -> bool:
    """Whether each row of a matrix is of one piece of the vocabulary."""
    return leaf.kind == "embedding" or leaf.name == "lm_head.weight"


def _learns(leaf: Parameter, objective: Objective) -> bool:
    return leaf.kind != "logits_bias" and learns(leaf.name, objective, embedding=is_table(leaf))
