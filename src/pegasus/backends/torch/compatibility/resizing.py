"""What changes a model's shape or ties its parts: the vocabulary, positions, shared weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pegasus.backends.torch.model.layers import SinusoidalPositions
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from pegasus.spec.config import PegasusConfig


class Resizing:
    """Resizing and tying, mixed into every model class."""

    config: PegasusConfig
    #: How many tokens the model knows since it was resized.
    vocab_size: int

    def tie_weights(self) -> None:
        """Make the output layer use the input embeddings again, where the configuration says so.

        With ``config.torchscript`` it gets a copy of its own: a saved trace holds each tensor once.
        """
        output = self.get_output_embeddings()  # type: ignore[attr-defined]
        if output is None or not self.config.tie_word_embeddings:
            return
        weight = self.get_input_embeddings().weight  # type: ignore[attr-defined]
        output.weight = nn.Parameter(weight.detach().clone()) if self.config.torchscript else weight

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Let the model know more tokens, or fewer; new rows are drawn like fresh weights.

        Args:
            new_num_tokens: the new V; None leaves it, apart from rounding.
            pad_to_multiple_of: V is rounded up to a multiple of this.

        Returns:
            The input embeddings, [V, D].
        """
        old: nn.Embedding = self.get_input_embeddings()  # type: ignore[attr-defined]
        count = old.num_embeddings if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of is not None:
            if not isinstance(pad_to_multiple_of, int) or pad_to_multiple_of < 1:
                raise BadSetting(
                    f"pad_to_multiple_of is {pad_to_multiple_of!r}: give a whole number above 0"
                )
            count = -(-count // pad_to_multiple_of) * pad_to_multiple_of
        if count <= 0:
            raise BadSetting(f"a vocabulary cannot have {count} tokens")
        if count != old.num_embeddings:
            self._resize_vocabulary(old, count)
        self.config.vocab_size = self.vocab_size = count
        return self.get_input_embeddings()  # type: ignore[attr-defined,no-any-return]

    def _resize_vocabulary(self, old: nn.Embedding, count: int) -> None:
        output = self.get_output_embeddings()  # type: ignore[attr-defined]
        tied = output is not None and output.weight is old.weight
        padding = old.padding_idx if old.padding_idx is not None and old.padding_idx < count else None
        grown = nn.Embedding(count, old.embedding_dim, padding, device="meta")
        grown.weight = nn.Parameter(self._resized(old.weight, count), old.weight.requires_grad)
        self.set_input_embeddings(grown)  # type: ignore[attr-defined]
        if output is not None:
            weight = grown.weight if tied else nn.Parameter(self._resized(output.weight, count))
            output.weight, output.out_features = weight, count
        self.config.vocab_size = count
        bias = getattr(self, "final_logits_bias", None)
        if bias is not None:
            wider = bias.new_zeros(1, count)
            wider[:, : bias.shape[1]] = bias[:, :count]
            self.final_logits_bias = wider

    @torch.no_grad()
    def _resized(self, weight: Tensor, count: int) -> Tensor:
        fresh = weight.new_empty(count, weight.shape[1]).normal_(mean=0.0, std=self.config.init_std)
        kept = min(count, weight.shape[0])
        fresh[:kept] = weight[:kept]
        return fresh

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Keep a table of this many positions. The sinusoid has no end, so nothing is lost or learned."""
        if new_num_position_embeddings <= 0:
            raise BadSetting(f"a table cannot have {new_num_position_embeddings} positions")
        self.config.max_position_embeddings = new_num_position_embeddings
        for module in list(self.modules()):  # type: ignore[attr-defined]
            for name, child in list(module.named_children()):
                if isinstance(child, SinusoidalPositions):
                    table = SinusoidalPositions(
                        new_num_position_embeddings, child.embedding_dim, child.table
                    )
                    setattr(module, name, table.to(child.weight.device, child.weight.dtype))
