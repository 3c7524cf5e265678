"""Drafting changes how often the model runs, never what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.generation.processors.logits_processors import (
    ForcedAt,
    LogitsProcessors,
    MinLength,
    RepetitionPenalty,
    Whole,
)
from pegasus.generation.processors.phrase_processors import NoRepeatedNgrams, PhraseBias
from pegasus.generation.search.assisted import Drafted, ModelDrafter, SourceDrafter
from pegasus.generation.search.greedy import Greedy
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import run_search
from pegasus.generation.table_session import TableSession

EOS, VOCABULARY = 1, 9
PROMPT = np.zeros((1, 1), dtype=np.int64)


def table(seed, noise=0.0):
    """Logits that depend on the last two tokens, so that texts repeat; ``noise`` makes it a worse model."""

    def of(text, written):
        logits = np.random.default_rng([seed, *written[-2:]]).standard_normal(VOCABULARY) * 2
        blur = np.random.default_rng([seed + 1, *written]).standard_normal(VOCABULARY) * noise
        return (logits + blur).astype(np.float32)

    return of


def processors():
    return LogitsProcessors(
        [
            PhraseBias({(3,): -1.0, (4, 5): 1.5}),
            RepetitionPenalty(1.2),
            NoRepeatedNgrams(3),
            MinLength(6, (EOS,)),
            ForcedAt({29: (EOS,)}),
            Whole("normalize"),
        ]
    )


def both(seed, make_drafter, with_rules):
    """Greedy search, and the same with guesses; and their sessions."""
    sessions = [TableSession(VOCABULARY, 1, table(seed)) for _ in range(2)]
    plans = [
        SearchSettings(
            max_length=30, eos=(EOS,), processors=processors() if with_rules else LogitsProcessors()
        )
        for _ in range(2)
    ]
    greedy = Greedy(PROMPT, plans[0])
    drafted = Drafted(PROMPT, plans[1], make_drafter(plans[1]), Greedy(PROMPT, plans[1]).choose)
    return run_search(greedy, sessions[0]), run_search(drafted, sessions[1]), sessions


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 5_000), with_rules=st.booleans(), noise=st.sampled_from([0.0, 0.8, 5.0]))
def test_a_smaller_model_guesses(seed, with_rules, noise):
    smaller = TableSession(VOCABULARY, 1, table(seed, noise))
    greedy, drafted, sessions = both(
        seed, lambda search_settings: ModelDrafter(smaller, search_settings), with_rules
    )
    assert drafted.sequences_NT.tolist() == greedy.sequences_NT.tolist()
    assert drafted.finished_N.tolist() == greedy.finished_N.tolist()
    np.testing.assert_allclose(drafted.scores_N, greedy.scores_N, rtol=1e-4)
    assert sum(drafted.taken) == greedy.lengths_N[0] - 1
    assert sessions[1].passes == len(drafted.taken) <= sessions[0].passes
    if noise == 0 and greedy.lengths_N[0] > 8:
        assert sessions[1].passes <= sessions[0].passes / 3, "all guesses were right"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 5_000), with_rules=st.booleans())
def test_the_source_guesses(seed, with_rules):
    """The source is what greedy search says, somewhat mangled: most guesses are right."""
    plain = run_search(
        Greedy(PROMPT, SearchSettings(max_length=30, eos=(EOS,))), TableSession(VOCABULARY, 1, table(seed))
    )
    source = np.delete(plain.sequences_NT[0], slice(9, 11))
    greedy, drafted, sessions = both(seed, lambda search_settings: SourceDrafter(source, 6), with_rules)
    assert drafted.sequences_NT.tolist() == greedy.sequences_NT.tolist()
    assert sessions[1].passes <= sessions[0].passes
    if not with_rules and greedy.lengths_N[0] > 12:
        assert sessions[1].passes < 0.75 * sessions[0].passes


def test_where_the_source_goes_on():
    drafter = SourceDrafter(np.array([5, 6, 7, 8, 5, 6, 9, 2, 6, 3]), count=3)

    def after(*said):
        history = TokenHistory(PROMPT)
        for token in said:
            history.grow(np.zeros(1, dtype=np.int64), np.array([token]))
        return drafter.propose(history, LogitsProcessors(), most=10)

    assert after(8, 5, 6) == [9, 2, 6], "the longest run decides"
    assert after(4, 5, 6) == [7, 8, 5], "the first place of a shorter one"
    assert after(2, 6) == [3]
    assert after(4) == []
    assert after() == []
    assert drafter.propose(TokenHistory(np.array([[0]])), LogitsProcessors(), most=0) == []


def test_guesses_grow_when_right_and_shrink_when_wrong():
    drafter = ModelDrafter(TableSession(VOCABULARY, 1, table(0)), SearchSettings(max_length=30, eos=(EOS,)))
    drafter.learn(5, 5)
    assert drafter.count == 7
    for _ in range(9):
        drafter.learn(7, 2)
    assert drafter.count == 1
    drafter.learn(0, 0)
    assert drafter.count == 1


@pytest.mark.parametrize("longest", [2, 3, 5])
def test_the_length_limit_holds(longest):
    smaller = TableSession(VOCABULARY, 1, table(3))
    search_settings = SearchSettings(max_length=longest, eos=())
    drafted = Drafted(
        PROMPT,
        search_settings,
        ModelDrafter(smaller, search_settings),
        Greedy(PROMPT, search_settings).choose,
    )
    found = run_search(drafted, TableSession(VOCABULARY, 1, table(3)))
    assert found.sequences_NT.shape == (1, longest)
    assert not found.finished_N[0]
