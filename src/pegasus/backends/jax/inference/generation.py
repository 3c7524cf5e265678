"""Generation on JAX: the hooks of ``GenerationMixin``, and ``generate`` as users of Flax call it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pegasus.backends.jax.inference.compiled_run import compiled_run
from pegasus.backends.jax.inference.decoder import JaxDecoder
from pegasus.backends.jax.tensors import from_array
from pegasus.generation.config import GenerationConfig
from pegasus.generation.generate import GenerationMixin
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Recorded, Search, SearchRun


class JaxGeneration(GenerationMixin):
    """The JAX hooks of ``GenerationMixin``, mixed into every model class."""

    #: Whether searches that can be are computed by one program of many steps.
    compiles_searches = True

    def generate(  # type: ignore[override]
        self,
        inputs: Any = None,
        generation_config: GenerationConfig | None = None,
        prng_key: Any = None,
        trace: bool = True,
        params: Any = None,
        logits_processor: Sequence[Any] | None = None,
        stopping_criteria: Sequence[Any] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Any], Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Says what follows: a summary of each text.

        Args:
            inputs: [B, S], the source's tokens, or ``input_ids``.
            generation_config: settings instead of the model's own.
            prng_key: where sampling starts from; None: the next key that the model's ``seed`` gives.
            trace: False goes step by step, without a program for the whole search.
            params: a tree in place of the model's own.
            logits_processor: see ``GenerationMixin.generate``.
            stopping_criteria: see there.
            prefix_allowed_tokens_fn: see there.
            **kwargs: settings and arguments of the model, see there.

        Returns:
            A record with ``sequences`` [B · num_return_sequences, T], the start token first, as long as
            the longest, and ``sequences_scores``.
        """
        model: Any = self
        if params is not None or not trace:
            model = copy.copy(self)
        if params is not None:
            model._is_initialized, model._params = True, params
        if not trace:
            model.compiles_searches = False
        if prng_key is not None:
            kwargs.setdefault("seed", _seed_of(prng_key))
        kwargs["return_dict_in_generate"] = True
        return GenerationMixin.generate(
            model,
            inputs,
            generation_config,
            logits_processor,
            stopping_criteria,
            prefix_allowed_tokens_fn,
            **kwargs,
        )

    def open_run(self, search: Search, request: Request) -> tuple[SearchRun, Recorded | None]:
        """Greedy and beam search as one program, where that can be; see ``compiled_run``."""
        run = compiled_run(self, search, request) if self.compiles_searches else None
        return super().open_run(search, request) if run is None else (run, None)

    def open_decoder(self, request: Request) -> JaxDecoder:
        """A decoder over the sources of this request, which are encoded here."""
        return JaxDecoder(self, request)

    def attend(self, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
        """Where the decoder looked: float32 [summary tokens, source tokens], mean of layers and heads.

        Args:
            source: tokens of the source.
            summary: tokens of the summary, without the start token. Row t is the look that token t was
                written with, and sums to 1.
        """
        model: Any = self
        start = model.config.decoder_start_token_id
        found = model(
            np.array([list(source)]),
            decoder_input_ids=np.array([[start, *summary[:-1]]]),
            output_attentions=True,
            return_dict=True,
        )
        layers = [np.asarray(layer[0], np.float32).mean(axis=0) for layer in found.cross_attentions]
        mean_TS: np.ndarray = np.mean(layers, axis=0)[: len(summary)]
        return mean_TS

    def to_native(self, array: np.ndarray) -> jax.Array:
        """A JAX array; whole numbers are int32."""
        return from_array(np.asarray(array))

    def to_host(self, native: Any) -> np.ndarray:
        """A NumPy array."""
        array: np.ndarray = np.asarray(native)
        return array.astype(np.float32) if array.dtype == jnp.bfloat16 else array

    def draw_seed(self) -> int:
        """JAX has no generator of its own: one key after the other, from the model's ``seed`` on."""
        model: Any = self
        model.key, mine = jax.random.split(model.key)
        return _seed_of(mine)


def _seed_of(key: Any) -> int:
    typed = jnp.issubdtype(jnp.asarray(key).dtype, jax.dtypes.prng_key)
    numbers = np.asarray(jax.random.key_data(key) if typed else key, dtype=np.uint64).ravel()
    return int(numbers[0] << np.uint64(32) | numbers[-1]) & (2**63 - 1)
