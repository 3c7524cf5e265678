"""Packed sequences: the tokens of a batch one behind another, without padding, for training.

Norms, products and dropout do not ask whose token it is; only attention does, and it is told where each
text ends. On a GPU, in numbers of 16 bits and without dropout of probabilities, PyTorch's ``varlen_attn``
(FlashAttention) reads packed tensors as they are. Everywhere else queries, keys and values, and they alone,
are padded for the usual kernels, whose results are packed again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pegasus.backends.torch.model.dropout import dropout
from pegasus.backends.torch.model.half import HALVES, products_in, wide
from pegasus.spec import masks

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

#: Queries, keys, values [B, H, length, E] and a mask to what the queries find.
Mix = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Spans:
    """Where the texts of a packed batch lie. N tokens, B texts.

    Attributes:
        ends: [B + 1] int32: 0, then where each text ends.
        places: [N] of each token in the flattened batch that it comes from.
        positions: [N] of each token in its text.
        padded: [N] of each token in a flattened batch [B, longest].
        count: B.
        longest: tokens of the longest text.
        width: one more than the greatest position.
    """

    ends: Int[Tensor, " B+1"]
    places: Int[Tensor, " N"]
    positions: Int[Tensor, " N"]
    padded: Int[Tensor, " N"]
    count: int
    longest: int
    width: int

    def seen(self) -> Bool[Tensor, "B longest"]:
        """Which places of a padded batch hold a token."""
        columns = torch.arange(self.longest, device=self.ends.device)
        return columns < self.ends.diff()[:, None]

    def pad(self, packed: Float[Tensor, "1 H N E"]) -> Float[Tensor, "B H longest E"]:
        """Spread tokens over a batch with zeros between them."""
        tokens = packed[0].transpose(0, 1)
        empty = tokens.new_zeros(self.count * self.longest, *tokens.shape[1:])
        whole = empty.index_copy(0, self.padded, tokens)
        return whole.unflatten(0, (self.count, self.longest)).transpose(1, 2)

    def pack(self, padded: Float[Tensor, "B H longest E"]) -> Float[Tensor, "1 H N E"]:
        """Take the tokens out of a batch."""
        return padded.transpose(1, 2).flatten(0, 1)[self.padded].transpose(0, 1).unsqueeze(0)


@dataclass(frozen=True)
class PackedMask:
    """Who may look at whom in a packed batch; it takes the place of a mask that is added to scores.

    Attributes:
        queries: the texts that ask.
        keys: what they look at, the same texts in the same order.
        causal: whether a token sees no later one.
        added: the mask of the padded kernels.
        kernel: ``varlen_attn``, which needs no mask; None: the padded kernels are used.
    """

    queries: Spans
    keys: Spans
    causal: bool
    added: Tensor | None
    kernel: Callable[..., Any] | None = None

    def attend(
        self,
        queries: Float[Tensor, "1 H N E"],
        keys: Float[Tensor, "1 H K E"],
        values: Float[Tensor, "1 H K E"],
        mix: Mix,
    ) -> Float[Tensor, "1 H N E"]:
        """What each query finds.

        Args:
            queries: what asks.
            keys: what is compared with them.
            values: what is found.
            mix: the usual way for padded batches.
        """
        if self.kernel is None:
            mixed = mix(self.queries.pad(queries), self.keys.pad(keys), self.keys.pad(values), self.added)
            return self.queries.pack(mixed)
        tokens = (part[0].transpose(0, 1).contiguous() for part in (queries, keys, values))
        found: Tensor = self.kernel(
            *tokens,
            self.queries.ends,
            self.keys.ends,
            self.queries.longest,
            self.keys.longest,
            window_size=(-1, 0) if self.causal else (-1, -1),
        )
        return found.transpose(0, 1).unsqueeze(0)


@functools.cache
def varlen_kernel() -> Callable[..., Any] | None:
    """PyTorch's attention over packed tensors, from 2.11 on; None before."""
    if find_spec("torch.nn.attention.varlen") is None:
        return None
    kernel: Callable[..., Any] = import_module("torch.nn.attention.varlen").varlen_attn
    return kernel if "window_size" in inspect.signature(kernel).parameters else None


def packed_kernel(weight: Tensor, head_width: int, drops: bool) -> Callable[..., Any] | None:
    """The kernel for packed tensors where it serves: its device, types and widths, and no dropout.

    Args:
        weight: of the model; products are taken in its type or in that of autocast.
        head_width: E.
        drops: whether probabilities are dropped.
    """
    fits = head_width % 8 == 0 and head_width <= 256 and not drops
    serves = weight.device.type == "cuda" and products_in(weight) in HALVES and fits
    return varlen_kernel() if serves else None


class PackedPass:
    """What a stack of layers makes of a packed batch; see ``stacks.Stack``, whose parts it uses."""

    layers: nn.ModuleList
    layer_norm: nn.LayerNorm
    embed_positions: nn.Module
    config: Any
    dropout: float
    embed_scale: float
    zero_start: bool
    layerdrop: float
    training: bool
    _look_up: Callable[[Tensor], Tensor]
    _additive: Callable[[Tensor | None], Tensor | None]
    _run: Callable[..., tuple[Any, ...]]
    _skipped: Callable[[float], bool]

    def forward_packed(
        self,
        ids_N: Int[Tensor, " N"],
        spans: Spans,
        encoded: Float[Tensor, "1 K D"] | None = None,
        sources: Spans | None = None,
    ) -> Float[Tensor, "1 N D"]:
        """The last states of packed tokens; a decoder reads them from left to right.

        Args:
            ids_N: the tokens.
            spans: where their texts lie.
            encoded: what an encoder made of the packed sources of these texts.
            sources: where those lie.
        """
        decodes = getattr(self, "kind", "") == "decoder"
        states = dropout(self._embed_packed(ids_N, spans), self.dropout, self.training)
        mask = self._mask_packed(spans, spans, decodes)
        rest: tuple[Any, ...] = (None, False)  # no head mask, no attentions
        if decodes:
            seen = None if sources is None else self._mask_packed(spans, sources, False)
            source = None if encoded is None else encoded.to(self.layer_norm.weight.dtype)
            rest = (source, seen, None, None, None, False)
        for number in range(len(self.layers)):
            if not self._skipped(self.layerdrop):
                states = self._run(number, states, mask, *rest)[0]
        found: Tensor = self.layer_norm(states)
        return found

    def _embed_packed(self, ids_N: Tensor, spans: Spans) -> Float[Tensor, "1 N D"]:
        embeds = wide(self._look_up(ids_N[None])) * self.embed_scale
        if self.zero_start:
            begins = (spans.positions == 0) & (ids_N == self.config.decoder_start_token_id)
            embeds = embeds.masked_fill(begins[None, :, None], 0.0)
        found: Tensor = embeds + self.embed_positions(spans.width)[spans.positions]
        return found

    def _mask_packed(self, queries: Spans, keys: Spans, causal: bool) -> PackedMask:
        attention = self.layers[0].self_attn
        drops = self.training and attention.dropout > 0
        kernel = packed_kernel(self.layer_norm.weight, attention.head_dim, drops)
        if kernel is not None:
            return PackedMask(queries, keys, causal, None, kernel)
        places = torch.arange(queries.longest, device=queries.ends.device)
        # A text's padding comes after it, where no token of it looks.
        allowed = masks.causal(places, places) if causal else masks.padding(keys.seen())
        return PackedMask(queries, keys, causal, self._additive(allowed))
