"""Which search a call asks for: one row per strategy, the first that fits is taken.

A new strategy is one file with a ``Search`` in it and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pegasus.generation import outputs
from pegasus.generation.beam import Beam
from pegasus.generation.config import GenerationConfig
from pegasus.generation.greedy import Greedy
from pegasus.generation.plan import Plan
from pegasus.generation.session import Search

Settings = GenerationConfig


@dataclass(frozen=True)
class Strategy:
    """One row of the table."""

    name: str
    fits: Callable[[Settings], bool]
    begin: Callable[[np.ndarray, Plan, Settings], Search]
    """The search, from the prompt, the plan and the settings."""
    encoder_decoder: Any
    """The record it returns."""
    decoder_only: Any


STRATEGIES: tuple[Strategy, ...] = (
    Strategy(
        "greedy search",
        lambda s: s.num_beams == 1 and not s.do_sample,
        lambda prompt, plan, s: Greedy(prompt, plan),
        outputs.GreedySearchEncoderDecoderOutput,
        outputs.GreedySearchDecoderOnlyOutput,
    ),
    Strategy(
        "beam search",
        lambda s: True,
        lambda prompt, plan, s: Beam(prompt, plan),
        outputs.BeamSearchEncoderDecoderOutput,
        outputs.BeamSearchDecoderOnlyOutput,
    ),
)


def choose(settings: Settings) -> Strategy:
    """The strategy that the settings ask for."""
    return next(strategy for strategy in STRATEGIES if strategy.fits(settings))
