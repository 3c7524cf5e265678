"""The output layer with what a search wants of it: the best tokens of each row and their log-probabilities.

One pass over the vocabulary leaves the logits, and of every ``BLOCK`` tokens the largest logit and the sum
of exponentials; a second one, a program a row, makes log Σ exp of them and looks for the best tokens in the
best blocks: the C best of all lie in the C blocks whose largest logits are highest.

Axes are those of ``static_step``; further N rows, C tokens found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pegasus.backends.torch.inference.kernels import launch
from pegasus.backends.torch.inference.kernels.tuning import Tuning

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: Tokens of a block.
BLOCK = 64
#: Blocks that a program looks at where the logits are there already.
BLOCKS = 32


@triton.jit
def _project(
    inputs,
    weight,
    bias,
    logits,
    tops,
    sums,
    rows,
    width,
    vocabulary,
    count,
    ROWS: tl.constexpr,
    DEPTH: tl.constexpr,
    TOKENS: tl.constexpr,
    BIAS: tl.constexpr,
):
    """Logits of one block of tokens for all rows, their largest and Σ exp(logit - largest)."""
    block = tl.program_id(0)
    v = block * TOKENS + tl.arange(0, TOKENS)
    n = tl.arange(0, ROWS)
    inside_v = v < vocabulary
    inside_n = n < rows
    found = tl.full((ROWS, TOKENS), 0.0, dtype=tl.float32)
    for at in range(0, width, DEPTH):
        k = at + tl.arange(0, DEPTH)
        inside_k = k < width
        tile = tl.load(
            weight + v[None, :].to(tl.int64) * width + k[:, None],
            mask=inside_v[None, :] & inside_k[:, None],
            other=0.0,
        )
        x = tl.load(
            inputs + n[:, None] * width + k[None, :],
            mask=inside_n[:, None] & inside_k[None, :],
            other=0.0,
        )
        found = tl.dot(x, tile, found, input_precision="ieee")
    if BIAS:
        found += tl.load(bias + v, mask=inside_v, other=0.0)[None, :]
    at = n.to(tl.int64)[:, None] * vocabulary + v[None, :]
    tl.store(logits + at, found, mask=inside_n[:, None] & inside_v[None, :])
    found = tl.where(inside_v[None, :], found, -float("inf"))
    top = tl.max(found, axis=1)
    level = tl.where(top == -float("inf"), 0.0, top)
    total = tl.sum(tl.exp(found - level[:, None]), axis=1)
    tl.store(tops + n * count + block, top, mask=inside_n)
    tl.store(sums + n * count + block, total, mask=inside_n)


@triton.jit
def _survey(
    logits,
    tops,
    sums,
    vocabulary,
    count,
    TOKENS: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """The largest logit and Σ exp of the blocks of one row whose logits are there."""
    row = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1) * BLOCKS + tl.arange(0, BLOCKS)
    v = b[:, None] * TOKENS + tl.arange(0, TOKENS)[None, :]
    found = tl.load(logits + row * vocabulary + v, mask=v < vocabulary, other=-float("inf"))
    top = tl.max(found, axis=1)
    level = tl.where(top == -float("inf"), 0.0, top)
    total = tl.sum(tl.exp(found - level[:, None]), axis=1)
    tl.store(tops + row * count + b, top, mask=b < count)
    tl.store(sums + row * count + b, total, mask=b < count)


@triton.jit
def _ranks(scores, places):
    """Numbers that order as (score, lower place first) do, all different: float bits above, place below."""
    bits = (scores + 0.0).to(tl.int32, bitcast=True)
    ordered = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64)
    return ordered * 4294967296 + (4294967295 - places.to(tl.int64))


@triton.jit
def _pick(
    logits,
    tops,
    sums,
    out,
    vocabulary,
    count,
    TOKENS: tl.constexpr,
    BLOCKS: tl.constexpr,
    BEST: tl.constexpr,
    ROOM: tl.constexpr,
):
    """out[N, 2·BEST]: the bits of the best log-probabilities of a row, then which tokens they are."""
    row = tl.program_id(0).to(tl.int64)
    b = tl.arange(0, BLOCKS)
    c = tl.arange(0, ROOM)
    lowest: tl.constexpr = -9223372036854775807
    top = tl.load(tops + row * count + b, mask=b < count, other=-float("inf"))
    total = tl.load(sums + row * count + b, mask=b < count, other=0.0)
    highest = tl.max(top, axis=0)
    log_sum = highest + tl.log(tl.sum(total * tl.exp(top - highest), axis=0))

    ranks = tl.where(b < count, _ranks(top, b), lowest)
    chosen = tl.full((ROOM,), -1, dtype=tl.int64)
    for number in range(tl.minimum(count, BEST)):
        best = tl.max(ranks, axis=0)
        chosen = tl.where(c == number, 4294967295 - (best & 4294967295), chosen)
        ranks = tl.where(ranks == best, lowest, ranks)

    t = chosen[:, None] * TOKENS + tl.arange(0, TOKENS)[None, :]
    there = (chosen >= 0)[:, None] & (t < vocabulary)
    scores = tl.load(logits + row * vocabulary + t, mask=there, other=-float("inf"))
    places = tl.where(there, _ranks(scores, t), lowest)
    found = tl.full((ROOM,), -float("inf"), dtype=tl.float32)
    tokens = tl.full((ROOM,), 0, dtype=tl.int64)
    for number in range(BEST):
        best = tl.max(tl.max(places, axis=1), axis=0)
        score = tl.max(tl.max(tl.where(places == best, scores, -float("inf")), axis=1), axis=0)
        found = tl.where(c == number, score, found)
        tokens = tl.where(c == number, 4294967295 - (best & 4294967295), tokens)
        places = tl.where(places == best, lowest, places)
    mine = out + row * 2 * BEST + c
    tl.store(mine, (found - log_sum).to(tl.int32, bitcast=True), mask=c < BEST)
    tl.store(mine + BEST, tokens.to(tl.int32), mask=c < BEST)


Blocks = tuple[Tensor, Tensor]


def project(
    states_ND: Float[Tensor, "N D"], head_VD: Float[Tensor, "V D"], bias_V: Tensor | None, tuning: Tuning
) -> tuple[Float[Tensor, "N V"], Blocks]:
    """Logits of few rows, float32, and of each block of tokens the largest and the sum of exponentials."""
    (rows, width), vocabulary = states_ND.shape, len(head_VD)
    logits = torch.empty((rows, vocabulary), dtype=torch.float32, device=states_ND.device)
    tops, sums = _rooms(logits)
    depth = tuning.vocabulary_depth * 2 // head_VD.element_size()
    launch.start(
        _project, (tops.shape[1],),
        states_ND, head_VD, logits if bias_V is None else bias_V, logits, tops, sums,
        rows, width, vocabulary, tops.shape[1],
        ROWS=launch.power(rows, 16), DEPTH=min(depth, launch.power(width, 16)), TOKENS=BLOCK,
        BIAS=bias_V is not None, stages=3,
    )  # fmt: skip
    return logits, (tops, sums)


def survey(logits_NV: Float[Tensor, "N V"]) -> Blocks:
    """Of each block of tokens the largest logit and the sum of exponentials."""
    rows, vocabulary = logits_NV.shape
    tops, sums = _rooms(logits_NV)
    count = tops.shape[1]
    launch.start(
        _survey, (rows, launch.blocks(count, BLOCKS)), logits_NV, tops, sums, vocabulary, count,
        TOKENS=BLOCK, BLOCKS=BLOCKS,
    )  # fmt: skip
    return tops, sums


def pick(logits_NV: Float[Tensor, "N V"], found: Blocks, count: int) -> Int[Tensor, "N 2C"]:
    """The best tokens of each row, of equal ones the lower first.

    Returns:
        int32: the bits of their log-probabilities (float32), best first, then the tokens.
    """
    (rows, vocabulary), blocks = logits_NV.shape, found[0].shape[1]
    out = torch.empty((rows, 2 * count), dtype=torch.int32, device=logits_NV.device)
    launch.start(
        _pick, (rows,), logits_NV, *found, out, vocabulary, blocks,
        TOKENS=BLOCK, BLOCKS=launch.power(blocks, 16), BEST=count, ROOM=launch.power(count), warps=8,
    )  # fmt: skip
    return out


def _rooms(logits_NV: Tensor) -> Blocks:
    rows, vocabulary = logits_NV.shape
    shape = (2, rows, launch.blocks(vocabulary, BLOCK))
    rooms = torch.empty(shape, dtype=torch.float32, device=logits_NV.device)
    return rooms[0], rooms[1]
