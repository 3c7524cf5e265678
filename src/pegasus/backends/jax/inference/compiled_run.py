"""A search under way whose steps a program computes, many at a call: ``session.SearchRun`` for JAX."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pegasus.backends.jax.inference.buckets import LEAST_PLACES, doubled
from pegasus.backends.jax.inference.compiled_processors import planned
from pegasus.backends.jax.inference.compiled_search import (
    STEPS,
    Divisors,
    Rule,
    State,
    advance,
    fresh_sums,
)
from pegasus.backends.jax.inference.decoder import JaxDecoder, empty_memory, grown, rows_of
from pegasus.generation.model_inputs import Request
from pegasus.generation.search.authors_beam import AuthorsBeam
from pegasus.generation.search.beam import Beam
from pegasus.generation.search.greedy import Greedy
from pegasus.generation.session import Answer, SearchRun

#: Places of a memory to begin with, where so many may be needed: it is doubled when it is full.
MOST_PLACES = 64
_KINDS = (Greedy, Beam, AuthorsBeam)


def compiled_run(model: Any, search: Any, request: Request) -> CompiledRun | None:
    """The run of a search over a request; None where it must go step by step.

    Those are searches of other kinds, with processors that are not read in a program, with somebody who
    looks on, records, a prompt, or a memory of the caller's.
    """
    settings = getattr(search, "search_settings", None)
    if type(search) not in _KINDS or settings is None:
        return None
    watched = settings.all_rows or settings.listeners or settings.record_scores or request.records.any
    brought = request.past_key_values is not None or request.decoder_attention_mask is not None
    if watched or brought or not request.use_cache or search.history.length > 1 or settings.max_length < 2:
        return None
    processors = planned(settings.processors.processors, settings.max_length)
    if processors is None:
        return None
    greedy = isinstance(search, Greedy)
    rule = Rule(
        beams=0 if greedy else settings.beams,
        eos=settings.eos,
        pad=settings.pad,
        early=settings.early_stopping is True,
        judged=not isinstance(search, AuthorsBeam),
        kinds=tuple(kind for kind, _ in processors),
    )
    return CompiledRun(search, JaxDecoder(model, request), rule, tuple(values for _, values in processors))


class CompiledRun(SearchRun):
    """See ``SearchRun``; each of its steps is one call of the program.

    Args:
        search: takes in what the program noted.
        decoder: its sources are encoded; it reads nothing.
        rule: what is compiled.
        values: of the processors.
    """

    search: Any

    def __init__(self, search: Any, decoder: JaxDecoder, rule: Rule, values: Any) -> None:
        super().__init__(search, session=None)  # type: ignore[arg-type]
        self.decoder, self.rule, self.values = decoder, rule, values
        #: The texts that the program holds, by the search's numbers.
        self.texts_B = np.arange(decoder.texts)
        self.state = self._begun()

    def _begun(self) -> State:
        blocks, beams = len(self.decoder.source_mask_BS), self.rule.beams
        rows = blocks * max(1, beams)
        settings = self.search.search_settings
        places = doubled(min(settings.max_length - 1, MOST_PLACES), LEAST_PLACES)
        ids_RL: np.ndarray = np.full((rows, places + 1), settings.pad, np.int32)
        start_B = self.search.history.prompt_RT[:: self.search.history.copies, 0]
        ids_RL[: len(start_B) * max(1, beams), 0] = np.repeat(start_B, max(1, beams))
        nothing: np.ndarray = np.full((blocks, max(1, beams)), -np.inf, np.float32)
        memory = empty_memory(self.decoder.module, rows, places)
        return State(memory, ids_RL, np.int32(1), fresh_sums(blocks, beams), nothing, np.ones(blocks, bool))

    def _advance(self) -> bool:
        search = self.search
        if search.over:
            return False
        length, settings = search.history.length, search.search_settings
        places = self._room(length)
        most = min(STEPS, places - length + 1, settings.max_length - length)
        self.state = replace(self.state, done_B=self._done())
        self.state, notes = advance(
            self.decoder.module,
            self.rule,
            self.decoder.model.step_variables(places),
            self.decoder.cross,
            self.decoder.source_mask_BS,
            self.state,
            self.values,
            self._divisors(places),
            np.int32(max(1, most)),
        )
        self._take(jax.device_get(notes))
        if not search.over and doubled(len(search.texts_B)) < len(self.decoder.source_mask_BS):
            self._drop()
        return True

    def _take(self, notes: Any) -> None:
        """The search takes in what was noted, step by step."""
        search = self.search
        for number in range(int(notes.count)):
            if search.over:
                return
            held = np.searchsorted(self.texts_B, search.texts_B)
            beams, tokens, sums = (
                one[number][held] for one in (notes.beams_NBK, notes.tokens_NBK, notes.sums_NBK)
            )
            if self.rule.beams:
                search.take(beams.astype(np.int64), tokens.astype(np.int64), sums)
            else:
                search.update(Answer(sums, tokens.astype(np.int64)))

    def _done(self) -> np.ndarray:
        """By the search's word; rows that only round the number of texts are done from the start."""
        done_B = np.ones(len(self.decoder.source_mask_BS), dtype=bool)
        done_B[np.searchsorted(self.texts_B, self.search.texts_B)] = self.search.done_B
        return done_B

    def _room(self, length: int) -> int:
        """How many places the memory has, at least one of them free."""
        places = int(self.state.ids_RL.shape[1]) - 1
        if length <= places:
            return places
        more = doubled(length, LEAST_PLACES)
        ids_RL = jnp.pad(self.state.ids_RL, ((0, 0), (0, more - places)))
        self.state = replace(self.state, memory=grown(self.state.memory, more), ids_RL=ids_RL)
        return more

    def _divisors(self, places: int) -> Divisors:
        if not self.rule.beams:
            return Divisors(np.ones(1, np.float32), np.ones(1, np.float32))
        search = self.search
        normalization, longest = search.finished.normalization, search.search_settings.max_length
        rising = search.search_settings.early_stopping == "never" and normalization.penalty > 0
        lengths = [min(max(1, length), longest) for length in range(places + 2)]
        ended = [normalization.divisor(length, ended=True) for length in lengths]
        still = [normalization.divisor(longest if rising else length, ended=False) for length in lengths]
        with np.errstate(over="ignore"):
            return Divisors(np.array(ended, np.float32), np.array(still, np.float32))

    def _drop(self) -> None:
        """Only the texts that the search still holds remain on the device."""
        held: np.ndarray = np.searchsorted(self.texts_B, self.search.texts_B)
        self.texts_B, blocks_B = self.texts_B[held], self.decoder.drop(held)
        beams, state = max(1, self.rule.beams), self.state
        rows_R = (blocks_B[:, None] * beams + np.arange(beams)).reshape(-1)
        memory, ids_RL = rows_of((state.memory, state.ids_RL), rows_R)
        sums_BM, ended_BM = rows_of((state.sums_BM, state.ended_BM), blocks_B)
        self.state = replace(state, memory=memory, ids_RL=ids_RL, sums_BM=sums_BM, ended_BM=ended_BM)
