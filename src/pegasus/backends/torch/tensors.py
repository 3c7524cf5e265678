"""NumPy arrays as torch tensors, for ``return_tensors="pt"``."""

from __future__ import annotations

import numpy as np
import torch


def from_array(array: np.ndarray) -> torch.Tensor:
    """A torch tensor with the numbers and the type of an array; it owns its memory."""
    return torch.tensor(array)
