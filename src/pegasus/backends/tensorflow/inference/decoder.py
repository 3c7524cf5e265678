"""The decoder of generation: one traced step over a memory of fixed size, which doubles when it is full.

Axes are those of ``generation.session``.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from pegasus.backends.tensorflow.inference.programs import Found, Kind
from pegasus.errors import NotOffered
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import HostScores, Reading, Step

#: How many places a memory has at first.
LEAST_PLACES = 32


class TfScores(HostScores):
    """Scores on the host, of whose untouched numbers the best are known already.

    Args:
        scores_NV: float32; changed in place.
        to_native: what the caller's arrays are made of.
        found: what the step found: log Σ exp, the best scores, and their tokens; None: nothing.
    """

    def __init__(self, scores_NV: np.ndarray, to_native: Any, found: Found | None = None) -> None:
        super().__init__(scores_NV, to_native)
        self._found = found

    def logsumexp(self) -> np.ndarray:
        """[N]."""
        return super().logsumexp() if self._found is None else self._found[0].numpy()

    def best(self, count: int, shift: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The best tokens of each row."""
        if self._found is None or self._found[1].shape[1] < count:
            return super().best(count, shift)
        values_NC, tokens_NC = (one.numpy()[:, :count] for one in self._found[1:])
        less = values_NC if shift is None else values_NC - np.asarray(shift)[:, None]
        return less, tokens_NC.astype(np.int64)

    def put(self, places: Any, values: Any) -> None:
        """Changes them."""
        self._found = None
        super().put(places, values)

    def fill(self, rows_K: np.ndarray, value: float) -> None:
        """One number for whole rows."""
        self._found = None
        super().fill(rows_K, value)

    def replace(self, rows_K: np.ndarray | None, values: Any) -> None:
        """Other numbers for whole rows."""
        self._found = None
        super().replace(rows_K, values)

    def log_softmax(self, rows_K: np.ndarray | None = None) -> None:
        """Log-probabilities."""
        self._found = None
        super().log_softmax(rows_K)

    def repair(self, rows_K: np.ndarray | None = None) -> None:
        """No NaN and no +∞."""
        self._found = None
        super().repair(rows_K)


