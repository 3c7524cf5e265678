"""PEGASUS in float64, one text at a time, nothing remembered: an independent statement of the model.

Axes: S source, T target, H heads, E head width, D model, V vocabulary. Parameters have canonical names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray
_GELU = np.frompyfunc(lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))), 1, 1)
ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: _GELU(x).astype(float),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@dataclass
class Pass:
    """What a stack gave, layer by layer."""

    states: Array
    hidden: list[Array] = field(default_factory=list)
    attentions: list[Array] = field(default_factory=list)
    cross: list[Array] = field(default_factory=list)


class Transformer:
    """The two stacks and the head.

    Args:
        config: the shape.
        parameters: canonical name → array; matrices [out, in].
    """

    def __init__(self, config, parameters: Mapping[str, Array]) -> None:
        self.config = config
        self.parameters = {name: np.asarray(array, float) for name, array in parameters.items()}
        self.shared = self.parameters["model.shared.weight"]
        self.act = ACTIVATIONS[config.activation_function]

    def encode(self, ids_S: Array, mask_S: Array) -> Pass:
        """The states of a source; what is masked is looked at by nobody."""
        config, name = self.config, "model.encoder"
        done = Pass(self.embed(ids_S, name))
        blocked = np.where(mask_S[None] != 0, 0.0, -np.inf)
        for layer in range(config.encoder_layers):
            place = f"{name}.layers.{layer}"
            done.hidden.append(done.states)
            normed = self.norm(done.states, f"{place}.self_attn_layer_norm")
            found, weights = self.attend(
                normed, normed, blocked, f"{place}.self_attn", config.encoder_attention_heads
            )
            done.attentions.append(weights)
            done.states = self.feed_forward(done.states + found, place)
        done.states = self.norm(done.states, f"{name}.layer_norm")
        done.hidden.append(done.states)
        return done

    def decode(self, ids_T: Array, mask_T: Array, source_SD: Array, mask_S: Array) -> Pass:
        """The states of a target, each token of which sees those before it and the whole source."""
        config, name, heads = self.config, "model.decoder", self.config.decoder_attention_heads
        done = Pass(self.embed(ids_T, name))
        seen = np.tril(np.ones((len(ids_T), len(ids_T)))) * (mask_T[None] != 0)
        later = np.where(seen != 0, 0.0, -np.inf)
        blocked = np.where(mask_S[None] != 0, 0.0, -np.inf)
        for layer in range(config.decoder_layers):
            place = f"{name}.layers.{layer}"
            done.hidden.append(done.states)
            normed = self.norm(done.states, f"{place}.self_attn_layer_norm")
            found, weights = self.attend(normed, normed, later, f"{place}.self_attn", heads)
            done.states, _ = done.states + found, done.attentions.append(weights)
            normed = self.norm(done.states, f"{place}.encoder_attn_layer_norm")
            found, weights = self.attend(normed, source_SD, blocked, f"{place}.encoder_attn", heads)
            done.states, _ = done.states + found, done.cross.append(weights)
            done.states = self.feed_forward(done.states, place)
        done.states = self.norm(done.states, f"{name}.layer_norm")
        done.hidden.append(done.states)
        return done

    def logits(self, states_TD: Array) -> Array:
        """What the head makes of states: [T, V]."""
        head = self.shared if self.config.tie_word_embeddings else self.parameters["lm_head.weight"]
        return states_TD @ head.T + self.parameters.get("final_logits_bias", np.zeros((1, 1)))

    # -- parts -------------------------------------------------------------------------------------------

    def embed(self, ids: Array, stack: str) -> Array:
        """Embeddings, scaled, and positions."""
        width = self.config.d_model
        scale = math.sqrt(width) if self.config.scale_embedding else 1.0
        table = self.parameters.get(f"{stack}.embed_positions.weight")
        if table is None or len(table) < len(ids):
            table = sinusoids(len(ids), width, self.config.position_table)
        embedded = self.shared[ids] * scale
        if stack.endswith("decoder") and self.config.decoder_start == "zeros":
            embedded[:1] *= ids[0] != self.config.decoder_start_token_id
        return embedded + table[: len(ids)]

    def attend(self, asks: Array, told: Array, mask: Array, place: str, heads: int) -> tuple[Array, Array]:
        """Multi-head attention, and the probabilities [H, T, S]."""
        q, k, v = (
            self.linear(states, f"{place}.{part}_proj").reshape(len(states), heads, -1).swapaxes(0, 1)
            for states, part in ((asks, "q"), (told, "k"), (told, "v"))
        )
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[2]) + mask
        with np.errstate(invalid="ignore"):  # a place that sees nothing averages everything
            weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights = np.where(np.isnan(weights), 1.0, weights)
        weights /= weights.sum(axis=2, keepdims=True)
        return self.linear(
            (weights @ v).swapaxes(0, 1).reshape(len(asks), -1), f"{place}.out_proj"
        ), weights

    def feed_forward(self, states: Array, place: str) -> Array:
        """The second half of a layer."""
        normed = self.norm(states, f"{place}.final_layer_norm")
        return states + self.linear(self.act(self.linear(normed, f"{place}.fc1")), f"{place}.fc2")

    def linear(self, states: Array, place: str) -> Array:
        """A matrix and its bias."""
        return states @ self.parameters[f"{place}.weight"].T + self.parameters[f"{place}.bias"]

    def norm(self, states: Array, place: str) -> Array:
        """Layer norm."""
        centred = states - states.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.config.layer_norm_eps)
        return centred / spread * self.parameters[f"{place}.weight"] + self.parameters[f"{place}.bias"]


def sinusoids(count: int, width: int, table: str = "transformers") -> Array:
    """Position p: sin(p / 10000^(2i / D)) in the first half of the width, cos in the second.

    The authors' exponent is i / (D / 2 - 1).
    """
    half = (width + 1) // 2
    last = width / 2 if table == "transformers" else max(width // 2 - 1, 1)
    angles = np.arange(count)[:, None] / 10000 ** (np.arange(half) / last)
    return np.concatenate([np.sin(angles), np.cos(angles[:, : width - half])], axis=1)
