"""The learning rates of ``authors.md`` section 6.3, and the usual ones."""

from __future__ import annotations

import pytest

from pegasus.backends.contract.learning import OptimSettings
from pegasus.backends.learning.schedules import learning_rate
from pegasus.errors import BadSetting


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 1e-8), (999, 1e-5), (9_999, 1e-4), (30_000, 5.7735e-5), (210_000, 2.1822e-5)]
)
def test_the_authors_rate_from_a_checkpoint(step, rate):
    assert learning_rate(OptimSettings(rate=1e-4), step) == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 1e-2), (10_000, 1e-2), (500_000, 1.4142e-3), (1_500_000, 8.165e-4)]
)
def test_the_authors_rate_from_scratch(step, rate):
    assert learning_rate(OptimSettings(rate=1e-2, schedule="authors-scratch"), step) == pytest.approx(
        rate, rel=1e-4
    )


def test_the_authors_rate_without_warm_up_starts_at_once():
    assert learning_rate(OptimSettings(rate=1e-4, warmup_steps=0), 0) == 1e-4


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", {0: 0.25, 3: 1.0, 50: 1.0}),
        ("linear", {0: 0.25, 4: 1.0, 9: 0.5, 14: 0.0}),
        ("cosine", {0: 0.25, 4: 1.0, 9: 0.5, 14: 0.0}),
    ],
)
def test_ramps_and_what_follows(schedule, rates):
    settings = OptimSettings(rate=1.0, schedule=schedule, warmup_steps=4, steps=14)
    assert {step: learning_rate(settings, step) for step in rates} == pytest.approx(rates, abs=1e-12)


def test_a_schedule_with_an_end_must_know_it():
    with pytest.raises(BadSetting, match="number of steps"):
        learning_rate(OptimSettings(schedule="linear"), 3)


def test_only_the_last_share_falls():
    settings = OptimSettings(rate=1.0, schedule="linear", warmup_steps=0, steps=100, decay=0.4)
    rates = [learning_rate(settings, step) for step in (0, 59, 60, 80, 100)]
    assert rates == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_follows_the_clock_or_the_steps_whichever_is_further(schedule):
    settings = OptimSettings(rate=1.0, schedule=schedule, warmup_steps=0, steps=100)
    assert learning_rate(settings, 10, progress=0.5) == pytest.approx(0.5)
    assert learning_rate(settings, 50, progress=0.1) == pytest.approx(0.5)
    assert learning_rate(settings, 0, progress=2.0) == pytest.approx(0.0, abs=1e-12)
    constant = OptimSettings(rate=1.0, schedule="constant", warmup_steps=0)
    assert learning_rate(constant, 10, progress=0.9) == 1.0
