"""A call of generate under way: stepped, stopped, and relieved of texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pegasus import PegasusForConditionalGeneration
from pegasus.errors import NotOffered
from pegasus.generation.search.greedy import Greedy
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import SearchRun
from pegasus.generation.table_session import TableSession

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
IDS = torch.tensor(json.loads((GOLDEN / "generation-basic.json").read_text())["inputs"])
#: Settings in which texts may leave.
LEAVING = {
    "greedy": {"num_beams": 1},
    "several of each": {"num_beams": 1, "do_sample": True, "num_return_sequences": 2, "seed": 3},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "the authors": {"num_beams": 3, "search": "authors"},
    "sampled beams": {"num_beams": 3, "do_sample": True, "seed": 3},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
}
OTHERS = {
    "contrastive": {"num_beams": 1, "penalty_alpha": 0.5, "top_k": 3},
    "constrained": {"num_beams": 3, "force_words_ids": [[11, 12]]},
}
LENGTHS = {"min_length": 14, "max_length": 18}


@pytest.fixture(scope="module")
def model() -> Any:
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


def trimmed(row: Any) -> list[int]:
    tokens = row.tolist()
    while tokens and tokens[-1] == 0:
        tokens.pop()
    return tokens


@pytest.mark.parametrize("name", LEAVING)
def test_steps_to_the_end_are_the_whole_call(model, name):
    settings = {**LENGTHS, **LEAVING[name]}
    started = model.start_generate(IDS, **settings)
    steps = 0
    while started.step():
        steps += 1
    assert steps >= 13
    assert started.result().tolist() == model.generate(IDS, **settings).tolist()


@pytest.mark.parametrize("name", [name for name in LEAVING if not LEAVING[name].get("do_sample")])
@pytest.mark.parametrize("after", [0, 5])
def test_a_text_that_leaves_changes_no_other(model, name, after):
    """It ends where it stands, its rows are read no more, and the others say what they would have said.

    Whoever draws, draws for all: there other numbers come when rows are fewer.
    """
    settings = {**LENGTHS, **LEAVING[name]}
    expected = [trimmed(row) for row in model.generate(IDS, **settings)]
    started = model.start_generate(IDS, **settings)
    groups = settings.get("num_beam_groups", 1)
    for _ in range(after * groups):
        assert started.step()
    started.drop([1])
    for _ in range(3 * groups):
        assert started.step()
    rows = started._run.session.decoder.memory[0][0].shape[0]
    assert rows == (len(IDS) - 1) * settings["num_beams"]
    found = [trimmed(row) for row in started.result()]
    each = len(found) // len(IDS)
    mine = range(each, 2 * each)
    others = [at for at in range(len(found)) if at not in mine]
    assert [found[at] for at in others] == [expected[at] for at in others]
    assert all(2 <= len(found[at]) <= after + 4 for at in mine)
    assert all(len(found[at]) < len(expected[at]) for at in mine)


@pytest.mark.parametrize("name", [name for name in LEAVING if LEAVING[name].get("do_sample")])
def test_a_text_leaves_a_drawn_search_too(model, name):
    settings = {**LENGTHS, **LEAVING[name], "return_dict_in_generate": True}
    started = model.start_generate(IDS, **settings)
    for _ in range(5):
        assert started.step()
    started.drop([0, 2])
    found = started.result()
    lengths = np.array([len(trimmed(row)) for row in found.sequences]).reshape(len(IDS), -1)
    assert (lengths[[0, 2]] <= 8).all()
    assert (lengths[1] >= 14).all()
    assert np.isfinite(found.sequences_scores.numpy()).all()


def test_when_all_leave_it_is_over(model):
    for name in ("greedy", "beams", "groups"):
        started = model.start_generate(IDS, **LENGTHS, **LEAVING[name])
        started.step()
        started.drop(range(len(IDS)))
        assert not started.step()
        assert started.result().shape[1] <= 4


@pytest.mark.parametrize("name", [*LEAVING, *OTHERS])
@pytest.mark.parametrize("steps", [0, 4])
def test_a_call_that_is_cancelled_returns_what_there_is(model, name, steps):
    settings = {**LENGTHS, **{**LEAVING, **OTHERS}[name], "return_dict_in_generate": True}
    started = model.start_generate(IDS, **settings)
    for _ in range(steps):
        started.step()
    started.cancel()
    found = started.result()
    assert 1 <= found.sequences.shape[1] <= steps + 3
    assert not found.finished.any()
    assert not started.step()


def session_of() -> TableSession:
    return TableSession(7, 2, lambda text, written: np.arange(7) * 0.1)


def test_a_deadline_ends_it():
    now = [0.0]
    search = Greedy(np.zeros((2, 1), np.int64), SearchSettings(max_length=50, eos=(1,)))
    run = SearchRun(search, session_of(), deadline=3.0, clock=lambda: now[0])
    while run.step():
        now[0] += 1.0
    assert run.steps == 3
    assert run.result().sequences_NT.shape == (2, 4)
    late = SearchRun(
        Greedy(np.zeros((2, 1), np.int64), SearchSettings(max_length=50)), session_of(), 3.0, lambda: 9.0
    )
    while late.step():
        pass
    assert late.steps == 1, "there must be something to return"


def test_a_deadline_of_a_call(model):
    started = model.start_generate(IDS, deadline=0.0, **LENGTHS, num_beams=2)
    assert started.result().shape[1] <= 3


def test_what_cannot_leave_says_so(model):
    kept = {"output_scores": True, "return_dict_in_generate": True}
    recorded = [{**LEAVING[name], **kept} for name in ("greedy", "beams", "groups")]
    for settings in (*OTHERS.values(), *recorded):
        started = model.start_generate(IDS, **LENGTHS, **settings)
        started.step()
        with pytest.raises(NotOffered, match=r"to the end.*cancel the whole call"):
            started.drop([0])
    with pytest.raises(NotOffered, match="text by text and cannot be stepped"):
        model.start_generate(IDS, num_beams=1, prompt_lookup_num_tokens=3)
