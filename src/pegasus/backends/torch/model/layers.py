"""The parts a PEGASUS model is made of: positions, attention, an encoder layer, a decoder layer.

Axes: B texts, R rows of the decoder (texts × beams), S source, T target, M beams, H heads, E head width,
D model, F feed-forward, V vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pegasus.backends.torch.compatibility.tracing import traced
from pegasus.backends.torch.inference.cpu_attention import attend_in_bfloat16, attend_with_dropout
from pegasus.backends.torch.model.activations import ACTIVATIONS
from pegasus.backends.torch.model.dropout import dropout, relu_dropout, takes_own_ways
from pegasus.backends.torch.model.half import LayerNorm, add, scale_for, scaled, wide
from pegasus.backends.torch.model.packing import PackedMask
from pegasus.errors import BadSetting
from pegasus.spec.positions import sinusoid_table

if TYPE_CHECKING:
    from collections.abc import Collection

    from jaxtyping import Float

    from pegasus.spec.config import PegasusConfig

#: Keys and values of one attention, each [rows, H, length, E].
KeysValues = tuple[Tensor, Tensor]


class TokenEmbedding(nn.Embedding):
    """An embedding that draws no weights where there is no storage.

    PyTorch would import its compiler to draw on the meta device, which costs each load seconds.
    """

    def reset_parameters(self) -> None:
        """Draw fresh weights, the row of padding zero."""
        if not self.weight.is_meta:
            super().reset_parameters()


class SinusoidalPositions(nn.Embedding):
    """The table of positions. It is fixed, and it has no end: rows beyond it are computed when needed."""

    def __init__(self, count: int, width: int, table: str) -> None:
        super().__init__(count, width)
        self.table = table
        self.weight.requires_grad_(False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Compute the table; called by ``nn.Embedding`` too, before the kind of table is known."""
        if hasattr(self, "table") and not self.weight.is_meta:
            rows = sinusoid_table(self.num_embeddings, self.embedding_dim, self.table)
            self.weight.copy_(torch.from_numpy(rows))

    @torch.no_grad()
    def is_computed(self) -> bool:
        """Whether the rows are those of the formula; a checkpoint may have stored others."""
        rows = torch.from_numpy(sinusoid_table(self.num_embeddings, self.embedding_dim, self.table))
        rounding = 1e-5 + 2 * torch.finfo(self.weight.dtype).eps
        return bool(torch.allclose(self.weight, rows.to(self.weight), atol=rounding, rtol=0))

    def forward(self, length: int, start: int = 0) -> Float[Tensor, "length D"]:  # type: ignore[override]
        """The rows of positions ``start .. start + length - 1``."""
        end = start + length
        if traced(length):
            return self.weight[start:end]
        if end <= self.num_embeddings:
            return self.weight[start:end]
        rows = torch.from_numpy(sinusoid_table(length, self.embedding_dim, self.table, start))
        beyond = rows.to(self.weight.device, self.weight.dtype)
        inside = max(0, self.num_embeddings - start)
        # Rows that the table has are taken from it: a checkpoint may have stored its own.
        return torch.cat([self.weight[start : self.num_embeddings], beyond[inside:]]) if inside else beyond


