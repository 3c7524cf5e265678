"""Packed inference for code that speaks PyTorch: tensors in, tensors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from pegasus.backends.packed.layouts import PanelPacker
from pegasus.backends.packed.model import PackedModel
from pegasus.backends.packed.packing import pack_tensors
from pegasus.backends.packed.weights import kind_of
from pegasus.backends.threads import threads_for
from pegasus.backends.torch.model.hooks import TorchHooks

if TYPE_CHECKING:
    from pegasus.backends.torch.model.heads import PegasusForConditionalGeneration


class PackedForConditionalGeneration(TorchHooks, PackedModel):
    """PEGASUS for inference on a CPU: ``PackedModel`` with PyTorch's tensors and its generator."""

    @classmethod
    def from_model(
        cls, model: PegasusForConditionalGeneration, dtype: Any = "float32", *, threads: int | None = None
    ) -> Self:
        """Pack the weights of a model, which may be dropped afterwards.

        Args:
            model: a model on any device.
            dtype: how matrices are kept: "float32", "bfloat16", "float16" or "int8".
            threads: how many threads pack and compute; None: as many as PyTorch uses.
        """
        threads = torch.get_num_threads() if threads is None else threads_for(threads)
        tensors = dict(model._arrays())
        weights = pack_tensors(tensors, model.config, kind_of(dtype), PanelPacker(threads), "the model")
        return cls(weights, model.generation_config, threads=threads)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """How the matrices are kept."""
        dtype: torch.dtype = getattr(torch, self.weights.kind)
        return dtype

    def to_native(self, array: np.ndarray) -> Tensor:
        """A tensor with a copy of the numbers."""
        return torch.from_numpy(np.array(array))
