"""Memory of a decoder in buffers of a fixed size.

Axes are those of ``static_step``. A memory has room for more texts, places and source tokens than are in
use, so that many batches share its shape, and a graph that was recorded for one serves the next.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pegasus.backends.torch.inference.static_weights import Weights

#: The most places that are looked at when few are taken; it doubles from there.
FIRST_SPAN = 32
FIRST_PLACES = 128
#: Sources are padded to multiples of this.
SOURCE_STEP = 64


@dataclass(frozen=True)
class Shape:
    """What a memory has room for: texts, beams, places and source tokens."""

    texts: int
    beams: int
    places: int
    source: int

    @classmethod
    def holding(cls, texts: int, beams: int, places: int, source: int) -> Shape:
        """The smallest one of the few in use."""
        room = FIRST_PLACES
        while room < places:
            room *= 2
        return cls(step_of(texts), beams, room, -(-source // SOURCE_STEP) * SOURCE_STEP)


def step_of(texts: int) -> int:
    """1, 2, 3, 4, 6, 8, 12, 16, 24, ...: at most a third of the room is empty."""
    power = 1 << (texts - 1).bit_length()
    return power * 3 // 4 if power >= 4 and texts <= power * 3 // 4 else power


class Memory:
    """Keys, values and masks for R = texts · beams rows, and the graphs recorded over them."""

    def __init__(self, weights: Weights, shape: Shape) -> None:
        self.shape, self.texts, self.beams, self.places = shape, shape.texts, shape.beams, shape.places
        rows, device, heads = shape.texts * shape.beams, weights.table_VD.device, weights.heads
        own = (shape.texts, heads, shape.places, shape.beams, weights.width // heads)
        cross = (shape.texts, heads, shape.source, weights.width // heads)

        def buffers(size: tuple[int, ...]) -> list[Tensor]:
            return [torch.zeros(size, dtype=weights.dtype, device=device) for _ in weights.layers]

        self.keys, self.values = buffers(own), buffers(own)
        self.cross_keys, self.cross_values = buffers(cross), buffers(cross)
        self.cross_mask = torch.zeros((shape.texts, 1, 1, shape.source), dtype=weights.dtype, device=device)
        self.seen_RKM = torch.zeros((rows, shape.places, shape.beams), dtype=torch.bool, device=device)
        self.own_MM = torch.eye(shape.beams).bool().to(device)
        self.positions_KD = weights.positions(shape.places)
        #: Tokens, parents and the number of places taken, on the host and on the device.
        self.told = torch.zeros(2 * rows + 1, dtype=torch.int64, device=device)
        self.telling = torch.zeros(2 * rows + 1, dtype=torch.int64, pin_memory=device.type == "cuda")
        self.owner: weakref.ref[Any] | None = None
        #: The passes that were recorded over it (``static_passes``), by step, span and count.
        self.passes: dict[tuple[str, int, int], Any] = {}
        #: Where graphs keep what they compute. One a memory: another's graph would write over the answers
        #: that this one's session may still be asked about.
        self.pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    @property
    def size(self) -> int:
        """Bytes of the large buffers."""
        large = (*self.keys, *self.values, *self.cross_keys, *self.cross_values)
        return sum(one.nbytes for one in large)

    @property
    def free(self) -> bool:
        """Whether no session lives in it."""
        return self.owner is None or self.owner() is None

    def clear(self) -> None:
        """Forget everything; keys of places not taken must be numbers, whatever they are."""
        self.seen_RKM.zero_()
        self.cross_mask.zero_()

    def look_at(self, weights: Weights, states_BSD: Tensor, mask_BS: Tensor | None) -> None:
        """Project what cross-attention looks at, once per text."""
        texts, source, _ = states_BSD.shape
        for number, layer in enumerate(weights.layers):
            for kept, (matrix, bias), scale in (
                (self.cross_keys[number], layer.cross_key, 1.0),
                (self.cross_values[number], layer.cross_value, weights.scale),
            ):
                made = functional.linear(states_BSD, matrix, bias) * scale
                kept[:texts, :, :source] = made.unflatten(-1, (weights.heads, -1)).transpose(1, 2)
        self.cross_mask[..., source:] = -torch.inf
        if mask_BS is not None:
            # Finite, as in the modules: a text of nothing but padding averages its own places.
            hidden = mask_BS.to(torch.bool).logical_not()[:, None, None]
            self.cross_mask[:texts, ..., :source].masked_fill_(hidden, torch.finfo(weights.dtype).min)

    def take_over(self, old: Memory, length: int, parents_R: np.ndarray, texts_B: np.ndarray) -> None:
        """Copy what rows of another memory remember into this one, each row's history into its own places.

        Args:
            old: the other one.
            length: places taken there.
            parents_R: the rows there that the rows here carry on.
            texts_B: the texts there that the texts here are.
        """
        device = self.told.device
        parents, texts = (torch.from_numpy(np.array(x, np.int64)).to(device) for x in (parents_R, texts_B))
        count, source = len(texts), min(self.shape.source, old.shape.source)
        slots = torch.arange(length, device=device)[None]
        owners_RK = old.seen_RKM[parents, :length].to(torch.uint8).argmax(dim=2)
        from_texts = (parents // old.beams)[:, None]
        for mine, theirs in zip((*self.keys, *self.values), (*old.keys, *old.values)):
            history = theirs[from_texts, :, slots, owners_RK]  # [R, K, H, E]
            laid = history.unflatten(0, (count, self.beams)).permute(0, 3, 2, 1, 4)
            mine[:count, :, :length] = laid
        for mine, theirs in zip(
            (*self.cross_keys, *self.cross_values), (*old.cross_keys, *old.cross_values)
        ):
            mine[:count, :, :source] = theirs[:, :, :source].index_select(0, texts)
        self.cross_mask[..., source:] = -torch.inf
        self.cross_mask[:count, ..., :source] = old.cross_mask[..., :source].index_select(0, texts)
        own = torch.arange(len(parents), device=device)
        self.seen_RKM[own[:, None], slots, (own % self.beams)[:, None]] = True

    def span(self, places: int) -> int:
        """How many places a pass looks at when so many are taken."""
        span = FIRST_SPAN
        while span < places:
            span *= 2
        return min(span, self.places)
