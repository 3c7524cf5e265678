"""Where the decoder looked: one pass over a finished summary, in NumPy over the library's matrices.

Axes: S source, T summary, H heads, E head width, D model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pegasus.backends.packed.network import PackedNetwork
    from pegasus.backends.packed.weights import PackedWeights

_ROOT_HALF = math.sqrt(0.5)


class Attribution:
    """The decoder, read once more for its cross-attention.

    Args:
        weights: the packed weights.
        network: multiplies.
        table_TD: the positions of the decoder, at least as many as the summary is long.
    """

    def __init__(self, weights: PackedWeights, network: PackedNetwork, table_TD: np.ndarray) -> None:
        self.weights, self.network, self.table_TD = weights, network, table_TD
        config = weights.config
        self.width = config.d_model // config.decoder_attention_heads
        self.activation: Callable[[np.ndarray], np.ndarray] = _ACTIVATIONS[config.activation_function]

    def attention(self, states_SD: np.ndarray, embedded_TD: np.ndarray) -> np.ndarray:
        """The attention of each token read to each token of the source, mean of layers and heads.

        Args:
            states_SD: the encoder's final states.
            embedded_TD: the embeddings of what the decoder reads, scaled.
        """
        states_TD = embedded_TD + self.table_TD[: len(embedded_TD)]
        layers = self.weights.config.decoder_layers
        mean_TS: np.ndarray = np.zeros((len(states_TD), len(states_SD)), np.float32)
        for layer in range(layers):
            states_TD = self._self_attention(layer, states_TD)
            states_TD, weights_HTS = self._cross_attention(layer, states_TD, states_SD)
            mean_TS += weights_HTS.mean(axis=0) / layers
            states_TD = self._feed_forward(layer, states_TD)
        return mean_TS

    def _self_attention(self, layer: int, states_TD: np.ndarray) -> np.ndarray:
        normed_TD = self._norm(layer, "self_attn", states_TD)
        q, k, v = np.split(self._linear(layer, "qkv", normed_TD), 3, axis=1)
        later_TT = np.triu(np.full((len(q), len(q)), -np.inf, np.float32), 1)
        mixed_TD, _ = self._attend(q, k, v, later_TT)
        return np.asarray(states_TD + self._linear(layer, "out", mixed_TD))

    def _cross_attention(
        self, layer: int, states_TD: np.ndarray, states_SD: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        q = self._linear(layer, "cross_q", self._norm(layer, "encoder_attn", states_TD))
        k, v = np.split(self._linear(layer, "cross_kv", states_SD), 2, axis=1)
        mixed_TD, weights_HTS = self._attend(q, k, v, np.float32(0))
        return states_TD + self._linear(layer, "cross_out", mixed_TD), weights_HTS

    def _feed_forward(self, layer: int, states_TD: np.ndarray) -> np.ndarray:
        hidden_TF = self._linear(layer, "fc1", self._norm(layer, "final", states_TD))
        return np.asarray(states_TD + self._linear(layer, "fc2", self.activation(hidden_TF)))

    def _attend(
        self, q_TD: np.ndarray, k_SD: np.ndarray, v_SD: np.ndarray, mask: np.ndarray | np.float32
    ) -> tuple[np.ndarray, np.ndarray]:
        q_HTE, k_HSE, v_HSE = (
            part.reshape(len(part), -1, self.width).transpose(1, 0, 2) for part in (q_TD, k_SD, v_SD)
        )
        scores_HTS = q_HTE @ k_HSE.transpose(0, 2, 1) * np.float32(self.width**-0.5) + mask
        scores_HTS = np.exp(scores_HTS - scores_HTS.max(axis=2, keepdims=True))
        weights_HTS = scores_HTS / scores_HTS.sum(axis=2, keepdims=True)
        return (weights_HTS @ v_HSE).transpose(1, 0, 2).reshape(q_TD.shape), weights_HTS

    def _linear(self, layer: int, name: str, x_MK: np.ndarray) -> np.ndarray:
        return self.network.linear(f"decoder.{layer}.{name}", np.ascontiguousarray(x_MK))

    def _norm(self, layer: int, name: str, states_TD: np.ndarray) -> np.ndarray:
        place = f"decoder.layers.{layer}.{name}_layer_norm"
        vectors = self.weights.vectors
        centred = states_TD - states_TD.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.weights.config.layer_norm_eps)
        normed: np.ndarray = centred / spread * vectors[f"{place}.weight"] + vectors[f"{place}.bias"]
        return normed


def _gelu_new(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _gelu(x: np.ndarray) -> np.ndarray:
    erf = np.asarray(np.frompyfunc(math.erf, 1, 1)(x * _ROOT_HALF), dtype=np.float32)
    return np.asarray(0.5 * x * (1 + erf))


def _silu(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / (1 + np.exp(-x)))


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.asarray(np.maximum(x, 0)),
    "gelu": _gelu,
    "gelu_new": _gelu_new,
    "silu": _silu,
    "swish": _silu,
    "tanh": np.tanh,
}
