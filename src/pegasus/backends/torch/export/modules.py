"""The encoder and one step of the decoder as modules of tensors alone, which is what exporters take.

Rows of the decoder are [B, M]: M beams of each of B texts. Keys and values of a source are made once, by
the encoder, and held once a text; the decoder is told what it remembers and returns it with the new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pegasus.backends.torch.model.layers import DecoderLayer
from pegasus.errors import NotOffered

#: Sizes to trace with, each another one, so that none is taken for another: B, M, S, T, P.
_TEXTS, _BEAMS, _SOURCE, _TOKENS, _PAST = 2, 3, 7, 4, 5


@dataclass(frozen=True)
class Part:
    """A module and how it is traced.

    Attributes:
        module: the module.
        inputs: tensors of the right kinds; no tensor comes twice, or both places would be taken for one.
        sizes: which axes of them may have any size, as ``torch.export`` has it.
        names: of all inputs, then of all outputs.
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    sizes: tuple[Any, ...]
    names: tuple[list[str], list[str]]


def parts(model: Any, int8: bool = False) -> tuple[Part, Part]:
    """The encoder and the step of the decoder of a ``PegasusForConditionalGeneration``.

    Args:
        model: the model.
        int8: whether embeddings are kept in 8 bits, and logits are made by a matrix of its own.

    Raises:
        NotOffered: a model of another kind, or one that has lost heads.
    """
    refuse_to_export(model)
    config, free = model.config, torch.export.Dim.DYNAMIC
    heads, layers = config.decoder_attention_heads, config.decoder_layers
    width = config.d_model // heads
    past = [torch.zeros(_TEXTS, _BEAMS, heads, _PAST, width) for _ in range(2 * layers)]
    cross = [torch.zeros(_TEXTS, heads, _SOURCE, width) for _ in range(2 * layers)]
    ids, mask = (torch.ones(_TEXTS, _SOURCE, dtype=torch.int64) for _ in range(2))
    text, remembered, looked_at = {0: free, 1: free}, {0: free, 1: free, 3: free}, {0: free, 2: free}
    made = memory_names("cross", layers)
    table = EmbeddingBytes(model.get_input_embeddings().weight) if int8 else model.get_input_embeddings()
    encoder = Part(
        EncoderModule(model, table).eval(),
        (ids, mask),
        (text, text),
        (["input_ids", "attention_mask"], ["last_hidden_state", *made]),
    )
    decoder = Part(
        DecoderModule(model, table, own_head=int8).eval(),
        (torch.ones(_TEXTS, _BEAMS, _TOKENS, dtype=torch.int64), mask, past, cross),
        ({0: free, 1: free, 2: free}, text, [remembered] * len(past), [looked_at] * len(cross)),
        (
            ["decoder_input_ids", "attention_mask", *memory_names("past", layers), *made],
            ["logits", *memory_names("present", layers)],
        ),
    )
    return encoder, decoder


