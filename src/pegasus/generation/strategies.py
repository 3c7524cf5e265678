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
from pegasus.generation.authors import AuthorsBeam
from pegasus.generation.beam import Beam
from pegasus.generation.config import GenerationConfig
from pegasus.generation.constrained import Constrained, constraints_for
from pegasus.generation.contrastive import Contrastive
from pegasus.generation.drafting import Drafted, Drafter
from pegasus.generation.filters import filters_for
from pegasus.generation.greedy import Greedy
from pegasus.generation.groups import GroupBeam
from pegasus.generation.plan import Plan
from pegasus.generation.sampling import BeamSampling, Sampling
from pegasus.generation.session import Search

Settings = GenerationConfig


@dataclass(frozen=True)
class Strategy:
    """One row of the table."""

    name: str
    fits: Callable[[Settings], bool]
    begin: Callable[[np.ndarray, Plan, Settings], Search]
    """The search, from the prompt, the plan and the settings."""
    returns: str
    """The records it returns, without ``EncoderDecoderOutput`` or ``DecoderOnlyOutput``."""

    def record(self, causal: bool) -> Any:
        """The class of the record."""
        return getattr(outputs, self.returns + ("DecoderOnlyOutput" if causal else "EncoderDecoderOutput"))


def _drawn(search: Any, prompt: np.ndarray, plan: Plan, settings: Settings) -> Any:
    # Two are kept at least with beams, so that one of them does not end.
    count = max(settings.top_k, 2) if settings.top_k else None
    return search(prompt, plan, filters_for(settings), count, plan.seed)


STRATEGIES: tuple[Strategy, ...] = (
    Strategy(
        "constrained beam search",
        lambda s: s.constraints is not None or s.force_words_ids is not None,
        lambda prompt, plan, s: Constrained(prompt, plan, constraints_for(s)),
        "BeamSearch",
    ),
    Strategy(
        "contrastive search",
        lambda s: s.num_beams == 1 and not s.do_sample and bool(s.penalty_alpha) and (s.top_k or 0) > 1,
        lambda prompt, plan, s: Contrastive(prompt, plan, s.penalty_alpha, s.top_k),
        "ContrastiveSearch",
    ),
    Strategy(
        "greedy search",
        lambda s: s.num_beams == 1 and not s.do_sample,
        lambda prompt, plan, s: Greedy(prompt, plan),
        "GreedySearch",
    ),
    Strategy(
        "sampling",
        lambda s: s.num_beams == 1,
        lambda prompt, plan, s: _drawn(Sampling, prompt, plan, s),
        "Sample",
    ),
    Strategy(
        "diverse beam search",
        lambda s: s.num_beam_groups > 1,
        lambda prompt, plan, s: GroupBeam(prompt, plan),
        "BeamSearch",
    ),
    Strategy(
        "sampling with beams",
        lambda s: s.do_sample,
        lambda prompt, plan, s: _drawn(BeamSampling, prompt, plan, s),
        "BeamSample",
    ),
    Strategy(
        "the authors' beam search",
        lambda s: s.search == "authors",
        lambda prompt, plan, s: AuthorsBeam(prompt, plan),
        "BeamSearch",
    ),
    Strategy(
        "beam search",
        lambda s: True,
        lambda prompt, plan, s: Beam(prompt, plan),
        "BeamSearch",
    ),
)


def drafted(prompt_1T: np.ndarray, plan: Plan, drafter: Drafter, settings: Settings) -> Search:
    """The search with guesses, for the strategies that go along one line.

    Raises:
        BadSetting: another strategy is asked for, or more than one sequence.
    """
    name = choose(settings).name
    if name not in ("greedy search", "sampling") or plan.returned > 1:
        raise BadSetting(
            f"guesses are verified along one line, and {name} with {plan.returned} sequences per text was "
            "asked for: leave out assistant_model and prompt_lookup_num_tokens, or the beams."
        )
    if not settings.use_cache:
        raise BadSetting("drafting goes on from what it remembers: leave use_cache on.")
    if name == "greedy search":
        line: Greedy = Greedy(prompt_1T, plan)
    else:
        line = _drawn(Sampling, prompt_1T, plan, settings)
    return Drafted(prompt_1T, plan, drafter, line.choose, line.count)


def choose(settings: Settings) -> Strategy:
    """The strategy that the settings ask for."""
    return next(strategy for strategy in STRATEGIES if strategy.fits(settings))
