"""Fresh weights as the authors drew them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


@torch.no_grad()
def draw_as_authors(model: Any) -> None:
    """Draw every weight: embeddings of deviation D^-0.5, matrices by Glorot's rule, biases 0, norms 1.

    transformers draws all matrices with one deviation, ``init_std``. The row of padding is zero, as in all
    checkpoints of transformers; the authors' own decoder starts from a zero vector beside the table.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.weight.requires_grad:
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.Linear) and module.weight is not model.get_input_embeddings().weight:
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
