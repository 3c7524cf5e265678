"""The weights of a decoder made ready for passes over static memory.

Axes are those of ``static_step``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pegasus.backends.torch.model.half import scale_for, wide

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LayerWeights:
    """A decoder layer: weight and bias of each part; norms are float32.

    What leads to a change of the residual is ``scale`` times as large as in the module, see ``half``.
    """

    norm: Pair
    query_key_value: Pair
    out: Pair
    cross_norm: Pair
    cross_query: Pair
    cross_key: Pair
    cross_value: Pair
    cross_out: Pair
    last_norm: Pair
    inner: Pair
    outer: Pair


@dataclass(frozen=True)
class Weights:
    """A decoder with its head, made ready for passes over static memory."""

    layers: list[LayerWeights]
    norm: Pair
    table_VD: Tensor
    head_VD: Tensor
    bias_V: Tensor | None
    positions: Callable[[int], Tensor]
    activate: Callable[[Tensor], Tensor]
    embed_scale: float
    scale: float
    eps: float
    heads: int
    #: The start token, where the decoder reads zeros in its place; see ``config.decoder_start``.
    zero_start: int | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The type of products."""
        return self.table_VD.dtype

    @property
    def width(self) -> int:
        """D."""
        return int(self.table_VD.shape[1])


def prepare(model: Any) -> Weights:
    """The weights of a decoder, those of queries, keys and values joined; the others are not copied."""
    decoder, bias = model.get_decoder(), getattr(model, "final_logits_bias", None)
    scale = scale_for(decoder.layer_norm.weight)
    layers = [_layer(layer, scale) for layer in decoder.layers]
    return Weights(
        layers=layers,
        norm=norm_of(decoder.layer_norm),
        table_VD=decoder.embed_tokens.weight,
        head_VD=model.get_output_embeddings().weight,
        bias_V=None if bias is None else wide(bias[0]),
        positions=lambda count: wide(decoder.embed_positions(count)),
        activate=activation(decoder.layers[0].activation_fn, scale),
        embed_scale=decoder.embed_scale,
        scale=scale,
        eps=decoder.layer_norm.eps,
        heads=decoder.layers[0].self_attn.num_heads,
        zero_start=decoder.config.decoder_start_token_id if decoder.zero_start else None,
    )


def _layer(layer: Any, scale: float) -> LayerWeights:
    own, cross = layer.self_attn, layer.encoder_attn
    return LayerWeights(
        norm=norm_of(layer.self_attn_layer_norm),
        query_key_value=joined(own, scale),
        out=linear(own.out_proj, scale),
        cross_norm=norm_of(layer.encoder_attn_layer_norm),
        cross_query=linear(cross.q_proj),
        cross_key=linear(cross.k_proj),
        cross_value=linear(cross.v_proj),
        cross_out=linear(cross.out_proj, scale),
        last_norm=norm_of(layer.final_layer_norm, scale),
        inner=linear(layer.fc1, scale),
        outer=linear(layer.fc2, scale),
    )


def norm_of(norm: nn.LayerNorm, scale: float = 1.0) -> Pair:
    """Weight and bias of a norm, float32."""
    return wide(norm.weight) * scale, wide(norm.bias) * scale


def linear(layer: nn.Linear, scale: float = 1.0) -> Pair:
    """Weight and bias of a layer whose inputs are ``scale`` times as large."""
    return layer.weight, layer.bias if scale == 1 else layer.bias * scale


def joined(attention: Any, scale: float) -> Pair:
    """Weight and bias of queries, keys and values in one layer; the values are ``scale`` times as large."""
    query, key, value = attention.q_proj, attention.k_proj, attention.v_proj
    return (
        torch.cat([query.weight, key.weight, value.weight * scale]),
        torch.cat([query.bias, key.bias, value.bias * scale]),
    )


def activation(function: Callable[[Tensor], Tensor], scale: float) -> Callable[[Tensor], Tensor]:
    """An activation of numbers that are ``scale`` times as large."""
    if scale == 1 or function is functional.relu:
        return function
    return lambda hidden: (function(hidden.float() / scale) * scale).to(hidden.dtype)


def fingerprint(tensors: Iterable[Tensor]) -> tuple[Any, ...]:
    """What changes when one of these tensors is another one or is changed in place."""
    return tuple((one.data_ptr(), _version(one), one.dtype) for one in tensors)


def _version(tensor: Tensor) -> int:
    """How often it was changed in place; those made in inference mode do not count."""
    return 0 if tensor.is_inference() else int(tensor._version)
