from __future__ import annotations

import pytest

from pegasus.data.tasks import TASKS, find_task
from pegasus.errors import BadSetting


def test_there_are_the_twelve_of_the_paper() -> None:
    assert len(TASKS) == 12
    assert all(name == task.name for name, task in TASKS.items())


def test_values_of_some() -> None:
    xsum = find_task("xsum")
    assert (xsum.max_input, xsum.max_target, xsum.learning_rate, xsum.steps) == (1024, 64, 1e-4, 30_000)
    assert (xsum.length_penalty, xsum.num_beams, xsum.label_smoothing) == (0.8, 8, 0.1)
    assert xsum.published.mixed == (47.60, 24.83, 39.64)
    aeslc = find_task("AESLC")
    assert (aeslc.max_input, aeslc.max_target, aeslc.length_penalty) == (512, 32, 0.6)
    assert (aeslc.columns.document, aeslc.columns.summary) == ("email_body", "subject_line")
    assert (aeslc.published.transformer[0], aeslc.published.base[0]) == (15.04, 34.85)


def test_pre_training_helped_everywhere_but_once() -> None:
    worse = [name for name, task in TASKS.items() if task.published.base[0] < task.published.transformer[0]]
    assert worse == ["arxiv"]
    assert all(min(task.published.mixed) > 5 for task in TASKS.values())


def test_names_are_forgiving_and_unknown_ones_are_told() -> None:
    assert find_task("reddit-tifu") is TASKS["reddit_tifu"]
    with pytest.raises(BadSetting, match="did you mean billsum"):
        find_task("bilsum")
