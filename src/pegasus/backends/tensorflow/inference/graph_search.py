"""Greedy and beam search within a graph, with the decisions of ``generation.search``: ids in, ids out.

For graphs that leave this process (``serving``). B texts, M beams, K candidates, L the greatest length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pegasus.backends.tensorflow.model.passes import Past
from pegasus.errors import NotOffered
from pegasus.generation.arguments import Guests, limits_for, processors_for, token_list
from pegasus.generation.config import GenerationConfig
from pegasus.generation.processors.logits_processors import ForcedAt, MinLength, Processor, Suppressed
from pegasus.generation.search.finished_hypotheses import LengthNormalization

_LOWEST = -1e300  # a score that was found, above the −∞ of an empty place


@dataclass(frozen=True)
class Plan:
    """What a search in a graph must be told; see ``generation.search.search_settings``."""

    longest: int
    start: int
    eos: tuple[int, ...]
    pad: int
    beams: int
    returned: int
    normalization: LengthNormalization
    early: Any
    processors: tuple[Processor, ...]

    @classmethod
    def of(cls, settings: GenerationConfig, start: int) -> Plan:
        """That of the settings of a call.

        Raises:
            NotOffered: a strategy or a processor that no graph has.
        """
        limits = limits_for(settings, 1, True)
        processors = processors_for(settings, limits, None, Guests())
        others = [
            type(one).__name__
            for one in processors
            if not isinstance(one, MinLength | ForcedAt | Suppressed)
        ]
        if settings.do_sample or settings.num_beam_groups > 1 or settings.penalty_alpha or others:
            raise NotOffered(
                "a graph searches greedily or with beams, with lengths, forced and suppressed tokens; "
                f"asked for {', '.join(others) or 'another strategy'}: leave it out, or use generate."
            )
        eos = token_list(settings.eos_token_id)
        return cls(
            longest=limits.longest,
            start=start,
            eos=eos,
            pad=settings.pad_token_id if settings.pad_token_id is not None else eos[0],
            beams=settings.num_beams,
            returned=settings.num_return_sequences,
            normalization=LengthNormalization("transformers", settings.length_penalty, 1),
            early=settings.early_stopping,
            processors=tuple(processors),
        )

    def divisor(self, length: Any) -> tf.Tensor:
        """By what a sum of log-probabilities of so many tokens is divided."""
        return tf.pow(tf.cast(length, tf.float64), tf.constant(self.normalization.penalty, tf.float64))

    def is_eos(self, tokens: tf.Tensor) -> tf.Tensor:
        """Which tokens end a sequence."""
        return tf.reduce_any(tokens[..., None] == tf.constant(self.eos or (-1,)), -1)

    def edited(self, scores_RV: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """What may not or must be said at this length."""
        tokens_V = tf.range(tf.shape(scores_RV)[1])
        lowest = tf.constant(float("-inf"), scores_RV.dtype)
        for one in self.processors:
            if isinstance(one, ForcedAt):
                for place, forced in one.tokens_at.items():
                    kept = tf.where(_among(tokens_V, forced), tf.zeros((), scores_RV.dtype), lowest)
                    scores_RV = tf.where(length == place, kept[None], scores_RV)
                continue
            if isinstance(one, MinLength):
                banned, when = one.eos, length < one.least
            else:
                assert isinstance(one, Suppressed), "others are refused"
                banned, when = one.tokens, True if one.only_at is None else length == one.only_at
            scores_RV = tf.where(tf.logical_and(_among(tokens_V, banned)[None], when), lowest, scores_RV)
        return scores_RV


def _among(tokens_V: tf.Tensor, some: Any) -> tf.Tensor:
    return tf.reduce_any(tokens_V[:, None] == tf.constant([int(one) for one in some])[None], 1)


def search(model: Any, plan: Plan, ids_BS: tf.Tensor, mask_BS: tf.Tensor) -> tf.Tensor:
    """What the model says of texts, [B · returned, T], the start token first."""
    main = model.model
    encoded = main.encoder.run(main.encoder.embed(ids_BS), mask_BS)
    cross = main.decoder.cross_memory(encoded.states)

    def read(tokens_R: tf.Tensor, memory: Any, length: tf.Tensor) -> tuple[tf.Tensor, Any]:
        embeds = main.decoder.embed(tokens_R[:, None], length - 1)
        decoded = main.decoder.run(embeds, cross, mask_BS, past=Past(memory, length - 1, room=plan.longest))
        return model.logits(decoded.states[:, -1]), decoded.memory

    rows = tf.shape(ids_BS)[0] * (1 if plan.beams == 1 else plan.beams)
    memory = model.empty_memory(rows, plan.longest)
    run = _greedy if plan.beams == 1 else _beams
    return run(plan, read, memory, tf.shape(ids_BS)[0])


def _greedy(plan: Plan, read: Any, memory: Any, texts: Any) -> tf.Tensor:
    def going(length: Any, tokens: Any, done_B: Any, memory: Any) -> tf.Tensor:
        return tf.logical_and(length < plan.longest, tf.logical_not(tf.reduce_all(done_B)))

    def step(length: Any, tokens_BL: Any, done_B: Any, memory: Any) -> Any:
        logits, memory = read(tokens_BL[:, length - 1], memory, length)
        said_B = tf.argmax(plan.edited(logits, length), -1, output_type=tf.int32)
        said_B = tf.where(done_B, plan.pad, said_B)
        done_B = tf.logical_or(done_B, plan.is_eos(said_B))
        return length + 1, _put(tokens_BL, said_B, length), done_B, memory

    started = (tf.constant(1), _begun(plan, (texts,)), tf.zeros(texts, tf.bool), memory)
    length, tokens_BL, *_ = _loop(going, step, started)
    return tf.repeat(tokens_BL[:, :length], plan.returned, 0)


def _beams(plan: Plan, read: Any, memory: Any, texts: Any) -> tf.Tensor:
    beams, shape = plan.beams, (texts, plan.beams)
    considered = max(2, 1 + len(plan.eos)) * beams
    sums_BM = tf.tile(tf.constant([[0.0] + [-1e9] * (beams - 1)]), (texts, 1))
    tokens_BML = _begun(plan, shape)
    finished = (
        tf.fill(shape, tf.constant(float("-inf"), tf.float64)),
        tokens_BML,
        tf.zeros(shape, tf.int32),
    )

    def going(length: Any, tokens: Any, sums: Any, done_B: Any, finished: Any, memory: Any) -> tf.Tensor:
        return tf.logical_and(length < plan.longest, tf.logical_not(tf.reduce_all(done_B)))

    def step(length: Any, tokens_BML: Any, sums_BM: Any, done_B: Any, finished: Any, memory: Any) -> Any:
        logits_RV, memory = read(tf.reshape(tokens_BML[:, :, length - 1], (-1,)), memory, length)
        logs_RV = plan.edited(logits_RV - tf.reduce_logsumexp(logits_RV, -1, keepdims=True), length)
        size = tf.shape(logs_RV)[1]
        all_BN = tf.reshape(logs_RV, (texts, -1)) + tf.repeat(sums_BM, size, 1)
        sums_BK, index_BK = tf.math.top_k(all_BN, considered)
        beams_BK, said_BK = index_BK // size, index_BK % size
        ends_BK = plan.is_eos(said_BK)
        offers_BM = tf.logical_and(ends_BK[:, :beams], tf.logical_not(done_B)[:, None])
        ended_BML = tf.gather(tokens_BML, beams_BK[:, :beams], batch_dims=1)
        finished = _merged(plan, finished, offers_BM, sums_BK[:, :beams], ended_BML, length)
        chosen_BM = tf.argsort(tf.cast(ends_BK, tf.int32), -1, stable=True)[:, :beams]
        parents_BM, said_BM, sums_BM = (
            tf.gather(one, chosen_BM, batch_dims=1) for one in (beams_BK, said_BK, sums_BK)
        )
        done_B = tf.logical_or(done_B, _closed(plan, finished[0], sums_BK[:, 0], length + 1))
        rows_R = tf.reshape(tf.range(texts)[:, None] * beams + parents_BM, (-1,))
        memory = tf.nest.map_structure(lambda one: tf.gather(one, rows_R), memory)
        tokens_BML = _put(tf.gather(tokens_BML, parents_BM, batch_dims=1), said_BM, length)
        return length + 1, tokens_BML, sums_BM, done_B, finished, memory

    started = (tf.constant(1), tokens_BML, sums_BM, tf.zeros(texts, tf.bool), finished, memory)
    length, tokens_BML, sums_BM, done_B, finished, _ = _loop(going, step, started)
    open_BM = tf.repeat(tf.logical_not(done_B)[:, None], beams, 1)
    return _best(plan, _merged(plan, finished, open_BM, sums_BM, tokens_BML, length))


def _loop(going: Any, step: Any, started: Any) -> Any:
    """Steps for as long as they go on; sizes are left open, as some are from the first step on."""
    open_sizes = tf.nest.map_structure(lambda one: tf.TensorShape([None] * one.shape.rank), started)
    return tf.while_loop(going, step, started, open_sizes)


def _merged(plan: Plan, finished: Any, offers_BM: Any, sums_BM: Any, tokens_BML: Any, length: Any) -> Any:
    """The best of what was finished and of what is offered now, of so many tokens; of equals the older."""
    scores_BM, held_BML, lengths_BM = finished
    offered = tf.maximum(tf.cast(sums_BM, tf.float64) / plan.divisor(length), _LOWEST)
    offered = tf.where(offers_BM, offered, tf.constant(float("-inf"), tf.float64))
    scores_BM, index = tf.math.top_k(tf.concat([scores_BM, offered], 1), plan.beams)
    lengths = tf.concat([lengths_BM, tf.fill(tf.shape(lengths_BM), length)], 1)
    tokens = tf.concat([held_BML, tokens_BML], 1)
    return scores_BM, tf.gather(tokens, index, batch_dims=1), tf.gather(lengths, index, batch_dims=1)


def _closed(plan: Plan, scores_BM: tf.Tensor, best_B: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Which texts cannot be improved."""
    full_B = tf.reduce_all(tf.math.is_finite(scores_BM), 1)
    if plan.early is True:
        return full_B
    rising = plan.early == "never" and plan.normalization.penalty > 0
    attainable = tf.cast(best_B, tf.float64) / plan.divisor(plan.longest if rising else length)
    return tf.logical_and(full_B, scores_BM[:, -1] >= attainable)


