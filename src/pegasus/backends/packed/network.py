"""Packed weights as the native library's model."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pegasus.backends.native.inference import NativeModel
from pegasus.backends.native.linears import Runner, aligned, level
from pegasus.backends.native.records import DecoderLayer, EncoderLayer, Linear, Network, Norm
from pegasus.backends.packed.layouts import ALIGNMENT, PanelPacker, packer_of
from pegasus.backends.packed.weights import PackedWeights
from pegasus.errors import NotOffered

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

#: How keys and values are kept. With exact weights they are exact; bfloat16 holds any size of number.
_KV_KINDS = {"float32": "float32", "float16": "float32", "bfloat16": "bfloat16", "int8": "bfloat16"}


class PackedNetwork(NativeModel):
    """The library's model over packed weights, which also offers its matrices one by one."""

    def __init__(self, weights: PackedWeights, threads: int) -> None:
        super().__init__(network_of(weights), threads)
        self.linears, self.threads = weights.linears, threads

    @cached_property
    def runner(self) -> Runner:
        """Threads for single matrices."""
        return Runner(self.threads)

    def linear(self, name: str, x_MK: np.ndarray) -> np.ndarray:
        """What one of the packed matrices makes of some rows, float32 [M, N]."""
        return self.runner.run(_aligned(self.linears[name]), np.ascontiguousarray(x_MK, dtype=np.float32))


def start(weights: PackedWeights, threads: int) -> PackedNetwork:
    """The library computes with these weights; other layouts are packed anew."""
    logger.info("the native library computes: %s instructions, %d threads", level(), threads)
    packer = PanelPacker(threads)
    if weights.layout != packer.layout:
        weights = repacked(weights, packer)
    return PackedNetwork(weights, threads)


def repacked(weights: PackedWeights, packer: PanelPacker) -> PackedWeights:
    """The same numbers in the library's layout."""
    source = packer_of(weights.layout)
    if source is None:
        raise NotOffered(f"packed weights in the layout {weights.layout!r} are not known: pack them again.")
    linears = {
        name: packer.pack(weights.kind, source.unpack(linear), linear.bias_N)
        for name, linear in weights.linears.items()
    }
    return replace(weights, layout=packer.layout, linears=linears)


def network_of(weights: PackedWeights) -> Network:
    """What the library is told."""
    config, linears = weights.config, {name: _aligned(one) for name, one in weights.linears.items()}
    encoder_width = config.d_model // config.encoder_attention_heads
    decoder_width = config.d_model // config.decoder_attention_heads
    embedding = linears.get("embedding", linears["head"])
    return Network(
        width=config.d_model,
        vocabulary=config.vocab_size,
        encoder_head_width=encoder_width,
        decoder_head_width=decoder_width,
        activation=config.activation_function,
        kv_kind=_KV_KINDS[weights.kind],
        embed_scale=math.sqrt(config.d_model) if config.scale_embedding else 1.0,
        norm_eps=config.layer_norm_eps,
        encoder=tuple(
            _encoder_layer(weights.vectors, linears, layer, encoder_width)
            for layer in range(config.encoder_layers)
        ),
        decoder=tuple(
            _decoder_layer(weights.vectors, linears, layer, decoder_width)
            for layer in range(config.decoder_layers)
        ),
        encoder_norm=_norm(weights.vectors, "encoder.layer_norm"),
        decoder_norm=_norm(weights.vectors, "decoder.layer_norm"),
        tokens=embedding,
        head=linears["head"],
    )


def _encoder_layer(
    vectors: Mapping[str, np.ndarray], linears: Mapping[str, Linear], layer: int, width: int
) -> EncoderLayer:
    place, name = f"encoder.{layer}", f"encoder.layers.{layer}"
    return EncoderLayer(
        heads=linears[f"{place}.out"].inputs // width,
        attention_norm=_norm(vectors, f"{name}.self_attn_layer_norm"),
        ffn_norm=_norm(vectors, f"{name}.final_layer_norm"),
        **{part: linears[f"{place}.{part}"] for part in ("qkv", "out", "fc1", "fc2")},
    )


def _decoder_layer(
    vectors: Mapping[str, np.ndarray], linears: Mapping[str, Linear], layer: int, width: int
) -> DecoderLayer:
    place, name = f"decoder.{layer}", f"decoder.layers.{layer}"
    parts = ("qkv", "out", "cross_q", "cross_kv", "cross_out", "fc1", "fc2")
    return DecoderLayer(
        heads=linears[f"{place}.out"].inputs // width,
        cross_heads=linears[f"{place}.cross_out"].inputs // width,
        attention_norm=_norm(vectors, f"{name}.self_attn_layer_norm"),
        cross_norm=_norm(vectors, f"{name}.encoder_attn_layer_norm"),
        ffn_norm=_norm(vectors, f"{name}.final_layer_norm"),
        **{part: linears[f"{place}.{part}"] for part in parts},
    )


def _norm(vectors: Mapping[str, np.ndarray], name: str) -> Norm:
    return Norm(vectors[f"{name}.weight"], vectors[f"{name}.bias"])


def _aligned(linear: Linear) -> Linear:
    """The same matrix where the library can read it: a file's bytes may begin anywhere."""
    if linear.weights.ctypes.data % ALIGNMENT == 0:
        return linear
    moved = aligned(linear.weights.nbytes)
    moved[:] = linear.weights
    return replace(linear, weights=moved)
