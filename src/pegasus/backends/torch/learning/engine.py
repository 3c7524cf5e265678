"""Learning in PyTorch: one update over any number of micro-batches, in one process or many.

Losses are divided by the number of tokens of the whole update, over micro-batches and processes alike,
before the backward pass. So an update is the same whether its batches come one after another, on two
processes that each keep all weights (DDP) or on two that share them (FSDP2).
"""

from __future__ import annotations

import math
import resource
import sys
import warnings
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from pegasus.backends.contract import Batch
from pegasus.backends.contract.learning import Measures, Objective, OptimSettings, Placement, Ranks
from pegasus.backends.learning.accounting import (
    count_tokens,
    part_scales,
    part_weights,
    source_tokens,
    update_totals,
)
from pegasus.backends.learning.run_state import SavedState
from pegasus.backends.learning.scale import LossScale
from pegasus.backends.learning.schedules import learning_rate
from pegasus.backends.torch.learning import lora
from pegasus.backends.torch.learning.alike import local
from pegasus.backends.torch.learning.compiling import Compiler, compile_layers
from pegasus.backends.torch.learning.distillation import Teacher
from pegasus.backends.torch.learning.learner import Learner, to_device
from pegasus.backends.torch.learning.optim import make_optimizer
from pegasus.backends.torch.learning.ranks import find_device
from pegasus.backends.torch.learning.state import (
    optimizer_tensors,
    read,
    restore_optimizer,
    spot,
    write,
)
from pegasus.backends.torch.model.layers import Layer
from pegasus.errors import BadSetting, CheckpointMismatch, NotOffered, PegasusError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


