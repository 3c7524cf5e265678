"""From the settings of a call to those of a search, and what does not go together in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pegasus.errors import BadSetting
from pegasus.generation.arguments import Limits, token_list
from pegasus.generation.config import GenerationConfig
from pegasus.generation.search.search_settings import Listener, SearchSettings
from pegasus.generation.search.strategies import Strategy


def search_settings_for(
    settings: GenerationConfig, limits: Limits, listeners: Sequence[Listener], seed: int, all_rows: bool
) -> SearchSettings:
    """What a search must be told, without the processors."""
    normalization: Any = settings.length_normalization or settings.search
    return SearchSettings(
        max_length=limits.longest,
        eos=token_list(settings.eos_token_id),
        pad=settings.pad_token_id or 0,
        beams=settings.num_beams,
        groups=settings.num_beam_groups,
        returned=settings.num_return_sequences,
        length_penalty=settings.length_penalty,
        length_normalization=normalization,
        early_stopping=settings.early_stopping,
        listeners=listeners,
        record_scores=bool(settings.output_scores and settings.return_dict_in_generate),
        seed=seed,
        all_rows=all_rows,
    )


def check_together(
    settings: GenerationConfig,
    strategy: Strategy,
    streamer: Any,
    texts: int,
    tokenizer: Any,
) -> None:
    """Raise ``BadSetting`` for settings that do not go together."""
    if streamer is not None and (settings.num_beams > 1 or texts * settings.num_return_sequences > 1):
        raise BadSetting("a streamer follows one text without beams: beams change their mind about words.")
    if settings.stop_strings and tokenizer is None:
        raise BadSetting("stop_strings are compared with text: pass the tokenizer too, as tokenizer=...")
    if strategy.name == "contrastive search" and not settings.use_cache:
        raise BadSetting("contrastive search goes on from what it remembers: leave use_cache on.")


def stream_to(streamer: Any, to_native: Callable[[np.ndarray], Any]) -> Listener:
    """A listener that hands each token to a streamer."""

    def listen(ids_RT: np.ndarray) -> bool:
        streamer.put(to_native(ids_RT[:, -1]))
        return False

    return listen
