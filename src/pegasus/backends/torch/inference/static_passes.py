"""Passes over static memory recorded as CUDA graphs, and the memories of a model that are lent to sessions.

Axes are those of ``static_step``.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pegasus.backends.torch.inference.encoder_passes import EncoderPasses
from pegasus.backends.torch.inference.kernel_choice import Choice, Take, choose
from pegasus.backends.torch.inference.static_cache import Memory, Shape
from pegasus.backends.torch.inference.static_weights import Weights, fingerprint, prepare

#: The share of a device's memory that memories nobody uses may keep.
KEPT_SHARE = 0.25


class Pass:
    """Reading one token in every row, with the best ``count`` continuations of each.

    On a GPU the second run is recorded, and later ones are that graph again.
    """

    def __init__(self, weights: Weights, memory: Memory, span: int, count: int, choice: Choice) -> None:
        self.weights, self.span, self.count = weights, span, count
        self.choice = choice
        self._take: Take | None = None
        self.memory = weakref.proxy(memory)  # which holds this
        self.runs, self.graph = 0, None
        self.states: Tensor
        self.logits: Tensor
        self.packed: Tensor
        rows = memory.texts * memory.beams
        self.on_gpu = memory.told.device.type == "cuda"
        self.packed_host = torch.zeros((rows, 2 * count), dtype=torch.int32, pin_memory=self.on_gpu)

    def run(self) -> None:
        """Do it once more, with what the memory has been told."""
        self.runs += 1
        if self.on_gpu and self.runs == 2:
            self.graph = self._record()
        if self.graph is not None:
            self.graph.replay()
        elif self.runs == 1 and self.choice.name != "torch":
            self._try()
        else:
            self._compute()

    def _try(self) -> None:
        """The first run, which compiles; PyTorch's operations where that fails, from where it began."""
        seen = self.memory.seen_RKM.clone()
        try:
            self._compute()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers fail in many ways: theirs, the linker's, the driver's
            self.choice.failed(error)
            self._take = None
            self.memory.seen_RKM.copy_(seen)
            self._compute()

    def _record(self) -> Any:
        # Recording runs nothing, so nothing is written twice; the first run has warmed up the libraries.
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.memory.pool):
            self._compute()
        return graph

    def _compute(self) -> None:
        if self._take is None:
            self._take = self.choice.take()
        found = self._take(self.weights, self.memory, self.span, self.count)
        self.states, self.logits = found.states_RTD, found.logits_RV
        if found.best_RC is not None:
            self.packed = found.best_RC

    def best(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """The best continuations of the first rows, in one copy to the host: log-probabilities, tokens."""
        self.packed_host.copy_(self.packed, non_blocking=True)
        if self.on_gpu:
            torch.cuda.current_stream().synchronize()
        numbers = self.packed_host[:rows].numpy().copy()
        return numbers[:, : self.count].view(np.float32), numbers[:, self.count :].astype(np.int64)


class Memories:
    """The memories and graphs of one model, kept from one call of ``generate`` to the next.

    A copy or pickle of the model starts without any.
    """

    def __init__(self) -> None:
        self.weights: Weights | None = None
        self.choice: Choice | None = None
        self.encoders = EncoderPasses()
        self._made_of: tuple[Any, ...] = ()
        self._all: list[Memory] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Memories:
        return Memories()

    def __reduce__(self) -> tuple[type[Memories], tuple[()]]:
        return Memories, ()

    def weights_of(self, model: Any) -> Weights:
        """The model's weights made ready; anew when a parameter has changed."""
        now = fingerprint(_tensors(model))
        if self.weights is None or now != self._made_of:
            self._all.clear()
            self.weights, self._made_of, self.choice = prepare(model), now, None
        if self.choice is None or self.choice.wanted != getattr(model, "static_kernels", None):
            self.choice = choose(model, self.weights)
        return self.weights

    def lend(self, owner: Any, shape: Shape) -> Memory:
        """A cleared memory of this shape that nobody else has, until its owner is gone or gives it back."""
        assert self.weights is not None
        found = next((one for one in self._all if one.free and one.shape == shape), None)
        if found is None:
            found = Memory(self.weights, shape)
        else:
            self._all.remove(found)
            found.clear()
        self._all.append(found)
        found.owner = weakref.ref(owner)
        self._let_go()
        return found

    def get_pass(self, memory: Memory, span: int, count: int) -> Pass:
        """The pass over this memory that looks at ``span`` places and finds ``count`` tokens a row."""
        assert self.weights is not None
        assert self.choice is not None
        key = (self.choice.name, span, count)
        if key not in memory.passes:
            memory.passes[key] = Pass(self.weights, memory, span, count, self.choice)
        found: Pass = memory.passes[key]
        return found

    def _let_go(self) -> None:
        """Drop the memories that were used longest ago, once those in nobody's use are too large."""
        device = self._all[-1].told.device
        total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 2**30
        kept = 0.0
        for memory in [one for one in reversed(self._all) if one.free]:
            kept += memory.size
            if kept > KEPT_SHARE * total:
                self._all.remove(memory)


def _tensors(model: Any) -> Sequence[Tensor]:
    bias = getattr(model, "final_logits_bias", None)
    parts = [*model.get_decoder().parameters(), model.get_output_embeddings().weight]
    return parts if bias is None else [*parts, bias]