class TfDecoder:
    """A decoder with its memory, over the sources of one request.

    Args:
        model: a TF model with a head.
        request: sources, masks, a memory that the caller brings, and what is to be recorded.

    Raises:
        NotOffered: the request asks for head masks or embeddings.
    """

    def __init__(self, model: Any, request: Request) -> None:
        _refuse(request)
        self.model, self.programs = model, model.programs
        self.vocab_size = int(model.config.vocab_size)
        self.records = request.records
        self.encoded = Reading()
        self.cross, self.source_mask_BS = self._sources(request)
        self.texts, self.rows, self.length = len(self.source_mask_BS), 0, 0
        self.memory: Any = None
        if request.past_key_values is not None and request.use_cache:
            self.memory = tuple(
                tuple(map(tf.convert_to_tensor, one[:2])) for one in request.past_key_values
            )
            self.rows, self.length = (int(size) for size in self.memory[0][0].shape[::2])
        self._logits_NV, self._found = np.zeros((0, self.vocab_size), np.float32), None

    def _sources(self, request: Request) -> tuple[Any, tf.Tensor]:
        given, model, records = request.encoder_outputs, self.model, request.records
        first = request.input_ids if given is None else given[0]
        mask_BS = tf.ones(np.shape(first)[:2], tf.int32)
        if request.attention_mask is not None:
            mask_BS = tf.constant(np.asarray(model.to_host(request.attention_mask)).astype(np.int32))
        if given is not None:
            hidden, weights = (getattr(given, name, None) for name in ("hidden_states", "attentions"))
            cross = self.programs.cross(tf.convert_to_tensor(first))
        else:
            tokens_BS = tf.constant(np.asarray(model.to_host(first)).astype(np.int32))
            kind = Kind(records.attentions, records.hidden_states)
            _, hidden, weights, cross = self.programs.encode(kind, tokens_BS, mask_BS)
        if records.any:
            self.encoded = Reading(attentions=weights or None, hidden_states=hidden or None)
        return cross, mask_BS

    def computing(self) -> Any:
        """Nothing must be in force."""
        return nullcontext()

    def step(self, step: Step) -> Reading:
        """Reads tokens."""
        if step.texts_B is not None:
            index = np.asarray(step.texts_B)
            self.texts = len(index)
            self.cross, self.source_mask_BS = tf.nest.map_structure(
                lambda one: tf.gather(one, index), (self.cross, self.source_mask_BS)
            )
        rows, tokens = step.tokens_RT.shape
        parents = self._parents(step, rows)
        places = self._make_room(step.keep + tokens, rows)
        mask = step.mask_RT
        shown = (self.records.attentions, self.records.hidden_states)
        kind = Kind(*shown, several=step.positions > 1, masked=mask is not None)
        wide = np.ones((rows, places), np.int32)
        if mask is not None:
            wide[:, : mask.shape[1]] = mask
        self.memory, logits_NV, found, last, shown = self.programs.step(
            kind,
            self.memory,
            tf.constant(step.keep, tf.int32),
            tf.constant(wide),
            tf.constant(parents.astype(np.int32)),
            tf.constant(step.tokens_RT.astype(np.int32)),
            tf.constant(max(1, min(step.count, self.vocab_size)), tf.int32),
            self.cross,
            self.source_mask_BS,
        )
        self.rows, self.length = rows, step.keep + tokens
        self._logits_NV, self._found = logits_NV.numpy(), found
        if 1 < step.positions < tokens:
            kept = self._logits_NV.reshape(rows, tokens, -1)[:, tokens - step.positions :]
            self._logits_NV, self._found = kept.reshape(rows * step.positions, -1).copy(), None
        return self._reading(step, last, shown)

    def _reading(self, step: Step, last: tf.Tensor, shown: Any) -> Reading:
        attentions, cross, hidden = (one or None for one in shown)
        if attentions is not None:
            attentions = tuple(layer[..., : self.length] for layer in attentions)
        return Reading(last.numpy() if step.hidden else None, attentions, cross, hidden)

    def scores(self) -> TfScores:
        """The logits on the host."""
        return TfScores(self._logits_NV, self.model.to_native, self._found)

    def copied(self, rows_K: np.ndarray | None) -> TfScores:
        """Some rows of them, copied."""
        chosen = self._logits_NV.copy() if rows_K is None else self._logits_NV[rows_K]
        return TfScores(chosen, self.model.to_native)

    # -- memory --------------------------------------------------------------------------------------------

    def _make_room(self, places: int, rows: int) -> int:
        """Room for so many places."""
        if self.memory is None:
            self.memory, self.rows = self.model.empty_memory(rows, _doubled(places)), rows
        room = int(self.memory[0][0].shape[2])
        if places <= room:
            return room
        more = [[0, 0], [0, 0], [0, _doubled(places) - room], [0, 0]]
        self.memory = tf.nest.map_structure(lambda one: tf.pad(one, more), self.memory)
        return _doubled(places)

    def _parents(self, step: Step, rows: int) -> np.ndarray:
        """Whose memory each row carries on."""
        if step.parents_R is not None and self.memory is not None:
            return np.asarray(step.parents_R)
        # The caller may have brought a memory with one row a text.
        return np.arange(rows) * (self.rows or rows) // rows


def _doubled(places: int) -> int:
    room = LEAST_PLACES
    while room < places:
        room *= 2
    return room


def _refuse(request: Request) -> None:
    named = ("inputs_embeds", "head_mask", "decoder_head_mask", "cross_attn_head_mask")
    if asked := [name for name in named if getattr(request, name) is not None]:
        raise NotOffered(
            f"The TensorFlow backend does not generate with {', '.join(asked)}: call the model itself, or "
            "PegasusForConditionalGeneration."
        )
