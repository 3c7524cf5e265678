"""What goes into a pass of the encoder or decoder and comes out of it, and what the decoder remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pegasus.backends.tensorflow.model.layers import Memory
from pegasus.errors import BadSetting


@dataclass(frozen=True)
class Heads:
    """What the probabilities of heads are multiplied by, [L, H] each; None: 1."""

    own: Any = None
    cross: Any = None


ALL_HEADS = Heads()


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of texts."""

    states: tf.Tensor
    hidden_states: tuple[tf.Tensor, ...] | None = None
    attentions: tuple[tf.Tensor, ...] | None = None


@dataclass(frozen=True)
class Decoded:
    """What the decoder made of tokens; ``memory`` is of self-attention, ``cross`` of the sources."""

    states: tf.Tensor
    memory: tuple[Memory, ...]
    cross: tuple[Memory, ...]
    hidden_states: tuple[tf.Tensor, ...] | None = None
    attentions: tuple[tf.Tensor, ...] | None = None
    cross_attentions: tuple[tf.Tensor, ...] | None = None

    @property
    def presents(self) -> tuple[tuple[tf.Tensor, ...], ...]:
        """Both kinds of memory as ``past_key_values`` has them."""
        return tuple((*own, *(seen or ())) for own, seen in zip(self.memory, self.cross))


@dataclass(frozen=True)
class Past:
    """What the decoder remembers of earlier tokens.

    Attributes:
        memory: keys and values with room for L places, the new tokens among them.
        start: how many of the places are taken: where the new tokens go.
        mask: [R, L], 0 for a place that nobody may look at; None: all may be looked at.
        room: L, where the graph is made for one number of places.
    """

    memory: tuple[Memory, ...]
    start: Any
    mask: Any = None
    room: int | None = None


def remembered(past: Any, embeds: tf.Tensor, mask: Any) -> tuple[Past | None, Any]:
    """``past_key_values`` as a memory with room for the new tokens too, and what it holds of the sources.

    Raises:
        BadSetting: the mask does not cover all tokens.
    """
    if past is None:
        return None, None
    length, held = tf.shape(embeds)[1], past[0][0].shape[2]
    covers = None if mask is None else mask.shape[1]
    if None not in (held, covers, embeds.shape[1]) and covers != held + embeds.shape[1]:
        raise BadSetting(
            f"the decoder's attention mask covers {covers} tokens; there are {held} earlier and "
            f"{embeds.shape[1]} new ones"
        )

    def wider(old: tf.Tensor) -> tf.Tensor:
        return tf.pad(old, [[0, 0], [0, 0], [0, length], [0, 0]])

    own = tuple((wider(layer[0]), wider(layer[1])) for layer in past)
    sources = tuple((layer[2], layer[3]) for layer in past) if len(past[0]) > 2 else None
    return Past(own, tf.shape(past[0][0])[2], mask), sources
