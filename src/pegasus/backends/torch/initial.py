"""Fresh weights as the authors drew them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pegasus.backends.learning.drawing import embedding_deviation, matrix_bound


@torch.no_grad()
def draw_as_authors(model: Any) -> None:
    """Draw every weight as ``pegasus.backends.learning.drawing`` says."""
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.weight.requires_grad:
            nn.init.normal_(module.weight, std=embedding_deviation(module.embedding_dim))
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.Linear) and module.weight is not model.get_input_embeddings().weight:
            bound = matrix_bound(*module.weight.shape)
            nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
