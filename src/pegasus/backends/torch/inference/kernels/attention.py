"""Attention of a step: over the history of each row, and of all beams of a text over its source at once.

A softmax over many places is taken in parts where that fills the card; a part leaves its sum, its largest
score and its weighted values, and ``_join`` makes one of them, in the order of the places.

Axes are those of ``static_step``; further P parts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pegasus.backends.torch.inference.kernels import launch
from pegasus.backends.torch.inference.kernels.tuning import Tuning

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from pegasus.backends.torch.inference.static_cache import Memory

#: Scores are taken to the base of two, which is what a GPU computes.
LOG2_E = 1 / math.log(2)


@triton.jit
def _attend_history(
    joined,
    keys,
    values,
    owners,
    place,
    out,
    tops,
    sums,
    scale,
    heads,
    beams,
    places,
    span,
    width,
    WIDTH: tl.constexpr,
    PLACES: tl.constexpr,
    CHUNK: tl.constexpr,
    PARTS: tl.constexpr,
):
    """One row, one head, one part of the places; the part that the new place is in writes it down too."""
    row = tl.program_id(0)
    head = tl.program_id(1)
    part = tl.program_id(2)
    e = tl.arange(0, WIDTH)
    inside = e < width
    model = heads * width
    mine = joined + row.to(tl.int64) * 3 * model + head * width + e
    query = tl.load(mine, mask=inside, other=0.0).to(tl.float32) * scale
    base = ((row // beams).to(tl.int64) * heads + head) * places * beams * width
    new = tl.load(place).to(tl.int32)
    first = part * CHUNK
    top = tl.full((), -float("inf"), dtype=tl.float32)
    total = tl.full((), 0.0, dtype=tl.float32)
    found = tl.full((WIDTH,), 0.0, dtype=tl.float32)
    if (new >= first) & (new < first + CHUNK):
        key = tl.load(mine + model, mask=inside, other=0.0)
        value = tl.load(mine + 2 * model, mask=inside, other=0.0)
        at = base + (new.to(tl.int64) * beams + row % beams) * width + e
        tl.store(keys + at, key, mask=inside)
        tl.store(values + at, value, mask=inside)
        top = tl.sum(query * key.to(tl.float32), axis=0)
        total = tl.full((), 1.0, dtype=tl.float32)
        found = value.to(tl.float32)
    for start in range(first, tl.minimum(new, first + CHUNK), PLACES):
        k = start + tl.arange(0, PLACES)
        old = k < tl.minimum(new, first + CHUNK)
        owner = tl.load(owners + row * span + k, mask=old, other=0)
        at = base + (k * beams + owner).to(tl.int64)[:, None] * width + e[None, :]
        here = old[:, None] & inside[None, :]
        key = tl.load(keys + at, mask=here, other=0.0).to(tl.float32)
        value = tl.load(values + at, mask=here, other=0.0).to(tl.float32)
        scores = tl.where(old, tl.sum(query[None, :] * key, axis=1), -float("inf"))
        higher = tl.maximum(top, tl.max(scores, axis=0))
        weights = tl.exp2(scores - higher)
        fade = tl.exp2(top - higher)
        total = total * fade + tl.sum(weights, axis=0)
        found = found * fade + tl.sum(weights[:, None] * value, axis=0)
        top = higher
    if PARTS == 1:
        at = row.to(tl.int64) * model + head * width + e
        tl.store(out + at, (found / total).to(out.dtype.element_ty), mask=inside)
    else:
        one = (row * heads + head) * PARTS + part
        tl.store(tops + one, top)
        tl.store(sums + one, total)
        tl.store(out + one.to(tl.int64) * width + e, found, mask=inside)


@triton.jit
def _attend_source(
    queries,
    keys,
    values,
    mask,
    out,
    tops,
    sums,
    scale,
    heads,
    beams,
    source,
    width,
    WIDTH: tl.constexpr,
    BEAMS: tl.constexpr,
    PLACES: tl.constexpr,
    CHUNK: tl.constexpr,
    PARTS: tl.constexpr,
):
    """All beams of one text, one head, one part of the source."""
    text = tl.program_id(0)
    head = tl.program_id(1)
    part = tl.program_id(2)
    e = tl.arange(0, WIDTH)
    m = tl.arange(0, BEAMS)
    inside = e < width
    model = heads * width
    row = text * beams + m
    rows = (m < beams)[:, None] & inside[None, :]
    at = row.to(tl.int64)[:, None] * model + head * width + e[None, :]
    query = tl.load(queries + at, mask=rows, other=0.0)
    base = (text.to(tl.int64) * heads + head) * source * width
    top = tl.full((BEAMS,), -float("inf"), dtype=tl.float32)
    total = tl.full((BEAMS,), 0.0, dtype=tl.float32)
    found = tl.full((BEAMS, WIDTH), 0.0, dtype=tl.float32)
    for start in range(part * CHUNK, tl.minimum(source, part * CHUNK + CHUNK), PLACES):
        s = start + tl.arange(0, PLACES)
        here = s < source
        where = base + s[:, None] * width + e[None, :]
        key = tl.load(keys + where, mask=here[:, None] & inside[None, :], other=0.0)
        hidden = tl.load(mask + text * source + s, mask=here, other=-float("inf")).to(tl.float32)
        scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        # What is hidden has the mask's number and no other, as if it had taken up all of a float: a text of
        # nothing but padding averages its own places.
        scores = tl.where((hidden == 0.0)[None, :], scores, hidden[None, :])
        higher = tl.maximum(top, tl.max(scores, axis=1))
        level = tl.where(higher == -float("inf"), 0.0, higher)
        weights = tl.exp2(scores - level[:, None])
        fade = tl.exp2(top - level)
        total = total * fade + tl.sum(weights, axis=1)
        value = tl.load(values + where, mask=here[:, None] & inside[None, :], other=0.0)
        found = found * fade[:, None]
        found = tl.dot(weights.to(value.dtype), value, found, input_precision="ieee")
        top = higher
    if PARTS == 1:
        tl.store(out + at, (found / total[:, None]).to(out.dtype.element_ty), mask=rows)
    else:
        one = (row * heads + head) * PARTS + part
        tl.store(tops + one, top, mask=m < beams)
        tl.store(sums + one, total, mask=m < beams)
        tl.store(out + one.to(tl.int64)[:, None] * width + e[None, :], found, mask=rows)


@triton.jit
def _join(
    parts,
    tops,
    sums,
    out,
    width,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
    ROOM: tl.constexpr,
):
    """One softmax of its parts: one row and head."""
    one = tl.program_id(0).to(tl.int64)
    p = tl.arange(0, ROOM)
    e = tl.arange(0, WIDTH)
    there = p < PARTS
    top = tl.load(tops + one * PARTS + p, mask=there, other=-float("inf"))
    # The part with the new place, or one with a source, has seen something, so the highest is a number.
    weights = tl.exp2(top - tl.max(top, axis=0))
    total = tl.sum(weights * tl.load(sums + one * PARTS + p, mask=there, other=0.0), axis=0)
    at = (one * PARTS + p)[:, None] * width + e[None, :]
    found = tl.load(parts + at, mask=there[:, None] & (e < width)[None, :], other=0.0)
    found = tl.sum(found * weights[:, None], axis=0) / total
    tl.store(out + one * width + e, found.to(out.dtype.element_ty), mask=e < width)


def attend_history(
    joined_RD: Float[Tensor, "R 3D"],
    keys: Float[Tensor, "B H K M E"],
    values: Float[Tensor, "B H K M E"],
    owners_RK: Int[Tensor, "R K"],
    memory: Memory,
    tuning: Tuning,
) -> Float[Tensor, "R D"]:
    """Self-attention of one new place in each row, whose key and value are put into the memory.

    Args:
        joined_RD: queries, keys and values of the new place.
        keys: the memory of a layer, changed.
        values: and its values.
        owners_RK: whose places are each row's history, of the first K places.
        memory: where the new place is.
        tuning: sizes of blocks.
    """
    rows, span = owners_RK.shape
    _, heads, places, beams, width = keys.shape
    parts = 1 if span <= tuning.places_whole else launch.blocks(span, tuning.places_whole)
    out, tops, sums = _rooms(joined_RD, rows, heads, width, parts)
    launch.start(
        _attend_history, (rows, heads, parts),
        joined_RD, keys, values, owners_RK, memory.told[2 * rows :], out, tops, sums,
        LOG2_E / math.sqrt(width), heads, beams, places, span, width,
        WIDTH=launch.power(width), PLACES=tuning.places, CHUNK=tuning.places_whole, PARTS=parts,
    )  # fmt: skip
    return out if parts == 1 else _joined(joined_RD, out, tops, sums)


def attend_source(
    queries_RD: Float[Tensor, "R D"],
    keys: Float[Tensor, "B H S E"],
    values: Float[Tensor, "B H S E"],
    mask: Float[Tensor, "B 1 1 S"],
    beams: int,
    tuning: Tuning,
) -> Float[Tensor, "R D"]:
    """Cross-attention; a source's keys and values are read once for all its beams.

    Args:
        queries_RD: of each row.
        keys: of the source.
        values: of the source.
        mask: 0, the lowest number for what is hidden, -∞ where there is no source.
        beams: M.
        tuning: sizes of blocks.
    """
    texts, heads, source, width = keys.shape
    turns = launch.blocks(source, tuning.source)
    parts = min(turns, max(1, launch.power(tuning.programs // max(1, texts * heads))))
    chunk = launch.blocks(turns, parts) * tuning.source
    parts = launch.blocks(source, chunk)
    out, tops, sums = _rooms(queries_RD, texts * beams, heads, width, parts)
    launch.start(
        _attend_source, (texts, heads, parts),
        queries_RD, keys, values, mask, out, tops, sums,
        LOG2_E / math.sqrt(width), heads, beams, source, width,
        WIDTH=launch.power(width, 16), BEAMS=launch.power(beams, 16), PLACES=tuning.source,
        CHUNK=chunk, PARTS=parts,
    )  # fmt: skip
    return out if parts == 1 else _joined(queries_RD, out, tops, sums)


def _rooms(like: Tensor, rows: int, heads: int, width: int, parts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where a kernel puts what it finds: the result, or parts with their highest scores and sums."""
    if parts == 1:
        out = torch.empty((rows, heads * width), dtype=like.dtype, device=like.device)
        return out, out, out
    numbers = torch.empty((2, rows, heads, parts), dtype=torch.float32, device=like.device)
    out = torch.empty((rows, heads, parts, width), dtype=torch.float32, device=like.device)
    return out, numbers[0], numbers[1]


def _joined(like: Tensor, parts: Tensor, tops: Tensor, sums: Tensor) -> Tensor:
    rows, heads, count, width = parts.shape
    out = torch.empty((rows, heads * width), dtype=like.dtype, device=like.device)
    launch.start(
        _join, (rows * heads,), parts, tops, sums, out, width,
        WIDTH=launch.power(width), PARTS=count, ROOM=launch.power(count), warps=1 if width <= 64 else 4,
    )  # fmt: skip
    return out
