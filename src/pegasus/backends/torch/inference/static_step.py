"""One pass of the decoder over memory of a fixed size, in plain operations.

Nothing here asks the device for a number or makes a tensor whose shape depends on one, so a pass can be
recorded once (a CUDA graph, ``torch.compile``) and run again with other numbers in the same places.

The M beams of a text are folded into its queries in self-attention too. Keys and values stay where the row
wrote them that read the token; each row has a map of whose places are its history, so that beams which
change places move one bit a place and no memory.

Axes are those of ``generation.session``; further E head width, H heads, K places of the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from pegasus.backends.torch.inference.scores import best
from pegasus.backends.torch.inference.static_cache import Memory
from pegasus.backends.torch.inference.static_weights import Pair, Weights
from pegasus.backends.torch.model.half import wide, wide_product

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Found:
    """What reading one token in every row gave."""

    states_RTD: Float[Tensor, "R 1 D"]
    """The last states, of the weights' type."""
    logits_RV: Float[Tensor, "R V"]
    """float32."""
    best_RC: Int[Tensor, "R 2C"] | None
    """int32: the bits of the best log-probabilities (float32), best first, then the tokens; None: not
    sought."""


def take(weights: Weights, memory: Memory, span: int, count: int) -> Found:
    """Reads the tokens that the memory was told, and finds the ``count`` best continuations of each row.

    Args:
        weights: the decoder.
        memory: what it remembers; changed in place.
        span: K, how many places are looked at; they include the new one.
        count: C; 0: only logits are wanted.
    """
    rows = memory.texts * memory.beams
    tokens, parents, start = memory.told[:rows], memory.told[rows : 2 * rows], memory.told[-1]
    states = read(weights, memory, span, tokens[:, None], parents, start)
    found = logits(weights, states[:, -1])
    if not count:
        return Found(states, found, None)
    values, ids = best(torch.log_softmax(found, dim=-1), count)
    return Found(states, found, torch.cat([values.view(torch.int32), ids.to(torch.int32)], dim=1))


def read(
    weights: Weights,
    memory: Memory,
    span: int,
    tokens_RT: Int[Tensor, "R T"],
    parents_R: Int[Tensor, " R"],
    start: Int[Tensor, ""],
) -> Float[Tensor, "R T D"]:
    """Read tokens, write what is to be remembered of them, and return the last states.

    Args:
        weights: the decoder.
        memory: what it remembers; changed in place.
        span: K, how many places are looked at; they include the new ones.
        tokens_RT: the new tokens.
        parents_R: whose history each row carries on.
        start: how many places are taken already; the tokens get the ones behind.
    """
    places_T = start + torch.arange(tokens_RT.shape[1], device=tokens_RT.device)
    mask = _look(memory, span, places_T, parents_R, weights.dtype)
    embedded = wide(functional.embedding(tokens_RT, weights.table_VD)) * weights.embed_scale
    if weights.zero_start is not None:
        begins_RT = (places_T == 0) & (tokens_RT == weights.zero_start)
        embedded = embedded.masked_fill(begins_RT[..., None], 0.0)
    states = embedded + memory.positions_KD.index_select(0, places_T)
    for number, layer in enumerate(weights.layers):
        normed = _normed(states, layer.norm, weights)
        query, key, value = functional.linear(normed, *layer.query_key_value).chunk(3, dim=-1)
        memory.keys[number].index_copy_(2, places_T, _laid(key, memory, weights))
        memory.values[number].index_copy_(2, places_T, _laid(value, memory, weights))
        keys, values = (
            one[:, :, :span].flatten(2, 3) for one in (memory.keys[number], memory.values[number])
        )
        found = _attend(query, keys, values, mask, memory, weights)
        states = _added(states, functional.linear(found, *layer.out), weights)

        query = functional.linear(_normed(states, layer.cross_norm, weights), *layer.cross_query)
        keys, values = memory.cross_keys[number], memory.cross_values[number]
        found = _attend(query, keys, values, memory.cross_mask, memory, weights)
        states = _added(states, functional.linear(found, *layer.cross_out), weights)

        hidden = weights.activate(
            functional.linear(_normed(states, layer.last_norm, weights), *layer.inner)
        )
        states = _added(states, functional.linear(hidden, *layer.outer), weights)
    return _normed(states, weights.norm, weights)


def logits(weights: Weights, states_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
    """What the head makes of states, float32."""
    if weights.dtype in (torch.float16, torch.bfloat16):
        found = wide_product(states_ND, weights.head_VD)
    else:
        found = functional.linear(states_ND, weights.head_VD).float()
    return found if weights.bias_V is None else found + weights.bias_V


def _look(
    memory: Memory, span: int, places_T: Tensor, parents_R: Tensor, dtype: torch.dtype
) -> Float[Tensor, "B 1 M*T K*M"]:
    """Note whose history each row has now, and return what its queries may look at."""
    texts, beams, tokens = memory.texts, memory.beams, len(places_T)
    memory.seen_RKM.copy_(memory.seen_RKM.index_select(0, parents_R))
    slots_K = torch.arange(memory.places, device=places_T.device)
    new_TK = (slots_K >= places_T[0]) & (slots_K <= places_T[:, None])
    own_MTKM: Bool[Tensor, "M T K M"] = new_TK[None, :, :, None] & memory.own_MM[:, None, None]
    seen = memory.seen_RKM.view(texts, beams, memory.places, beams)
    allowed = seen[:, :, None] | own_MTKM
    seen |= own_MTKM[:, -1]
    folded = allowed[:, :, :, :span].reshape(texts, 1, beams * tokens, span * beams)
    return torch.zeros(folded.shape, dtype=dtype, device=folded.device).masked_fill_(~folded, -torch.inf)


def _normed(states: Tensor, norm: Pair, weights: Weights) -> Tensor:
    return functional.layer_norm(states, (weights.width,), *norm, weights.eps).to(weights.dtype)


def _added(states: Tensor, change: Tensor, weights: Weights) -> Tensor:
    return torch.add(states, change, alpha=1 / weights.scale)


def _laid(projected_RTD: Tensor, memory: Memory, weights: Weights) -> Float[Tensor, "B H T M E"]:
    """Keys or values as the memory holds them."""
    split = projected_RTD.unflatten(-1, (weights.heads, -1)).unflatten(0, (memory.texts, memory.beams))
    return split.permute(0, 3, 2, 1, 4)


def _attend(
    query_RTD: Tensor, keys: Tensor, values: Tensor, mask: Tensor, memory: Memory, weights: Weights
) -> Float[Tensor, "R T D"]:
    split = query_RTD.unflatten(-1, (weights.heads, -1)).unflatten(0, (memory.texts, memory.beams))
    folded = split.permute(0, 3, 1, 2, 4).flatten(2, 3)
    found = functional.scaled_dot_product_attention(folded, keys, values, attn_mask=mask)
    beams = found.unflatten(2, (memory.beams, -1)).permute(0, 2, 3, 1, 4)
    return beams.flatten(0, 1).flatten(2, 3)
