"""What the native library is told about a model: the weights, packed, and how they fit together.

Axes: D model, I heads times head width, F feed-forward, V vocabulary, L layers; the C side of these records
stands in ``csrc/model/network.h`` and ``csrc/linear/linear.h``.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pegasus.errors import NotOffered

if TYPE_CHECKING:
    import numpy as np

#: Kinds of packed weights, in the order of the C side.
KINDS = ("float32", "bfloat16", "float16", "int8")
#: Activations of the feed-forward layers, by the names of the configuration.
ACTIVATIONS = {"relu": 1, "gelu": 2, "gelu_new": 3, "silu": 4, "swish": 4, "tanh": 5}
#: How keys and values are kept, in the order of the C side.
KV_KINDS = ("float32", "bfloat16", "float16")


class LinearRecord(ctypes.Structure):
    """The C side of ``Linear``."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("n", ctypes.c_int32),
        ("k", ctypes.c_int32),
        ("weights", ctypes.c_void_p),
        ("scale_N", ctypes.c_void_p),
        ("sums_N", ctypes.c_void_p),
        ("bias_N", ctypes.c_void_p),
    )


class NormRecord(ctypes.Structure):
    """The C side of ``Norm``."""

    _fields_ = (("weight_D", ctypes.c_void_p), ("bias_D", ctypes.c_void_p))


class EncoderLayerRecord(ctypes.Structure):
    """The C side of ``EncoderLayer``."""

    _fields_ = (
        ("heads", ctypes.c_int32),
        ("attention_norm", NormRecord),
        ("qkv", LinearRecord),
        ("out", LinearRecord),
        ("ffn_norm", NormRecord),
        ("fc1", LinearRecord),
        ("fc2", LinearRecord),
    )


class DecoderLayerRecord(ctypes.Structure):
    """The C side of ``DecoderLayer``."""

    _fields_ = (
        ("heads", ctypes.c_int32),
        ("cross_heads", ctypes.c_int32),
        ("attention_norm", NormRecord),
        ("qkv", LinearRecord),
        ("out", LinearRecord),
        ("cross_norm", NormRecord),
        ("cross_q", LinearRecord),
        ("cross_kv", LinearRecord),
        ("cross_out", LinearRecord),
        ("ffn_norm", NormRecord),
        ("fc1", LinearRecord),
        ("fc2", LinearRecord),
    )


class NetworkRecord(ctypes.Structure):
    """The C side of ``Network``."""

    _fields_ = (
        ("width", ctypes.c_int32),
        ("vocabulary", ctypes.c_int32),
        ("encoder_head_width", ctypes.c_int32),
        ("decoder_head_width", ctypes.c_int32),
        ("activation", ctypes.c_int32),
        ("kv_kind", ctypes.c_int32),
        ("embed_scale", ctypes.c_float),
        ("norm_eps", ctypes.c_float),
        ("encoder_layers", ctypes.c_int32),
        ("decoder_layers", ctypes.c_int32),
        ("encoder", ctypes.POINTER(EncoderLayerRecord)),
        ("decoder", ctypes.POINTER(DecoderLayerRecord)),
        ("encoder_norm", NormRecord),
        ("decoder_norm", NormRecord),
        ("encoder_tokens", LinearRecord),
        ("decoder_tokens", LinearRecord),
        ("head", LinearRecord),
    )


@dataclass(frozen=True)
class Linear:
    """A linear layer y = x Wᵀ + b, its weights packed by ``pg_pack``.

    Args:
        kind: one of ``KINDS``.
        outputs: N, rows of W.
        inputs: K, columns of W.
        weights: uint8, as many as ``pg_packed_bytes`` said, aligned to 64 bytes.
        scale_N: float32, what a row's integers are multiplied by (int8 only).
        sums_N: int32, the sum of a row's integers (int8 only).
        bias_N: float32 or None.
    """

    kind: str
    outputs: int
    inputs: int
    weights: np.ndarray
    scale_N: np.ndarray | None = None
    sums_N: np.ndarray | None = None
    bias_N: np.ndarray | None = None

    def record(self) -> LinearRecord:
        """The C record. It points into the arrays: keep ``self`` as long as it is used."""
        return LinearRecord(
            KINDS.index(self.kind),
            self.outputs,
            self.inputs,
            _address(self.weights),
            _address(self.scale_N),
            _address(self.sums_N),
            _address(self.bias_N),
        )


@dataclass(frozen=True)
class Norm:
    """A layer norm's weight and bias, float32 [D], dense."""

    weight_D: np.ndarray
    bias_D: np.ndarray

    def record(self) -> NormRecord:
        """The C record, pointing into the arrays."""
        return NormRecord(_address(self.weight_D), _address(self.bias_D))


