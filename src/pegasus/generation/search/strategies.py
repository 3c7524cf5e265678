"""Which search a call asks for: one row per strategy, the first that fits is taken.

A new strategy is one file with a ``Search`` in it and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pegasus.errors import BadSetting
from pegasus.generation import outputs
from pegasus.generation.config import GenerationConfig
from pegasus.generation.search.assisted import Drafted, Drafter
from pegasus.generation.search.authors_beam import AuthorsBeam
from pegasus.generation.search.beam import Beam
from pegasus.generation.search.constrained import Constrained, constraints_for
from pegasus.generation.search.contrastive import Contrastive
from pegasus.generation.search.greedy import Greedy
from pegasus.generation.search.groups import GroupBeam
from pegasus.generation.search.sampling import BeamSampling, Sampling
from pegasus.generation.search.sampling_filters import filters_for
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import Search

Settings = GenerationConfig


@dataclass(frozen=True)
class Strategy:
    """One row of the table."""

    name: str
    fits: Callable[[Settings], bool]
    begin: Callable[[np.ndarray, SearchSettings, Settings], Search]
    """The search, from the prompt, the settings of the search and those of the call."""
    returns: str
    """The records it returns, without ``EncoderDecoderOutput`` or ``DecoderOnlyOutput``."""

    def record(self, causal: bool) -> Any:
        """The class of the record."""
        return getattr(outputs, self.returns + ("DecoderOnlyOutput" if causal else "EncoderDecoderOutput"))


def _drawn(search: Any, prompt: np.ndarray, search_settings: SearchSettings, settings: Settings) -> Any:
    # Two are kept at least with beams, so that one of them does not end.
    count = max(settings.top_k, 2) if settings.top_k else None
    return search(prompt, search_settings, filters_for(settings), count, search_settings.seed)


STRATEGIES: tuple[Strategy, ...] = (
    Strategy(
        "constrained beam search",
        lambda s: s.constraints is not None or s.force_words_ids is not None,
        lambda prompt, search_settings, s: Constrained(prompt, search_settings, constraints_for(s)),
        "BeamSearch",
    ),
    Strategy(
        "contrastive search",
        lambda s: s.num_beams == 1 and not s.do_sample and bool(s.penalty_alpha) and (s.top_k or 0) > 1,
        lambda prompt, search_settings, s: Contrastive(prompt, search_settings, s.penalty_alpha, s.top_k),
        "ContrastiveSearch",
    ),
    Strategy(
        "greedy search",
        lambda s: s.num_beams == 1 and not s.do_sample,
        lambda prompt, search_settings, s: Greedy(prompt, search_settings),
        "GreedySearch",
    ),
    Strategy(
        "sampling",
        lambda s: s.num_beams == 1,
        lambda prompt, search_settings, s: _drawn(Sampling, prompt, search_settings, s),
        "Sample",
    ),
    Strategy(
        "diverse beam search",
        lambda s: s.num_beam_groups > 1,
        lambda prompt, search_settings, s: GroupBeam(prompt, search_settings),
        "BeamSearch",
    ),
    Strategy(
        "sampling with beams",
        lambda s: s.do_sample,
        lambda prompt, search_settings, s: _drawn(BeamSampling, prompt, search_settings, s),
        "BeamSample",
    ),
    Strategy(
        "the authors' beam search",
        lambda s: s.search == "authors",
        lambda prompt, search_settings, s: AuthorsBeam(prompt, search_settings),
        "BeamSearch",
    ),
    Strategy(
        "beam search",
        lambda s: True,
        lambda prompt, search_settings, s: Beam(prompt, search_settings),
        "BeamSearch",
    ),
)


def drafted(
    prompt_1T: np.ndarray, search_settings: SearchSettings, drafter: Drafter, settings: Settings
) -> Search:
    """The search with guesses, for the strategies that go along one line.

    Raises:
        BadSetting: another strategy is asked for, or more than one sequence.
    """
    name = choose(settings).name
    if name not in ("greedy search", "sampling") or search_settings.returned > 1:
        raise BadSetting(
            f"guesses are verified along one line, and {name} with {search_settings.returned} sequences "
            "per text was asked for: leave out assistant_model and prompt_lookup_num_tokens, or the beams."
        )
    if not settings.use_cache:
        raise BadSetting("drafting goes on from what it remembers: leave use_cache on.")
    if name == "greedy search":
        line: Greedy = Greedy(prompt_1T, search_settings)
    else:
        line = _drawn(Sampling, prompt_1T, search_settings, settings)
    return Drafted(prompt_1T, search_settings, drafter, line.choose, line.count)


def choose(settings: Settings) -> Strategy:
    """The strategy that the settings ask for."""
    return next(strategy for strategy in STRATEGIES if strategy.fits(settings))
