"""What generation asks of every model whose numbers are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class TorchHooks:
    """Two of the hooks of ``GenerationMixin``; it stands before the other classes of a model."""

    def to_host(self, native: Any) -> np.ndarray:
        """A tensor of any device, or an array, as an array."""
        array: np.ndarray = (
            native.detach().cpu().numpy() if isinstance(native, Tensor) else np.asarray(native)
        )
        return array

    def draw_seed(self) -> int:
        """A seed from PyTorch's own generator, so that ``torch.manual_seed`` decides what is sampled."""
        return int(torch.randint(0, 2**63 - 1, ()).item())
