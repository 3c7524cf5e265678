"""Attention of an encoder over texts that lie one behind the other, without padding.

Axes: N tokens of all texts, B texts, S places of the longest one, H heads, E their width, D = H · E.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pegasus.backends.torch.inference.kernels import launch
from pegasus.backends.torch.inference.kernels.attention import LOG2_E

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: Queries of a program, and keys that it looks at in a turn.
QUERIES, KEYS = 64, 64


@triton.jit
def _attend_packed(
    joined,
    starts,
    out,
    scale,
    heads,
    width,
    WIDTH: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
):
    """Some queries of one text, one head: softmax(query · keysᵀ) · values over the text's own places."""
    head = tl.program_id(1)
    text = tl.program_id(2)
    first = tl.load(starts + text)
    length = (tl.load(starts + text + 1) - first).to(tl.int32)
    begin = tl.program_id(0) * QUERIES
    if begin < length:
        e = tl.arange(0, WIDTH)
        inside = e < width
        model = heads * width
        base = joined + first.to(tl.int64) * 3 * model + head * width
        q = begin + tl.arange(0, QUERIES)
        asking = (q < length)[:, None] & inside[None, :]
        query = tl.load(base + q[:, None].to(tl.int64) * 3 * model + e[None, :], mask=asking, other=0.0)
        top = tl.full((QUERIES,), -float("inf"), dtype=tl.float32)
        total = tl.full((QUERIES,), 0.0, dtype=tl.float32)
        found = tl.full((QUERIES, WIDTH), 0.0, dtype=tl.float32)
        for start in range(0, length, KEYS):
            k = start + tl.arange(0, KEYS)
            here = (k < length)[:, None] & inside[None, :]
            where = base + k[:, None].to(tl.int64) * 3 * model + e[None, :]
            key = tl.load(where + model, mask=here, other=0.0)
            scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
            scores = tl.where((k < length)[None, :], scores, -float("inf"))
            higher = tl.maximum(top, tl.max(scores, axis=1))  # a number: each turn has a place of the text
            weights = tl.exp2(scores - higher[:, None])
            fade = tl.exp2(top - higher)
            total = total * fade + tl.sum(weights, axis=1)
            value = tl.load(where + 2 * model, mask=here, other=0.0)
            found = found * fade[:, None]
            found = tl.dot(weights.to(value.dtype), value, found, input_precision="ieee")
            top = higher
        at = out + (first + q).to(tl.int64)[:, None] * model + head * width + e[None, :]
        tl.store(at, (found / total[:, None]).to(out.dtype.element_ty), mask=asking)


def attend_packed(
    joined_ND: Float[Tensor, "N 3D"], starts_B: Int[Tensor, " B+1"], longest: int, heads: int
) -> Float[Tensor, "N D"]:
    """Self-attention of each text over itself.

    Args:
        joined_ND: queries, keys and values.
        starts_B: int64, where each text begins, and where the last one ends.
        longest: no text is longer.
        heads: H.

    Returns:
        What was found; nothing is written for rows behind the last text.
    """
    rows, model = len(joined_ND), joined_ND.shape[1] // 3
    out = torch.zeros((rows, model), dtype=joined_ND.dtype, device=joined_ND.device)
    width = model // heads
    launch.start(
        _attend_packed, (launch.blocks(longest, QUERIES), heads, len(starts_B) - 1),
        joined_ND, starts_B, out, LOG2_E / math.sqrt(width), heads, width,
        WIDTH=launch.power(width, 16), QUERIES=QUERIES, KEYS=KEYS,
    )  # fmt: skip
    return out
