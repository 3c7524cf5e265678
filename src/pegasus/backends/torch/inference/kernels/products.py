"""Products of few rows with a layer's weights, read once by the whole card.

What a step waits for is the weights, so each program reads some columns of them (rows of ``nn.Linear``'s
matrix) from end to end and computes those columns for all rows. Sums are float32; nothing depends on the
order in which programs run.

Axes are those of ``static_step``; further N rows, K numbers a row, O columns of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from pegasus.backends.torch.inference.kernels import launch
from pegasus.backends.torch.inference.kernels.tuning import Tuning
from pegasus.backends.torch.inference.static_weights import Pair

if TYPE_CHECKING:
    from jaxtyping import Float


@triton.jit
def _norm_product(
    states,
    norm_weight,
    norm_bias,
    weight,
    bias,
    out,
    eps,
    rows,
    width,
    columns,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    RELU: tl.constexpr,
):
    """out[N, O] = norm(states)[N, K] · weight[O, K]ᵀ + bias, all of K at once."""
    o = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    k = tl.arange(0, WIDTH)
    n = tl.arange(0, ROWS)
    inside_k = k < width
    inside_o = o < columns
    inside_n = n < rows
    # The weights first: they come from afar, and the norm is computed while they are on their way.
    tile = tl.load(
        weight + o[None, :].to(tl.int64) * width + k[:, None],
        mask=inside_o[None, :] & inside_k[:, None],
        other=0.0,
    )
    x = tl.load(
        states + n[:, None] * width + k[None, :], mask=inside_n[:, None] & inside_k[None, :], other=0.0
    )
    mean = tl.sum(x, axis=1) / width
    centred = tl.where(inside_k[None, :], x - mean[:, None], 0.0)
    spread = tl.rsqrt(tl.sum(centred * centred, axis=1) / width + eps)
    gain = tl.load(norm_weight + k, mask=inside_k, other=0.0)
    offset = tl.load(norm_bias + k, mask=inside_k, other=0.0)
    normed = (centred * spread[:, None] * gain[None, :] + offset[None, :]).to(weight.dtype.element_ty)
    found = tl.dot(normed, tile, input_precision="ieee")
    found += tl.load(bias + o, mask=inside_o, other=0.0).to(tl.float32)[None, :]
    if RELU:
        found = tl.maximum(found, 0.0)
    at = n[:, None] * columns + o[None, :]
    tl.store(out + at, found.to(out.dtype.element_ty), mask=inside_n[:, None] & inside_o[None, :])


@triton.jit
def _product(
    inputs,
    weight,
    bias,
    out,
    alpha,
    rows,
    width,
    columns,
    ROWS: tl.constexpr,
    DEPTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    SPLITS: tl.constexpr,
    RELU: tl.constexpr,
    ADD: tl.constexpr,
):
    """inputs[N, K] · weight[O, K]ᵀ.

    SPLITS above 1: each part of K apart, out[SPLITS, N, O] without bias. ADD: out += alpha · (product +
    bias); else out = product + bias, RELU of it where asked.
    """
    o = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    part = tl.program_id(1)
    n = tl.arange(0, ROWS)
    inside_o = o < columns
    inside_n = n < rows
    share = tl.cdiv(tl.cdiv(width, DEPTH), SPLITS) * DEPTH
    found = tl.full((ROWS, COLUMNS), 0.0, dtype=tl.float32)
    for at in range(part * share, tl.minimum(part * share + share, width), DEPTH):
        k = at + tl.arange(0, DEPTH)
        inside_k = k < width
        tile = tl.load(
            weight + o[None, :].to(tl.int64) * width + k[:, None],
            mask=inside_o[None, :] & inside_k[:, None],
            other=0.0,
        )
        x = tl.load(
            inputs + n[:, None] * width + k[None, :],
            mask=inside_n[:, None] & inside_k[None, :],
            other=0.0,
        )
        found = tl.dot(x, tile, found, input_precision="ieee")
    inside = inside_n[:, None] & inside_o[None, :]
    where = n[:, None] * columns + o[None, :]
    if SPLITS > 1:
        tl.store(out + part * rows * columns + where, found, mask=inside)
    else:
        found += tl.load(bias + o, mask=inside_o, other=0.0).to(tl.float32)[None, :]
        if RELU:
            found = tl.maximum(found, 0.0)
        if ADD:
            found = tl.load(out + where, mask=inside, other=0.0) + found * alpha
        tl.store(out + where, found.to(out.dtype.element_ty), mask=inside)


def norm_product(
    states_ND: Float[Tensor, "N D"], norm: Pair, layer: Pair, eps: float, relu: bool, tuning: Tuning
) -> Float[Tensor, "N O"]:
    """What a layer makes of normalized states, the norm computed by each program.

    Args:
        states_ND: float32.
        norm: weight and bias, float32.
        layer: weight [O, D] and bias of the layer behind it.
        eps: of the norm.
        relu: whether negative numbers of the result become 0.
        tuning: sizes of blocks.
    """
    (weight, bias), (rows, width) = layer, states_ND.shape
    columns = len(weight)
    out = torch.empty((rows, columns), dtype=weight.dtype, device=weight.device)
    launch.start(
        _norm_product, (launch.blocks(columns, tuning.columns),),
        states_ND, *norm, weight, bias, out, eps, rows, width, columns,
        ROWS=launch.power(rows, 16), WIDTH=launch.power(width, 16), COLUMNS=tuning.columns, RELU=relu,
    )  # fmt: skip
    return out


def product(
    inputs_NK: Float[Tensor, "N K"], layer: Pair, relu: bool, tuning: Tuning
) -> Float[Tensor, "N O"]:
    """What a layer makes of its inputs."""
    weight, _ = layer
    out = torch.empty((len(inputs_NK), len(weight)), dtype=weight.dtype, device=weight.device)
    _start(inputs_NK, layer, out, tuning, RELU=relu)
    return out


def add_product(
    states_ND: Float[Tensor, "N D"],
    inputs_NK: Float[Tensor, "N K"],
    layer: Pair,
    alpha: float,
    tuning: Tuning,
) -> None:
    """Adds ``alpha`` times what a layer makes of its inputs to states, which are float32."""
    _start(inputs_NK, layer, states_ND, tuning, ADD=True, alpha=alpha)


def partial_products(
    inputs_NK: Float[Tensor, "N K"], layer: Pair, splits: int, tuning: Tuning
) -> Float[Tensor, "P N O"]:
    """A product in parts whose sum it is, without the bias: more programs than its columns give."""
    weight, _ = layer
    out = torch.empty((splits, len(inputs_NK), len(weight)), dtype=torch.float32, device=weight.device)
    _start(inputs_NK, layer, out, tuning, SPLITS=splits)
    return out


def _start(
    inputs_NK: Tensor, layer: Pair, out: Tensor, tuning: Tuning, alpha: float = 1.0, **constants: Any
) -> None:
    (weight, bias), (rows, width) = layer, inputs_NK.shape
    columns, block = len(weight), tuning.columns if rows <= tuning.norm_rows else tuning.wide_columns
    depth = _depth(weight, rows, tuning)
    constants = {"SPLITS": 1, "RELU": False, "ADD": False} | constants
    launch.start(
        _product, (launch.blocks(columns, block), constants["SPLITS"]),
        inputs_NK, weight, bias, out, alpha, rows, width, columns,
        ROWS=launch.power(rows, 16), DEPTH=depth, COLUMNS=block, stages=4, **constants
    )  # fmt: skip


def _depth(weight: Tensor, rows: int, tuning: Tuning) -> int:
    """Of a turn: less for many rows and wide numbers, so that four turns fit a processor's memory."""
    depth = tuning.depth if rows <= 16 else tuning.depth // 2
    fitting = max(16, depth * 2 // int(weight.element_size()))
    return min(fitting, launch.power(weight.shape[1], 16))
