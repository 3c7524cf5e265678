"""The passes of inference as graphs: traced once for each kind of pass, whatever the sizes.

All sizes of tensors are left open, so that texts, tokens, beams and places of the memory may be any number
without tracing anew. What is traced apart is written down in ``Kind``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pegasus.backends.tensorflow.model.layers import Memory, Mode, wide
from pegasus.backends.tensorflow.model.passes import Past

#: log Σ exp [N], the best scores [N, C] and their tokens.
Found = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class Kind:
    """What a pass of the decoder does, where it is not the same graph.

    Attributes:
        attentions: whether probabilities are returned.
        hidden: whether the states of every layer are returned.
        several: whether the scores of all tokens are wanted, else those of the last.
        masked: whether places of the memory are hidden.
    """

    attentions: bool = False
    hidden: bool = False
    several: bool = False
    masked: bool = False

    @property
    def mode(self) -> Mode:
        """That of the layers."""
        return Mode(attentions=self.attentions, hidden=self.hidden)


class Programs:
    """The graphs of one model.

    Args:
        model: a TF model with a head.

    Attributes:
        traces: how many graphs were made so far.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._made, self.traces = model, {}, 0  # type: ignore[var-annotated]

    def encode(self, kind: Kind, tokens_BS: Any, mask_BS: Any) -> Any:
        """What the encoder made of texts, and what the decoder looks at of it."""
        return self._program(("encode", kind), self._encode, kind)(tokens_BS, mask_BS)

    def cross(self, states_BSD: Any) -> tuple[Memory, ...]:
        """What the decoder looks at of the encoder's states."""
        found: tuple[Memory, ...] = self._program("cross", self._cross)(states_BSD)
        return found

    def step(self, kind: Kind, *args: Any) -> Any:
        """One step of the decoder; see ``_step``."""
        return self._program(("step", kind), self._step, kind)(*args)

    def _program(self, key: Any, run: Callable[..., Any], *kinds: Kind) -> Any:
        if key not in self._made:

            def traced(*args: Any) -> Any:
                self.traces += 1
                return run(*kinds, *args)

            self._made[key] = opened(traced)
        return self._made[key]

    # -- what is traced ------------------------------------------------------------------------------------

    def _encode(self, kind: Kind, tokens_BS: tf.Tensor, mask_BS: tf.Tensor) -> Any:
        main = self._model.model
        encoded = main.encoder.run(main.encoder.embed(tokens_BS), mask_BS, kind.mode)
        cross = main.decoder.cross_memory(encoded.states)
        return encoded.states, encoded.hidden_states or (), encoded.attentions or (), cross

    def _cross(self, states_BSD: tf.Tensor) -> Any:
        return self._model.model.decoder.cross_memory(states_BSD)

    def _step(
        self,
        kind: Kind,
        memory: tuple[Memory, ...],
        start: tf.Tensor,
        mask_RL: tf.Tensor,
        parents_R: tf.Tensor,
        tokens_RT: tf.Tensor,
        count: tf.Tensor,
        cross: tuple[Memory, ...],
        source_mask_BS: tf.Tensor,
    ) -> Any:
        """Move, read, and look for the best ``count``."""
        decoder = self._model.model.decoder
        memory = tf.nest.map_structure(lambda one: tf.gather(one, parents_R), memory)
        past = Past(memory, start, mask_RL if kind.masked else None)
        embeds = decoder.embed(tokens_RT, start)
        decoded = decoder.run(embeds, cross, source_mask_BS, None, None, past, kind.mode)
        states = decoded.states if kind.several else decoded.states[:, -1:]
        logits = self._model.logits(states)
        logits_NV = tf.reshape(logits, (-1, tf.shape(logits)[-1]))
        shown = tuple(
            one or () for one in (decoded.attentions, decoded.cross_attentions, decoded.hidden_states)
        )
        last = tf.cast(decoded.states, wide(decoded.states.dtype))
        return decoded.memory, logits_NV, find(logits_NV, count), last, shown


def opened(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function as a graph that is traced at its first call, for tensors of any sizes.

    With ``tf.config.run_functions_eagerly(True)`` nothing is traced, as in all of TensorFlow.
    """
    program = tf.function(run, autograph=False)
    concrete: list[Any] = []

    def call(*args: Any) -> Any:
        if tf.config.functions_run_eagerly():
            return run(*args)
        if not concrete:
            concrete.append(program.get_concrete_function(*tf.nest.map_structure(_open, args)))
        return concrete[0](*args)

    return call


def find(logits_NV: tf.Tensor, count: Any) -> Found:
    """What a search asks for most, of equal tokens the lower first."""
    values_NC, tokens_NC = tf.math.top_k(logits_NV, count)
    return tf.reduce_logsumexp(logits_NV, -1), values_NC, tokens_NC


def _open(tensor: Any) -> tf.TensorSpec:
    """A tensor of this type and so many axes."""
    return tf.TensorSpec([None] * len(tensor.shape), tensor.dtype)