class TorchEngine:
    """Teaches one model; see ``pegasus.backends.contract.Engine``.

    Args:
        model: a model with a head, the same in all processes. It is changed in place.
        optim: how weights are changed.
        objective: what is learned.
        placement: where, and in which numbers.
        ranks: the processes.
        teacher: the model that ``objective.distillation`` compares with, whole in each process.
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
        self.model, self.optim, self.objective = model, optim, objective
        self.placement, self.ranks = placement, ranks
        self.device = find_device(placement)
        self.updates = 0
        _refuse_packing(objective, placement)
        self.scale = LossScale(placement.precision == "float16")
        torch.manual_seed(objective.seed * 1_000_003 + ranks.rank)
        if objective.lora is not None:
            lora.insert(model, objective.lora)
        if placement.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        self.learner = Learner(model, objective, self._guide(teacher)).to(self.device).train()
        self._spare_memory()
        self.compiler: Compiler | None = None
        if placement.compile:
            self.compiler = compile_layers(model, self.device)
        self._pass = self._spread()
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        tables = {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
        self.optimizer = make_optimizer(model.parameters(), optim, tables)

    def _guide(self, teacher: Any) -> Teacher | None:
        if self.objective.distillation is None:
            return None
        if teacher is None:
            raise BadSetting("objective.distillation needs a teacher: use a job of pegasus distill")
        return Teacher(teacher.to(self.device), self.model.config, self.objective.distillation)

    def _spare_memory(self) -> None:
        """Let looking up tokens give sparse gradients, which are added to the dense one of the tied head.

        As dense ones they would be as large as the table each, and all zeros but for a few rows. On a GPU
        the order of the additions would not be settled, and DDP takes no gradient that is both, so there
        they stay dense.
        """
        table = self.model.get_input_embeddings()
        tied = self.model.get_output_embeddings().weight is table.weight
        if self.device.type == "cpu" and self.ranks.count == 1 and tied:
            table.sparse = True

    def _spread(self) -> nn.Module:
        """The forward pass as the processes share it."""
        config = self.model.config
        drops_layers = max(config.encoder_layerdrop, config.decoder_layerdrop) > 0
        if self.ranks.count == 1:
            return self.learner
        if self.placement.spread == "fsdp":
            if drops_layers:
                raise BadSetting("layerdrop and fsdp exclude each other: processes would skip other layers")
            # A decoder layer returns its keys as views. Nobody writes into them.
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
            mesh = init_device_mesh(self.device.type, (self.ranks.count,))
            for module in self.model.modules():
                if isinstance(module, Layer):
                    fully_shard(module, mesh=mesh)
            # The tied embeddings are outside the layers: they stay one weight, in the root's group.
            fully_shard(self.learner, mesh=mesh)
            return self.learner
        # The only buffer never changes: it need not be sent round before each pass.
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
            self.learner, [name for name, _ in self.learner.named_buffers()]
        )
        return DistributedDataParallel(
            self.learner,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            find_unused_parameters=drops_layers or "target" not in self.objective.all_parts,
        )

    # -- learning --------------------------------------------------------------------------------------

    def step(self, batches: Sequence[Batch], progress: float = 0.0) -> Measures:
        """One update over all these micro-batches of all processes."""
        counts = [count_tokens(batch, self.objective.all_parts) for batch in batches]
        totals, sources = update_totals(batches, counts, self.objective.all_parts, self.ranks)
        sums = torch.zeros(len(self.objective.all_parts), device=self.device)
        for number, (batch, count) in enumerate(zip(batches, counts)):
            scales = part_scales(self.objective, count, totals, len(batches), self.ranks.count)
            with self._last(number == len(batches) - 1):
                with self._precision():
                    loss, parts = self._pass(self._sent(batch), scales, self.objective.label_smoothing)
                (loss * self.scale.value).backward()
            sums += parts
        rate = learning_rate(self.optim, self.updates, progress)
        norm = self._update(rate)
        return self._measures(
            self.ranks.total(sums.tolist()),
            totals,
            sources,
            norm=norm,
            rate=rate,
            skipped=not math.isfinite(norm),
        )

    @torch.no_grad()
    def measure(self, batch: Batch) -> Measures:
        """The loss of one batch without smoothing or dropout."""
        self.learner.eval()
        count = count_tokens(batch, self.objective.parts)
        with self._precision():
            _, parts = self.learner(self._sent(batch), dict.fromkeys(count, 1.0), 0.0)
        if isinstance(self.learner, FSDPModule):
            self.learner.reshard()  # the root expects a backward pass, and would stay whole until one comes
        self.learner.train()
        found = self._measures(parts.tolist(), count, source_tokens(batch))
        # Held-out loss is comparable with that of a model which learned without a teacher.
        return found if self.learner.guide is None else replace(found, weights={"target": 1.0})

    def _sent(self, batch: Batch) -> dict[str, Any]:
        return to_device(batch, self.device, self.placement.packing)

    def _last(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged in the last backward pass of an update only."""
        if isinstance(self._pass, DistributedDataParallel):
            return nullcontext() if last else self._pass.no_sync()
        if isinstance(self.learner, FSDPModule):
            self.learner.set_requires_gradient_sync(last)
        return nullcontext()

    def _precision(self) -> AbstractContextManager[Any]:
        lower = self.placement.precision != "float32"
        dtype = getattr(torch, self.placement.precision) if lower else None
        context: AbstractContextManager[Any] = torch.autocast(self.device.type, dtype, enabled=lower)
        return context

    def _update(self, rate: float) -> float:
        """Clip and apply the gradients, if they are finite. Returns their norm."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        total = get_total_norm(gradients)
        norm = float(total.full_tensor() if isinstance(total, DTensor) else total) / self.scale.value
        if math.isfinite(norm):
            factor = 1.0 / self.scale.value
            if self.optim.clip_norm is not None:
                factor *= min(1.0, self.optim.clip_norm / (norm + 1e-6))
            if factor != 1.0:
                torch._foreach_mul_([local(gradient) for gradient in gradients], factor)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.updates += 1
        self.scale.update(math.isfinite(norm))
        # Dropped, not zeroed: the next forward pass may use their memory.
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _measures(
        self, sums: Sequence[float], counts: dict[str, int], sources: int, **rest: Any
    ) -> Measures:
        return Measures(
            sums=dict(zip(self.objective.all_parts, sums)),
            counts=counts,
            weights=part_weights(self.objective),
            source_tokens=sources,
            memory=_memory(self.device),
            **rest,
        )

    # -- remembering -----------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write this process's share of weights, optimizer and random state; all processes call it."""
        tensors = {f"model/{name}": tensor for name, tensor in self._weights_by_name().items()}
        tensors.update(optimizer_tensors(self.optimizer, self.names))
        tensors[f"random/{self.ranks.rank}/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors[f"random/{self.ranks.rank}/cuda"] = torch.cuda.get_rng_state(self.device)
        notes = {
            "updates": self.updates,
            "applied": self.optimizer.param_groups[0].get("updates"),
            "optimizer": self.optim.name,
            "scale": self.scale.state(),
        }
        write(folder, self.ranks, tensors, notes)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote, on as many processes or on another number.

        Raises:
            CheckpointMismatch: it was saved by another kind of model or optimizer.
        """
        saved = SavedState(folder)
        saved.require_optimizer(self.optim.name)
        for name, tensor in self._weights_by_name().items():
            found = read(saved, f"model/{name}", spot(tensor))
            if found.shape != local(tensor).shape:
                raise CheckpointMismatch(
                    f"{name} has shape {list(found.shape)} in {folder}; the model's is {list(tensor.shape)}"
                )
            local(tensor).copy_(found)
        restore_optimizer(self.optimizer, self.names, saved)
        self.updates = int(saved.notes["updates"])
        for group in self.optimizer.param_groups:
            if "updates" in group:
                group["updates"] = int(saved.notes["applied"])
        self.scale.restore(saved.notes["scale"])
        self._restore_random(saved)

    def _weights_by_name(self) -> dict[str, Tensor]:
        """Parameters and buffers, without the tables of positions, which are computed."""
        both = [*self.model.named_parameters(), *self.model.named_buffers()]
        return {name: tensor for name, tensor in both if not name.endswith("embed_positions.weight")}

    def _restore_random(self, saved: SavedState) -> None:
        name = f"random/{self.ranks.rank}"
        if saved.has(f"{name}/cpu") and saved.ranks == self.ranks.count:
            torch.set_rng_state(read(saved, f"{name}/cpu"))
            if self.device.type == "cuda" and saved.has(f"{name}/cuda"):
                torch.cuda.set_rng_state(read(saved, f"{name}/cuda"), self.device)
            return
        # Another number of processes: no state fits, so each begins a series of its own.
        torch.manual_seed((self.objective.seed + self.updates) * 1_000_003 + self.ranks.rank)

    def export(self, folder: Path) -> None:
        """Write the model as a checkpoint; all processes call it, the first one writes."""
        state = {}
        for name, tensor in self._weights_by_name().items():
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if self.ranks.rank == 0:
                state[name] = whole.detach().cpu()
        if self.ranks.rank == 0:
            refuse_not_finite(state, self.updates)
            if self.objective.lora is not None:
                state = lora.merged(state, self.objective.lora)
            self.model.save_pretrained(folder, state_dict=state)
        self.ranks.wait()


def _refuse_packing(objective: Objective, placement: Placement) -> None:
    if not placement.packing:
        return
    if objective.distillation is not None:
        raise NotOffered(
            "placement.packing and objective.distillation exclude each other: a teacher reads padding"
        )
    if objective.dropout == "broadcast":
        raise NotOffered(
            "placement.packing and objective.dropout 'broadcast' exclude each other: what is shared along "
            "a text needs texts of one length, so take 'elementwise'"
        )


def refuse_not_finite(state: Mapping[str, Tensor], updates: int) -> None:
    """Refuse to export weights that no text can come from.

    Raises:
        PegasusError: names the first that is not finite.
    """
    broken = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise PegasusError(
            f"after {updates:,} updates {len(broken)} of {len(state)} weights are not finite, such as "
            f"{broken[0]}: nothing was exported. Use a lower rate, or clip_norm"
        )


def _memory(device: torch.device) -> int:
    """The most bytes in use so far: on the GPU, or of the whole process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
