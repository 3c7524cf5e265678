"""A step of the decoder in kernels: one token in every row of static memory.

It says what ``static_step.take`` says, in the same numbers: a residual and sums of 32 bits around products
of the weights' type. With few rows a layer is nine kernels, each as long as reading its weights:

    norm + queries, keys, values · attention over the history · product + residual
    norm + query                 · attention over the source, in parts and joined · product + residual
    norm + inner product + relu  · product + residual

With more rows the norm is written once, with the sum in front of it; with many the products are PyTorch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from pegasus.backends.torch.inference import static_step
from pegasus.backends.torch.inference.kernels import attention, products, vocabulary
from pegasus.backends.torch.inference.kernels.ancestry import look_up
from pegasus.backends.torch.inference.kernels.states import add_norm, embed
from pegasus.backends.torch.inference.kernels.tuning import Tuning

if TYPE_CHECKING:
    from pegasus.backends.torch.inference.static_cache import Memory
    from pegasus.backends.torch.inference.static_weights import Pair, Weights


def take(
    weights: Weights,
    memory: Memory,
    span: int,
    count: int,
    tuning: Tuning = Tuning(),  # noqa: B008 - frozen
) -> static_step.Found:
    """Reads the tokens that the memory was told, and finds the ``count`` best continuations of each row.

    Args:
        weights: the decoder.
        memory: what it remembers; changed in place.
        span: K, how many places are looked at; they include the new one.
        count: C; 0: only logits are wanted.
        tuning: sizes of blocks.
    """
    rows, place = memory.texts * memory.beams, memory.told[2 * memory.texts * memory.beams :]
    owners_RK = look_up(memory, span)
    states_RD = embed(
        memory.told[:rows],
        place,
        weights.table_VD,
        memory.positions_KD,
        weights.embed_scale,
        weights.zero_start,
    )
    few = _few(weights, rows, tuning)
    whole = few and rows <= tuning.norm_rows and weights.width <= tuning.norm_width
    step = _FewRows(weights, states_RD, tuning) if whole else _ManyRows(weights, states_RD, tuning, few)
    for number, layer in enumerate(weights.layers):
        joined = step.normed(layer.norm, layer.query_key_value)
        keys, values = memory.keys[number], memory.values[number]
        step.add(attention.attend_history(joined, keys, values, owners_RK, memory, tuning), layer.out)
        query = step.normed(layer.cross_norm, layer.cross_query)
        keys, values = memory.cross_keys[number], memory.cross_values[number]
        found = attention.attend_source(query, keys, values, memory.cross_mask, memory.beams, tuning)
        step.add(found, layer.cross_out)
        relu = weights.activate is functional.relu
        hidden = step.normed(layer.last_norm, layer.inner, relu=relu)
        step.add(hidden if relu else weights.activate(hidden), layer.outer)
    return _scored(weights, step.finish(), count, tuning)


def _few(weights: Weights, rows: int, tuning: Tuning) -> bool:
    """Whether the products are kernels of ours.

    Those of float32 are not: without tensor cores their sums are written out one by one, for a minute each.
    """
    return rows <= tuning.few_rows and weights.dtype.itemsize == 2


def _scored(weights: Weights, states_RD: Tensor, count: int, tuning: Tuning) -> static_step.Found:
    """Logits and the best of them."""
    best: Tensor | None = None
    if _few(weights, len(states_RD), tuning):
        logits, blocks = vocabulary.project(states_RD, weights.head_VD, weights.bias_V, tuning)
        best = vocabulary.pick(logits, blocks, count) if count else None
    else:
        logits = static_step.logits(weights, states_RD)
        best = vocabulary.pick(logits, vocabulary.survey(logits), count) if count else None
    return static_step.Found(states_RD[:, None], logits, best)


@dataclass
class _FewRows:
    """A residual of so few rows that every program normalizes them itself."""

    weights: Weights
    states_RD: Tensor
    tuning: Tuning

    def normed(self, norm: Pair, layer: Pair, relu: bool = False) -> Tensor:
        """What a layer makes of the normalized residual."""
        return products.norm_product(self.states_RD, norm, layer, self.weights.eps, relu, self.tuning)

    def add(self, found: Tensor, layer: Pair) -> None:
        """Adds what a layer makes of something to the residual."""
        products.add_product(self.states_RD, found, layer, 1 / self.weights.scale, self.tuning)

    def finish(self) -> Tensor:
        """The normalized states after the last layer."""
        weights = self.weights
        return add_norm(self.states_RD, None, None, weights.norm, weights.eps, 1.0, weights.dtype)


@dataclass
class _ManyRows:
    """A residual with a change that has not been added yet: the norm behind it does that."""

    weights: Weights
    states_RD: Tensor
    tuning: Tuning
    few: bool
    change: Tensor | None = None
    bias: Tensor | None = None

    def normed(self, norm: Pair, layer: Pair, relu: bool = False) -> Tensor:
        """What a layer makes of the normalized residual."""
        states = self._norm(norm)
        if self.few:
            return products.product(states, layer, relu, self.tuning)
        found = functional.linear(states, *layer)
        return found.relu_() if relu else found

    def add(self, found: Tensor, layer: Pair) -> None:
        """Adds what a layer makes of something to the residual, at the next norm."""
        if self.few:
            self.change = products.partial_products(found, layer, self.tuning.splits, self.tuning)
            self.bias = layer[1]
        else:
            self.change, self.bias = functional.linear(found, *layer)[None], None

    def finish(self) -> Tensor:
        """The normalized states after the last layer."""
        return self._norm(self.weights.norm)

    def _norm(self, norm: Pair) -> Tensor:
        weights = self.weights
        normed = add_norm(
            self.states_RD, self.change, self.bias, norm, weights.eps, 1 / weights.scale, weights.dtype
        )
        self.change = self.bias = None
        return normed
