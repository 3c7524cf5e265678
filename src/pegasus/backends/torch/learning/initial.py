"""Fresh weights: as transformers draws them, or as the authors did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pegasus.backends.learning.drawing import embedding_deviation, matrix_bound
from pegasus.backends.torch.model.layers import SinusoidalPositions

if TYPE_CHECKING:
    from pegasus.spec.config import PegasusConfig


class FreshWeights:
    """Drawing weights, mixed into every model class; a subclass may overrule ``_init_weights``."""

    config: PegasusConfig

    def post_init(self) -> None:
        """What ends the making of a model: weights are drawn, and what the configuration turns on is.

        On the meta device nothing is drawn: such a model is filled from files.
        """
        if next(self.parameters()).is_meta:  # type: ignore[attr-defined]
            self.tie_weights()  # type: ignore[attr-defined]
        else:
            self.init_weights()
        if self.config.gradient_checkpointing:
            # An old key; a saved configuration must not turn it on for everybody who loads it.
            self.gradient_checkpointing_enable()  # type: ignore[attr-defined]
            self.config.gradient_checkpointing = False

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw every weight anew: normal with ``init_std``, biases 0, norms 1, the row of padding 0."""
        for module in self.modules():  # type: ignore[attr-defined]
            self._initialize_weights(module)
        bias = getattr(self, "final_logits_bias", None)
        if bias is not None:
            bias.zero_()
        self.tie_weights()  # type: ignore[attr-defined]

    def _initialize_weights(self, module: nn.Module) -> None:
        """Calls ``_init_weights``; code that draws once only a module that was drawn overrules it."""
        self._init_weights(module)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draws what this module itself holds."""
        if isinstance(module, SinusoidalPositions):
            module.reset_parameters()
        elif isinstance(module, nn.LayerNorm):
            module.weight.fill_(1.0)
            module.bias.zero_()
        elif isinstance(module, nn.Linear | nn.Embedding):
            module.weight.normal_(mean=0.0, std=self.config.init_std)
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()  # type: ignore[operator,union-attr]


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
