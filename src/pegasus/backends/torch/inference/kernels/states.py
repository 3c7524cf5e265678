"""Kernels over the residual: what a step begins with, and the norm with what is added before it.

Axes are those of ``static_step``; further N rows, P parts of a sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pegasus.backends.torch.inference.kernels import launch
from pegasus.backends.torch.inference.static_weights import Pair

if TYPE_CHECKING:
    from jaxtyping import Float


@triton.jit
def _add_norm(
    states,
    change,
    bias,
    norm_weight,
    norm_bias,
    out,
    alpha,
    eps,
    rows,
    width,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
    BIAS: tl.constexpr,
):
    """states += alpha · (Σ of PARTS changes + bias); out = norm(states)."""
    row = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, WIDTH)
    inside = k < width
    x = tl.load(states + row * width + k, mask=inside, other=0.0)
    if PARTS > 0:
        added = tl.full((WIDTH,), 0.0, dtype=tl.float32)
        for part in tl.static_range(PARTS):
            at = change + (part * rows + row) * width + k
            added += tl.load(at, mask=inside, other=0.0).to(tl.float32)
        if BIAS:
            added += tl.load(bias + k, mask=inside, other=0.0).to(tl.float32)
        x += added * alpha
        tl.store(states + row * width + k, x, mask=inside)
    mean = tl.sum(x, axis=0) / width
    centred = tl.where(inside, x - mean, 0.0)
    spread = tl.rsqrt(tl.sum(centred * centred, axis=0) / width + eps)
    gain = tl.load(norm_weight + k, mask=inside, other=0.0)
    offset = tl.load(norm_bias + k, mask=inside, other=0.0)
    normed = centred * spread * gain + offset
    tl.store(out + row * width + k, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _embed(
    tokens,
    place,
    table,
    positions,
    out,
    scale,
    zero_start,
    width,
    WIDTH: tl.constexpr,
):
    """The embedding of each row's token at one place; zeros for the token ``zero_start`` at place 0."""
    row = tl.program_id(0)
    k = tl.arange(0, WIDTH)
    inside = k < width
    token = tl.load(tokens + row)
    at = tl.load(place)
    found = tl.load(table + token * width + k, mask=inside, other=0.0).to(tl.float32) * scale
    found = tl.where((token == zero_start) & (at == 0), 0.0, found)
    found += tl.load(positions + at * width + k, mask=inside, other=0.0)
    tl.store(out + row.to(tl.int64) * width + k, found, mask=inside)


def add_norm(
    states_ND: Float[Tensor, "N D"],
    change_PND: Float[Tensor, "P N D"] | None,
    bias_D: Tensor | None,
    norm: Pair,
    eps: float,
    alpha: float,
    dtype: torch.dtype,
) -> Float[Tensor, "N D"]:
    """Adds to the residual where it lies, and returns its norm.

    Args:
        states_ND: float32, changed.
        change_PND: what is added, in parts; None: nothing.
        bias_D: added too; None: none.
        norm: weight and bias, float32.
        eps: of the norm.
        alpha: what the changes are multiplied by.
        dtype: of the result.
    """
    rows, width = states_ND.shape
    out = torch.empty((rows, width), dtype=dtype, device=states_ND.device)
    change = states_ND if change_PND is None else change_PND
    launch.start(
        _add_norm, (rows,),
        states_ND, change, norm[1] if bias_D is None else bias_D, *norm, out, alpha, eps, rows, width,
        WIDTH=launch.power(width, 16), PARTS=0 if change_PND is None else len(change_PND),
        BIAS=bias_D is not None, warps=4 if width <= 2048 else 8,
    )  # fmt: skip
    return out


def embed(
    tokens_N: Tensor,
    place: Tensor,
    table_VD: Tensor,
    positions_KD: Float[Tensor, "K D"],
    scale: float,
    zero_start: int | None,
) -> Float[Tensor, "N D"]:
    """The residual that a step begins with, float32.

    Args:
        tokens_N: int64.
        place: one int64 on the device, where they all stand.
        table_VD: of the tokens.
        positions_KD: of the places, float32.
        scale: of the tokens' embeddings.
        zero_start: the token that is zeros at place 0; None: no such token.
    """
    rows, width = len(tokens_N), table_VD.shape[1]
    start = -1 if zero_start is None else zero_start
    out = torch.empty((rows, width), dtype=torch.float32, device=table_VD.device)
    launch.start(
        _embed, (rows,),
        tokens_N, place, table_VD, positions_KD, out, scale, start, width,
        WIDTH=launch.power(width, 16),
    )  # fmt: skip
    return out