class Attention(nn.Module):
    """Multi-head attention with biases on all four projections, as transformers keeps them.

    The queries may have M times as many rows as the keys: row r then attends to text r // M, and the M
    beams of a text are folded into its query length, so that keys and values are held once per text.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, kept_heads: int | None = None) -> None:
        super().__init__()
        self.embed_dim = width
        self.head_dim = width // heads
        self.num_heads = heads if kept_heads is None else kept_heads
        self.dropout = dropout
        self.broadcast_dropout = False
        self.scaling = self.head_dim**-0.5
        inner = self.num_heads * self.head_dim
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.q_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(
        self,
        hidden_states: Float[Tensor, "R T D"],
        key_value_states: Float[Tensor, "B S D"] | None = None,
        past_key_value: KeysValues | None = None,
        attention_mask: Float[Tensor, "B 1 T|1 S"] | PackedMask | None = None,
        layer_head_mask: Float[Tensor, " H"] | None = None,
        output_attentions: bool = False,
        scale: float = 1.0,
    ) -> tuple[Float[Tensor, "R T D"], Float[Tensor, "R H T S"] | None, KeysValues]:
        """Attend from ``hidden_states`` to ``key_value_states``, or to themselves when that is None.

        Args:
            hidden_states: what asks.
            key_value_states: what is looked at in cross-attention.
            past_key_value: earlier keys and values. Self-attention appends to them, cross-attention uses
                them instead of projecting ``key_value_states`` again.
            attention_mask: added to the scores; or says where the texts of a packed batch lie, whose
                tokens are the length of one row.
            layer_head_mask: each head's probabilities are multiplied by its entry.
            output_attentions: whether the probabilities are returned.
            scale: what the result is multiplied by; see ``half``.

        Returns:
            The result, the probabilities or None, and all keys and values.
        """
        queries = self._split(self.q_proj(hidden_states))
        keys, values = self._keys_values(hidden_states, key_value_states, past_key_value)
        rows, _, length, _ = queries.shape
        texts = rows if traced(queries) else keys.shape[0]
        if rows is not texts and rows != texts:
            queries = self._fold(queries, texts)
        drops = self.training and self.dropout > 0
        weights = None
        if isinstance(attention_mask, PackedMask):
            mixed = attention_mask.attend(queries, keys, values, self._mix)
        elif output_attentions or layer_head_mask is not None or (drops and self.broadcast_dropout):
            mask = self._of_its_type(attention_mask, queries)
            mixed, weights = self._exact(queries, keys, values, mask, layer_head_mask)
        else:
            mixed = self._mix(queries, keys, values, attention_mask)
        if rows is not texts and rows != texts:
            mixed = self._unfold(mixed, rows, length)
            weights = None if weights is None else self._unfold(weights, rows, length)
        joined = mixed.transpose(1, 2).reshape(rows, length, self.num_heads * self.head_dim)
        if scale != 1:
            joined = joined * scale
        return scaled(self.out_proj, joined, scale), weights, (keys, values)

    def _of_its_type(self, mask: Tensor | None, queries: Tensor) -> Tensor | None:
        if mask is None or traced(queries) or mask.dtype == queries.dtype:
            return mask
        # Under autocast. The least float32 is no bfloat16 and would become minus infinity.
        return mask.clamp(min=torch.finfo(queries.dtype).min).to(queries.dtype)

    def _mix(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """What each query finds, by the kernel that is best where they are."""
        mask = self._of_its_type(mask, queries)
        drops = self.training and self.dropout > 0
        if takes_own_ways(queries):
            if drops and self.dropout < 1:  # the fused kernels know no dropout on a CPU
                return attend_with_dropout(queries, keys, values, mask, self.scaling, self.dropout)
            if self._learns_in_bfloat16(queries) and not drops:  # they are slow on the way back
                return attend_in_bfloat16(queries, keys, values, mask, self.scaling)
        rate = self.dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=rate
        )

    def _learns_in_bfloat16(self, queries: Tensor) -> bool:
        return bool(self.training and queries.requires_grad and queries.dtype == torch.bfloat16)

    def _split(self, projected: Float[Tensor, "R T D"]) -> Float[Tensor, "R H T E"]:
        rows, length, _ = projected.shape
        return projected.view(rows, length, self.num_heads, self.head_dim).transpose(1, 2)

    def _keys_values(
        self, hidden_states: Tensor, key_value_states: Tensor | None, past_key_value: KeysValues | None
    ) -> KeysValues:
        if key_value_states is not None and past_key_value is not None:
            return past_key_value
        source = hidden_states if key_value_states is None else key_value_states
        keys, values = self._split(self.k_proj(source)), self._split(self.v_proj(source))
        if past_key_value is None:
            return keys, values
        return torch.cat([past_key_value[0], keys], dim=2), torch.cat([past_key_value[1], values], dim=2)

    def _fold(self, queries: Float[Tensor, "R H T E"], texts: int) -> Float[Tensor, "B H M*T E"]:
        rows, heads, length, width = queries.shape
        beams = queries.view(texts, rows // texts, heads, length, width).transpose(1, 2)
        return beams.reshape(texts, heads, rows // texts * length, width)

    def _unfold(
        self, folded: Float[Tensor, "B H M*T X"], rows: int, length: int
    ) -> Float[Tensor, "R H T X"]:
        texts, heads, _, last = folded.shape
        beams = folded.view(texts, heads, rows // texts, length, last).transpose(1, 2)
        return beams.reshape(rows, heads, length, last)

    def _exact(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, head_mask: Tensor | None
    ) -> tuple[Float[Tensor, "B H T E"], Float[Tensor, "B H T S"]]:
        scores = (queries * self.scaling) @ keys.transpose(2, 3)
        scores = wide(scores)  # a mask added to a score would leave the range of float16
        weights = functional.softmax(scores if mask is None else scores + mask, dim=-1)
        weights = weights if traced(weights) else weights.to(values.dtype)
        if head_mask is not None:
            self._check_head_mask(head_mask)
            weights = head_mask.view(1, -1, 1, 1) * weights
        shared = (0, 1) if self.broadcast_dropout else ()
        dropped = dropout(weights, self.dropout, self.training, shared)
        return dropped @ values, weights

    def _check_head_mask(self, head_mask: Tensor) -> None:
        if not traced(head_mask) and tuple(head_mask.shape) != (self.num_heads,):
            found = tuple(head_mask.shape)
            raise BadSetting(
                f"a head mask of a layer has shape {found}; one entry a head is needed, ({self.num_heads},)"
            )

    @torch.no_grad()
    def prune_heads(self, heads: Collection[int]) -> None:
        """Cut these heads, by their numbers among those that are left, out of all four projections."""
        wrong = sorted(head for head in heads if not 0 <= head < self.num_heads)
        if wrong:
            raise BadSetting(
                f"heads {wrong} cannot be pruned: this attention has heads 0 to {self.num_heads - 1}"
            )
        kept = [head for head in range(self.num_heads) if head not in heads]
        places = torch.arange(self.num_heads * self.head_dim).view(self.num_heads, self.head_dim)
        index = places[kept].reshape(-1).to(self.q_proj.weight.device)
        for name in ("q_proj", "k_proj", "v_proj"):
            old = getattr(self, name)
            setattr(self, name, _linear(old.weight[index], old.bias[index]))
        self.out_proj = _linear(self.out_proj.weight[:, index], self.out_proj.bias)
        self.num_heads = len(kept)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight = nn.Parameter(weight.clone())
    layer.bias = nn.Parameter(bias.clone())
    return layer


class Layer(nn.Module):
    """What both kinds of layer share: self-attention, feed-forward, and how a residual is added."""

    def __init__(self, config: PegasusConfig, heads: int, ffn_dim: int, kept_heads: int | None) -> None:
        super().__init__()
        width, eps = config.d_model, config.layer_norm_eps
        self.embed_dim = width
        self.dropout = config.dropout
        self.activation_dropout = config.activation_dropout
        self.broadcast_dropout = False
        self.activation_fn = ACTIVATIONS[config.activation_function]
        self.self_attn = Attention(width, heads, config.attention_dropout, kept_heads)
        self.self_attn_layer_norm = LayerNorm(width, eps=eps)
        self.fc1 = nn.Linear(width, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, width)
        self.final_layer_norm = LayerNorm(width, eps=eps)

    def _add(
        self, residual: Float[Tensor, "B T D"], change: Float[Tensor, "B T D"], scale: float
    ) -> Float[Tensor, "B T D"]:
        shared = (1,) if self.broadcast_dropout else ()
        return add(residual, dropout(change, self.dropout, self.training, shared), scale)

    def _activate(self, hidden_BTF: Tensor, scale: float) -> Tensor:
        if scale == 1 or self.activation_fn is functional.relu:  # relu keeps a scale
            return self.activation_fn(hidden_BTF)
        return (self.activation_fn(hidden_BTF.float() / scale) * scale).to(hidden_BTF.dtype)

    def _drops_after_relu(self, hidden_BTF: Tensor) -> bool:
        drops = self.training and 0 < self.activation_dropout < 1 and not self.broadcast_dropout
        return drops and self.activation_fn is functional.relu and takes_own_ways(hidden_BTF)

    def _feed_forward(self, states_BTD: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        scale = scale_for(self.final_layer_norm.weight)
        hidden_BTF = scaled(self.fc1, self.final_layer_norm(states_BTD, scale), scale)
        if self._drops_after_relu(hidden_BTF):
            hidden_BTF = relu_dropout(hidden_BTF, self.activation_dropout)
        else:
            shared = (1,) if self.broadcast_dropout else ()
            hidden_BTF = self._activate(hidden_BTF, scale)
            hidden_BTF = dropout(hidden_BTF, self.activation_dropout, self.training, shared)
        return self._add(states_BTD, scaled(self.fc2, hidden_BTF, scale), scale)


class EncoderLayer(Layer):
    """Self-attention and feed-forward, each behind a layer norm and added to the residual."""

    def __init__(self, config: PegasusConfig, kept_heads: int | None = None) -> None:
        super().__init__(config, config.encoder_attention_heads, config.encoder_ffn_dim, kept_heads)

    def forward(
        self,
        hidden_states: Float[Tensor, "B S D"],
        attention_mask: Float[Tensor, "B 1 1 S"] | None = None,
        layer_head_mask: Float[Tensor, " H"] | None = None,
        output_attentions: bool = False,
    ) -> tuple[Float[Tensor, "B S D"], Float[Tensor, "B H S S"] | None]:
        """The new states, and the attention probabilities when they are asked for."""
        scale = scale_for(self.self_attn_layer_norm.weight)
        change, weights, _ = self.self_attn(
            self.self_attn_layer_norm(hidden_states),
            attention_mask=attention_mask,
            layer_head_mask=layer_head_mask,
            output_attentions=output_attentions,
            scale=scale,
        )
        return self._feed_forward(self._add(hidden_states, change, scale)), weights


class DecoderLayer(Layer):
    """Causal self-attention, attention to the encoder where there is one, and feed-forward."""

    def __init__(
        self, config: PegasusConfig, kept_heads: int | None = None, kept_cross_heads: int | None = None
    ) -> None:
        super().__init__(config, config.decoder_attention_heads, config.decoder_ffn_dim, kept_heads)
        heads, dropout = config.decoder_attention_heads, config.attention_dropout
        self.encoder_attn = Attention(config.d_model, heads, dropout, kept_cross_heads)
        self.encoder_attn_layer_norm = LayerNorm(config.d_model, eps=config.layer_norm_eps)

    def forward(
        self,
        hidden_states: Float[Tensor, "R T D"],
        attention_mask: Float[Tensor, "R 1 T T"] | None = None,
        encoder_hidden_states: Float[Tensor, "B S D"] | None = None,
        encoder_attention_mask: Float[Tensor, "B 1 1 S"] | None = None,
        layer_head_mask: Float[Tensor, " H"] | None = None,
        cross_attn_layer_head_mask: Float[Tensor, " H"] | None = None,
        past_key_value: tuple[Tensor, ...] | None = None,
        output_attentions: bool = False,
        use_cache: bool = True,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, tuple[Tensor, ...] | None]:
        """The new states, both kinds of attention probabilities, keys and values: None if not asked for.

        ``past_key_value`` and the keys and values returned are (self keys, self values) and, where there
        is an encoder, (cross keys, cross values) behind them.
        """
        scale = scale_for(self.self_attn_layer_norm.weight)
        change, weights, present = self.self_attn(
            self.self_attn_layer_norm(hidden_states),
            past_key_value=None if past_key_value is None else past_key_value[:2],
            attention_mask=attention_mask,
            layer_head_mask=layer_head_mask,
            output_attentions=output_attentions,
            scale=scale,
        )
        states = self._add(hidden_states, change, scale)
        cross_weights = None
        if encoder_hidden_states is not None:
            change, cross_weights, cross_present = self.encoder_attn(
                self.encoder_attn_layer_norm(states),
                key_value_states=encoder_hidden_states,
                past_key_value=None if past_key_value is None else past_key_value[2:4] or None,
                attention_mask=encoder_attention_mask,
                layer_head_mask=cross_attn_layer_head_mask,
                output_attentions=output_attentions,
                scale=scale,
            )
            states = self._add(states, change, scale)
            present = present + cross_present
        return self._feed_forward(states), weights, cross_weights, present if use_cache else None


def embedding_scale(config: PegasusConfig) -> float:
    """What token embeddings are multiplied by."""
    return math.sqrt(config.d_model) if config.scale_embedding else 1.0
