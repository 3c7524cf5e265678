"""The encoder over packed rows: the tokens of all texts one behind the other, without their padding.

Nothing here asks the device for a number, so that a pass can be recorded. Products, norms and sums are over
N tokens; only attention knows where a text begins.

Axes: B texts, S places of the longest one, N tokens of all texts, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pegasus.backends.torch.inference.static_weights import Pair, activation, joined, linear, norm_of
from pegasus.backends.torch.model.half import scale_for, wide

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True)
class EncoderLayerWeights:
    """A layer: weight and bias of each part, scaled as in ``static_weights.LayerWeights``."""

    norm: Pair
    query_key_value: Pair
    out: Pair
    last_norm: Pair
    inner: Pair
    outer: Pair


@dataclass(frozen=True)
class EncoderWeights:
    """An encoder made ready."""

    layers: list[EncoderLayerWeights]
    norm: Pair
    table_VD: Tensor
    positions: Callable[[int], Tensor]
    activate: Callable[[Tensor], Tensor]
    embed_scale: float
    scale: float
    eps: float
    heads: int

    @property
    def dtype(self) -> torch.dtype:
        """The type of products."""
        return self.table_VD.dtype


class Packed:
    """Where the tokens of texts lie, in buffers of a fixed size: a pass that was recorded reads them again.

    Args:
        texts: B.
        source: S.
        tokens: N.
        device: where.

    Attributes:
        ids_BS: the padded batch.
        starts_B: where each text begins, and where the last one ends, [B + 1].
        places_N: where each token stands in its text.
        spots_N: which place of the padded batch, counted through, each row is; the first for what is none.
        rows_BS: which row each place of the padded batch is; the first for padding.
    """

    def __init__(self, texts: int, source: int, tokens: int, device: torch.device) -> None:
        self.texts, self.source, self.tokens = texts, source, tokens
        self.ids_BS = torch.zeros((texts, source), dtype=torch.int64, device=device)
        sizes = [texts + 1, tokens, tokens, texts * source]
        self._told = torch.zeros(sum(sizes), dtype=torch.int64, device=device)
        self.starts_B, self.places_N, self.spots_N, rows = self._told.split(sizes)
        self.rows_BS = rows.view(texts, source)

    def tell(self, ids_BS: Int[Tensor, "B S"], lengths_B: np.ndarray) -> None:
        """Another batch, of at most as many texts, places and tokens."""
        texts, source = ids_BS.shape
        self.ids_BS[:texts, :source] = ids_BS
        starts = np.zeros(self.texts + 1, np.int64)
        starts[1 : texts + 1] = lengths_B
        starts = starts.cumsum()
        tokens = np.arange(starts[-1])
        owners = np.repeat(np.arange(texts), lengths_B)
        places, spots = np.zeros((2, self.tokens), np.int64)
        places[: len(tokens)] = tokens - starts[owners]
        spots[: len(tokens)] = owners * self.source + places[: len(tokens)]
        rows = np.zeros(self.texts * self.source, np.int64)
        rows[spots[: len(tokens)]] = tokens
        self._told.copy_(torch.from_numpy(np.concatenate([starts, places, spots, rows])))

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "B 1 1 S"]:
        """Added to scores: the least number for padding."""
        lengths_B = self.starts_B.diff()
        hidden_BS = torch.arange(self.source, device=lengths_B.device) >= lengths_B[:, None]
        mask = torch.zeros(hidden_BS.shape, dtype=dtype, device=lengths_B.device)
        return mask.masked_fill_(hidden_BS, torch.finfo(dtype).min)[:, None, None]


def prepare(model: Any) -> EncoderWeights:
    """The weights of an encoder, those of queries, keys and values joined; the others are not copied."""
    encoder = model.get_encoder()
    scale = scale_for(encoder.layer_norm.weight)
    return EncoderWeights(
        layers=[_layer(layer, scale) for layer in encoder.layers],
        norm=norm_of(encoder.layer_norm),
        table_VD=encoder.embed_tokens.weight,
        positions=lambda count: wide(encoder.embed_positions(count)),
        activate=activation(encoder.layers[0].activation_fn, scale),
        embed_scale=encoder.embed_scale,
        scale=scale,
        eps=encoder.layer_norm.eps,
        heads=encoder.layers[0].self_attn.num_heads,
    )


def _layer(layer: Any, scale: float) -> EncoderLayerWeights:
    return EncoderLayerWeights(
        norm=norm_of(layer.self_attn_layer_norm),
        query_key_value=joined(layer.self_attn, scale),
        out=linear(layer.self_attn.out_proj, scale),
        last_norm=norm_of(layer.final_layer_norm, scale),
        inner=linear(layer.fc1, scale),
        outer=linear(layer.fc2, scale),
    )


def encode(
    weights: EncoderWeights, packed: Packed, positions_SD: Tensor, kernels: bool
) -> Float[Tensor, "B S D"]:
    """The states of all places, those of padding any numbers.

    Args:
        weights: the encoder.
        packed: the tokens.
        positions_SD: of the places, float32.
        kernels: whether norms and attention are Triton's.
    """
    ids_N = packed.ids_BS.flatten().index_select(0, packed.spots_N)
    embedded_ND = wide(functional.embedding(ids_N, weights.table_VD)) * weights.embed_scale
    states_ND = embedded_ND + positions_SD.index_select(0, packed.places_N)
    residual = (_KernelResidual if kernels else _Residual)(weights, states_ND, packed)
    for layer in weights.layers:
        joined = functional.linear(residual.normed(layer.norm), *layer.query_key_value)
        residual.add(functional.linear(residual.attend(joined), *layer.out))
        hidden = weights.activate(functional.linear(residual.normed(layer.last_norm), *layer.inner))
        residual.add(functional.linear(hidden, *layer.outer))
    states_ND = residual.normed(weights.norm)
    return states_ND.index_select(0, packed.rows_BS.flatten()).unflatten(0, packed.rows_BS.shape)


class _Residual:
    """Norms, sums and attention in PyTorch's operations."""

    def __init__(self, weights: EncoderWeights, states_ND: Tensor, packed: Packed) -> None:
        self.weights, self.states_ND, self.packed = weights, states_ND, packed
        self.mask = packed.mask(weights.dtype)

    def normed(self, norm: Pair) -> Tensor:
        """The norm of the states, of the weights' type."""
        states, weights = self.states_ND, self.weights
        return functional.layer_norm(states, states.shape[-1:], *norm, weights.eps).to(weights.dtype)

    def add(self, change_ND: Tensor) -> None:
        """Adds what a branch gave."""
        self.states_ND = torch.add(self.states_ND, change_ND, alpha=1 / self.weights.scale)

    def attend(self, joined_ND: Tensor) -> Tensor:
        """Self-attention over the padded batch."""
        rows_BS = self.packed.rows_BS
        padded = joined_ND.index_select(0, rows_BS.flatten()).unflatten(0, rows_BS.shape)
        queries, keys, values = padded.unflatten(-1, (3, self.weights.heads, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=self.mask)
        return found.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, self.packed.spots_N)


class _KernelResidual(_Residual):
    """The same in Triton's kernels; what is added waits for the norm behind it."""

    def __init__(self, weights: EncoderWeights, states_ND: Tensor, packed: Packed) -> None:
        self.weights, self.states_ND, self.packed = weights, states_ND, packed
        self.change_ND: Tensor | None = None

    def normed(self, norm: Pair) -> Tensor:
        """The norm of the states with what is to be added."""
        from pegasus.backends.torch.inference.kernels.states import add_norm

        weights, change = self.weights, None if self.change_ND is None else self.change_ND[None]
        self.change_ND = None
        return add_norm(self.states_ND, change, None, norm, weights.eps, 1 / weights.scale, weights.dtype)

    def add(self, change_ND: Tensor) -> None:
        """Notes it."""
        self.change_ND = change_ND

    def attend(self, joined_ND: Tensor) -> Tensor:
        """Self-attention over the packed rows."""
        from pegasus.backends.torch.inference.kernels.packed_attention import attend_packed

        packed = self.packed
        return attend_packed(joined_ND, packed.starts_B, packed.source, self.weights.heads)
