"""Whose place holds the history of each row: from the memory's map, a bit a place and beam, to one number.

The memory keeps the map as bits, for passes in plain operations; a step in kernels looks it up once and all
of its layers read one owner a place.

Axes are those of ``static_step``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pegasus.backends.torch.inference.kernels import launch

if TYPE_CHECKING:
    from jaxtyping import Int

    from pegasus.backends.torch.inference.static_cache import Memory

#: Places a program looks up.
PLACES = 64


@triton.jit
def _look_up(
    seen,
    parents,
    place,
    owners,
    places,
    span,
    beams,
    PLACES: tl.constexpr,
    BEAMS: tl.constexpr,
):
    """owners[R, K] = the beam whose place K is in the history of the row's parent; its own at the new."""
    row = tl.program_id(0)
    k = tl.program_id(1) * PLACES + tl.arange(0, PLACES)
    m = tl.arange(0, BEAMS)
    parent = tl.load(parents + row)
    at = (parent * places + k[:, None]) * beams + m[None, :]
    bits = tl.load(seen + at, mask=(k[:, None] < span) & (m[None, :] < beams), other=0).to(tl.int32)
    own = row % beams
    # Rows of texts that nobody uses have no history: their own places, whatever is there.
    owner = tl.where(tl.max(bits, axis=1) > 0, tl.sum(bits * m[None, :], axis=1), own)
    owner = tl.where(k == tl.load(place), own, owner)
    tl.store(owners + row * span + k, owner, mask=k < span)


@triton.jit
def _write_down(
    owners,
    place,
    seen,
    places,
    span,
    beams,
    PLACES: tl.constexpr,
    BEAMS: tl.constexpr,
):
    """seen[R, K, M] = whether M is the owner of place K, up to the new place."""
    row = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * PLACES + tl.arange(0, PLACES)
    m = tl.arange(0, BEAMS)
    owner = tl.load(owners + row * span + k, mask=k < span, other=-1)
    bits = (owner[:, None] == m[None, :]) & (k[:, None] <= tl.load(place))
    at = (row * places + k[:, None]) * beams + m[None, :]
    tl.store(seen + at, bits.to(tl.uint8), mask=(k[:, None] < span) & (m[None, :] < beams))


def look_up(memory: Memory, span: int) -> Int[Tensor, "R K"]:
    """The owners of the first ``span`` places of each row's history, as its parents have them; noted too.

    All is read before anything is written: rows exchange their places.
    """
    rows, beams = memory.texts * memory.beams, memory.beams
    owners = torch.empty((rows, span), dtype=torch.int32, device=memory.told.device)
    seen, place = memory.seen_RKM.view(torch.uint8), memory.told[2 * rows :]
    grid, sizes = (rows, launch.blocks(span, PLACES)), (memory.places, span, beams)
    constants = {"PLACES": PLACES, "BEAMS": launch.power(beams)}
    launch.start(_look_up, grid, seen, memory.told[rows : 2 * rows], place, owners, *sizes, **constants)
    launch.start(_write_down, grid, owners, place, seen, *sizes, **constants)
    return owners