def _best(plan: Plan, finished: Any) -> tf.Tensor:
    """The best of each text, of equals the one found last, with the end where there is room for it."""
    scores_BM, tokens_BML, lengths_BM = finished
    _, last_first = tf.math.top_k(tf.reverse(scores_BM, [1]), plan.returned)
    order = plan.beams - 1 - last_first
    tokens_NL = tf.reshape(tf.gather(tokens_BML, order, batch_dims=1), (-1, plan.longest))
    lengths_N = tf.reshape(tf.gather(lengths_BM, order, batch_dims=1), (-1,))
    places = tf.range(plan.longest)[None]
    tokens_NL = tf.where(places < lengths_N[:, None], tokens_NL, plan.pad)
    longest = tf.reduce_max(lengths_N)
    if plan.eos:
        width = tf.minimum(longest + 1, plan.longest)
        room_N1 = (lengths_N < width)[:, None]
        tokens_NL = tf.where(tf.logical_and(places == lengths_N[:, None], room_N1), plan.eos[0], tokens_NL)
        longest = tf.reduce_max(lengths_N + tf.cast(lengths_N < width, tf.int32))
    return tokens_NL[:, :longest]


def _begun(plan: Plan, shape: Any) -> tf.Tensor:
    """Rows that hold the start token, and padding."""
    first = tf.fill((*shape, 1), plan.start)
    return tf.concat([first, tf.fill((*shape, plan.longest - 1), plan.pad)], -1)


def _put(tokens: tf.Tensor, said: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """One more token in each row."""
    return tf.where(tf.range(tf.shape(tokens)[-1]) == length, said[..., None], tokens)