def memory_names(word: str, layers: int) -> list[str]:
    """The names of keys and values, layer by layer: ``past.0.key``."""
    return [f"{word}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


def refuse_to_export(model: Any) -> None:
    """What the modules here do not say.

    Raises:
        NotOffered: a model of another kind, or one that has lost heads.
    """
    if model.kind != "conditional" or model.config.pruned_heads:
        raise NotOffered(
            "Only a whole PegasusForConditionalGeneration with all of its heads is exported: give its "
            "folder."
        )


class EmbeddingBytes(nn.Module):
    """A table of embeddings in 8 bits, a scale for each row.

    Quantizers of graphs take matrices that are multiplied; a table that rows are taken of they would give
    one scale.
    """

    rows: Tensor
    scales: Tensor

    def __init__(self, weight: Float[Tensor, "V D"]) -> None:
        super().__init__()
        exact = weight.detach()
        scales = exact.abs().amax(1, keepdim=True).clamp_min(torch.finfo(exact.dtype).tiny) / 127
        self.register_buffer("rows", (exact / scales).round_().to(torch.int8))
        self.register_buffer("scales", scales)

    def forward(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        """The rows of these tokens."""
        return self.rows[ids].to(self.scales.dtype) * self.scales[ids]


class TurnedLinear(nn.Module):
    """A layer without bias whose matrix is kept as it is multiplied, and shared with nobody."""

    def __init__(self, weight: Float[Tensor, "O I"]) -> None:
        super().__init__()
        self.register_buffer("turned", weight.detach().t().contiguous())

    def forward(self, states: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        """The product."""
        return states @ self.turned


class EncoderModule(nn.Module):
    """Tokens → the last states, and of each layer of the decoder the keys and values that it looks at."""

    def __init__(self, model: Any, table: nn.Module) -> None:
        super().__init__()
        self.encoder, self.table = model.get_encoder(), table
        attentions = [layer.encoder_attn for layer in model.get_decoder().layers]
        self.keys = nn.ModuleList(attention.k_proj for attention in attentions)
        self.values = nn.ModuleList(attention.v_proj for attention in attentions)
        self.head_dim = attentions[0].head_dim if attentions else 1

    def forward(
        self, input_ids: Int[Tensor, "B S"], attention_mask: Int[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S D"], ...]:
        """``last_hidden_state``, then ``cross.0.key`` [B, H, S, E] and so on."""
        encoder = self.encoder
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        states = self.table(input_ids) * encoder.embed_scale
        states = states + encoder.embed_positions.weight.index_select(0, places)
        mask = _hidden(attention_mask[:, None, None, :] == 0, states)
        for layer in encoder.layers:
            states = layer(states, mask, None, False)[0]
        states = encoder.layer_norm(states)
        found = [states]
        for keys, values in zip(self.keys, self.values, strict=True):
            found += [_heads(self.head_dim, keys(states)), _heads(self.head_dim, values(states))]
        return tuple(found)


class DecoderModule(nn.Module):
    """New tokens, what is remembered, and what the encoder made → logits, and what is remembered now."""

    def __init__(self, model: Any, table: nn.Module, own_head: bool) -> None:
        super().__init__()
        self.decoder, self.table, self.head = model.get_decoder(), table, model.get_output_embeddings()
        if own_head:  # turned, as a matrix that is multiplied is kept: quantizers know it by that
            self.head = TurnedLinear(self.head.weight)
        self.register_buffer("bias", model.final_logits_bias.detach().clone())

    def forward(
        self,
        decoder_input_ids: Int[Tensor, "B M T"],
        attention_mask: Int[Tensor, "B S"],
        past: Sequence[Float[Tensor, "B M H P E"]],
        cross: Sequence[Float[Tensor, "B H S E"]],
    ) -> tuple[Float[Tensor, "B M T V"], ...]:
        """``logits``, then ``present.0.key`` [B, M, H, P + T, E] and so on."""
        decoder, tokens = self.decoder, decoder_input_ids.shape[2]
        start = past[0].shape[3]
        places = torch.arange(tokens, device=decoder_input_ids.device) + start
        embeds = self.table(decoder_input_ids) * decoder.embed_scale
        if decoder.zero_start:
            begins = (places == 0) & (decoder_input_ids == decoder.config.decoder_start_token_id)
            embeds = embeds.masked_fill(begins[..., None], 0.0)
        states = embeds + decoder.embed_positions.weight.index_select(0, places)
        later = torch.arange(start + tokens, device=places.device)[None, :] > places[:, None]
        mask, cross_mask = _hidden(later, states), _hidden(attention_mask[:, None, None, :] == 0, states)
        presents: list[Tensor] = []
        for number, layer in enumerate(decoder.layers):
            keys, values = past[2 * number : 2 * number + 2]
            states, *present = _self_attend(layer, states, keys, values, mask)
            presents += present
            states = _cross_attend(layer, states, cross[2 * number], cross[2 * number + 1], cross_mask)
            inner = layer.activation_fn(layer.fc1(layer.final_layer_norm(states)))
            states = states + layer.fc2(inner)
        return self.head(decoder.layer_norm(states)) + self.bias[0], *presents


def _hidden(hidden: Tensor, states: Tensor) -> Tensor:
    """The least number where nothing may be seen: finite, so that a row that sees nothing is no NaN."""
    return hidden.to(states.dtype) * torch.finfo(states.dtype).min


def _heads(width: int, projected: Float[Tensor, "*B T I"]) -> Float[Tensor, "*B H T E"]:
    return projected.unflatten(-1, (projected.shape[-1] // width, width)).transpose(-3, -2)


def _joined(mixed: Float[Tensor, "*B H T E"]) -> Float[Tensor, "*B T I"]:
    return mixed.transpose(-3, -2).flatten(-2)


def _self_attend(
    layer: DecoderLayer, states: Tensor, keys: Tensor, values: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    attention, normed = layer.self_attn, layer.self_attn_layer_norm(states)
    queries = _heads(attention.head_dim, attention.q_proj(normed)) * attention.scaling
    keys = torch.cat([keys, _heads(attention.head_dim, attention.k_proj(normed))], dim=-2)
    values = torch.cat([values, _heads(attention.head_dim, attention.v_proj(normed))], dim=-2)
    shares = torch.softmax(queries @ keys.transpose(-1, -2) + mask, dim=-1)
    return states + attention.out_proj(_joined(shares @ values)), keys, values


def _cross_attend(
    layer: DecoderLayer, states: Tensor, keys: Tensor, values: Tensor, mask: Tensor
) -> Tensor:
    """The beams of a text are folded into its queries, so that each text's keys are read once."""
    attention, normed = layer.encoder_attn, layer.encoder_attn_layer_norm(states)
    beams, tokens = states.shape[1], states.shape[2]
    queries = _heads(attention.head_dim, attention.q_proj(normed).flatten(1, 2)) * attention.scaling
    shares = torch.softmax(queries @ keys.transpose(-1, -2) + mask, dim=-1)
    mixed = _joined(shares @ values).unflatten(1, (beams, tokens))
    return states + attention.out_proj(mixed)