@dataclass(frozen=True)
class EncoderLayer:
    """An encoder layer: ``qkv`` is [3 I, D], queries above keys above values, not scaled."""

    heads: int
    attention_norm: Norm
    qkv: Linear
    out: Linear
    ffn_norm: Norm
    fc1: Linear
    fc2: Linear

    def record(self) -> EncoderLayerRecord:
        """The C record, pointing into the arrays."""
        return EncoderLayerRecord(*_members(self))


@dataclass(frozen=True)
class DecoderLayer:
    """A decoder layer; ``cross_kv`` is [2 I, D], keys above values.

    A decoder that stands alone has ``cross_heads`` 0 and None for the four members of cross-attention.
    """

    heads: int
    cross_heads: int
    attention_norm: Norm
    qkv: Linear
    out: Linear
    cross_norm: Norm | None
    cross_q: Linear | None
    cross_kv: Linear | None
    cross_out: Linear | None
    ffn_norm: Norm
    fc1: Linear
    fc2: Linear

    def record(self) -> DecoderLayerRecord:
        """The C record, pointing into the arrays."""
        return DecoderLayerRecord(*_members(self))


@dataclass(frozen=True)
class Network:
    """A whole model, or the half of one that has no layers in the other half.

    Args:
        width: D.
        vocabulary: V.
        encoder_head_width: width of a head of the encoder.
        decoder_head_width: width of a head of the decoder.
        activation: of the feed-forward layers, one of ``ACTIVATIONS``.
        kv_kind: how keys and values are kept, one of ``KV_KINDS``; float32 for exact arithmetic.
        embed_scale: what token embeddings are multiplied by.
        norm_eps: what is added to the variance in layer norms.
        encoder: the encoder's layers, or none.
        decoder: the decoder's layers, or none.
        encoder_norm: the norm after the last layer of the encoder; None without an encoder.
        decoder_norm: the same of the decoder.
        tokens: [V, D], the embeddings that the decoder takes rows of, and the encoder too unless
            ``encoder_tokens`` is given; it may be the very record of ``head``.
        head: [V, D] with ``final_logits_bias`` as its bias; None for a bare model, which has no scores.
        encoder_tokens: the encoder's own embeddings.
    """

    width: int
    vocabulary: int
    encoder_head_width: int
    decoder_head_width: int
    activation: str
    kv_kind: str
    embed_scale: float
    norm_eps: float
    encoder: tuple[EncoderLayer, ...]
    decoder: tuple[DecoderLayer, ...]
    encoder_norm: Norm | None
    decoder_norm: Norm | None
    tokens: Linear
    head: Linear | None
    encoder_tokens: Linear | None = None

    def record(self) -> NetworkRecord:
        """The C record, pointing into the arrays.

        Raises:
            NotOffered: the engine does not know the activation.
        """
        if self.activation not in ACTIVATIONS:
            raise NotOffered(
                f"the native engine knows no activation {self.activation!r}, only {[*ACTIVATIONS]}"
            )
        encoder = (EncoderLayerRecord * len(self.encoder))(*(layer.record() for layer in self.encoder))
        decoder = (DecoderLayerRecord * len(self.decoder))(*(layer.record() for layer in self.decoder))
        return NetworkRecord(
            self.width,
            self.vocabulary,
            self.encoder_head_width,
            self.decoder_head_width,
            ACTIVATIONS[self.activation],
            KV_KINDS.index(self.kv_kind),
            self.embed_scale,
            self.norm_eps,
            len(self.encoder),
            len(self.decoder),
            encoder,
            decoder,
            _norm(self.encoder_norm),
            _norm(self.decoder_norm),
            _linear(self.encoder_tokens or self.tokens),
            _linear(self.tokens),
            _linear(self.head),
        )


def _address(array: np.ndarray | None) -> int | None:
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data


def _linear(linear: Linear | None) -> LinearRecord:
    return LinearRecord() if linear is None else linear.record()


def _norm(norm: Norm | None) -> NormRecord:
    return NormRecord() if norm is None else norm.record()


def _members(layer: EncoderLayer | DecoderLayer) -> list[Any]:
    """The members of a layer's record, in order; what a layer lacks is all zero."""
    kinds = {"norm": NormRecord}
    members = []
    for name, value in vars(layer).items():
        if value is None:
            value = kinds.get(name.rpartition("_")[2], LinearRecord)()
        members.append(value.record() if isinstance(value, (Linear, Norm)) else value)
    return members
