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

from pegasus.backends.torch.inference import static_step
from pegasus.backends.torch.inference.scores import best
from pegasus.backends.torch.inference.static_cache import Memory, Shape
from pegasus.backends.torch.inference.static_weights import Weights, prepare

#: The share of a device's memory that memories nobody uses may keep.
KEPT_SHARE = 0.25


class Pass:
    """Reading one token in every row, with the best ``count`` continuations of each.

    On a GPU the second run is recorded, and later ones are that graph again.
    """

    def __init__(self, weights: Weights, memory: Memory, span: int, count: int) -> None:
        self.weights, self.span, self.count = weights, span, count
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
        else:
            self._compute()

    def _record(self) -> Any:
        # Recording runs nothing, so nothing is written twice; the first run has warmed up the libraries.
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.memory.pool):
            self._compute()
        return graph

    def _compute(self) -> None:
        memory = self.memory
        rows = memory.texts * memory.beams
        tokens, parents, start = memory.told[:rows], memory.told[rows : 2 * rows], memory.told[-1]
        states = static_step.read(self.weights, memory, self.span, tokens[:, None], parents, start)
        self.states = states
        self.logits = static_step.logits(self.weights, states[:, -1])
        if self.count:
            values, found = best(torch.log_softmax(self.logits, dim=-1), self.count)
            self.packed = torch.cat([values.view(torch.int32), found.to(torch.int32)], dim=1)

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
        self._made_of: tuple[Any, ...] = ()
        self._all: list[Memory] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Memories:
        return Memories()

    def __reduce__(self) -> tuple[type[Memories], tuple[()]]:
        return Memories, ()

    def weights_of(self, model: Any) -> Weights:
        """The model's weights made ready; anew when a parameter has changed."""
        now = tuple((one.data_ptr(), _version(one), one.dtype) for one in _tensors(model))
        if self.weights is None or now != self._made_of:
            self._all.clear()
            self.weights, self._made_of = prepare(model), now
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
        if (span, count) not in memory.passes:
            memory.passes[span, count] = Pass(self.weights, memory, span, count)
        found: Pass = memory.passes[span, count]
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


def _version(tensor: Tensor) -> int:
    """How often it was changed in place; those made in inference mode do not count."""
    return 0 if tensor.is_inference() else int(tensor._version)
