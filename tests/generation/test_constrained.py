"""Constrained beam search: what must be said is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pegasus.errors import BadSetting
from pegasus.generation.config import GenerationConfig
from pegasus.generation.constraints import (
    Constraint,
    DisjunctiveConstraint,
    PhrasalConstraint,
    Progress,
)
from pegasus.generation.search.constrained import Constrained, constraints_for
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import run_search
from pegasus.generation.table_session import TableSession

EOS = 1


def logits_of(text, written):
    return (np.random.default_rng([4, text, *written]).standard_normal(12) * 2).astype(np.float32)


def contains(row, phrase):
    return any(list(row[at : at + len(phrase)]) == list(phrase) for at in range(len(row) - len(phrase) + 1))


phrase = st.lists(st.integers(2, 11), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(
    phrases=st.lists(phrase, min_size=1, max_size=2),
    either=st.lists(st.integers(2, 11), min_size=2, max_size=3, unique=True),
    beams=st.integers(2, 5),
)
def test_outputs_contain_their_constraints(phrases, either, beams):
    alternatives = [[token, (token + 5) % 10 + 2] for token in either]
    constraints = [*map(PhrasalConstraint, phrases), DisjunctiveConstraint(alternatives)]
    search_settings = SearchSettings(max_length=16, eos=(EOS,), beams=beams)
    search = Constrained(np.zeros((2, 1), dtype=np.int64), search_settings, constraints)
    found = run_search(search, TableSession(12, 2, logits_of))
    for row in found.sequences_NT.tolist():
        assert all(contains(row, one) for one in phrases)
        assert any(contains(row, one) for one in alternatives)


def test_progress():
    start = Progress([PhrasalConstraint([5, 6, 7]), DisjunctiveConstraint([[8], [9, 2]])])
    assert sorted(start.advance()) == [5, 8, 9]
    begun = start.after(5).after(6)
    assert (begun.bank, begun.advance(), begun.completed) == (2, [7], False)
    thrown_back = begun.after(3)
    assert (thrown_back.bank, sorted(thrown_back.advance())) == (0, [5, 8, 9])
    assert begun.bank == 2, "a progress does not change"
    half = begun.after(7)
    assert (half.bank, sorted(half.advance())) == (3, [8, 9])
    assert half.after(8).completed
    assert half.after(9).after(2).completed
    assert half.after(8).advance() == []


def test_a_constraint_of_the_callers_own():
    """Constraints written for transformers have these methods and no others."""

    class Twice(Constraint):
        """3 3, written with a list that stateful copies share, as in transformers 4.34."""

        seqlen = 2

        def __init__(self):
            self.said = []

        @property
        def completed(self):
            return len(self.said) == 2

        def advance(self):
            return None if self.completed else [3]

        def does_advance(self, token_id):
            return token_id == 3 and not self.completed

        def update(self, token_id):
            stepped = self.does_advance(token_id)
            self.said.append(3) if stepped else self.reset()
            return stepped, self.completed, not stepped

        def reset(self):
            self.said = []

        def remaining(self):
            return 2 - len(self.said)

        def copy(self, stateful=False):
            other = Twice()
            other.said = self.said if stateful else []
            return other

    constraints = constraints_for(GenerationConfig(num_beams=2, constraints=[Twice()]))
    begun = Progress(constraints).after(3)
    assert (begun.after(3).completed, begun.bank, begun.completed) == (True, 1, False)
    search = Constrained(
        np.zeros((1, 1), dtype=np.int64), SearchSettings(max_length=12, eos=(EOS,), beams=2), constraints
    )
    found = run_search(search, TableSession(12, 1, logits_of))
    assert contains(found.sequences_NT[0].tolist(), [3, 3])


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"force_words_ids": [], "num_beams": 2}, "empty"),
        ({"force_words_ids": [[3]], "num_beams": 1}, "num_beams"),
        ({"force_words_ids": [[]], "num_beams": 2}, "non-empty list of tokens"),
        ({"force_words_ids": [[-1]], "num_beams": 2}, "non-empty list of tokens"),
        ({"force_words_ids": [[[3], [3, 4]]], "num_beams": 2}, "beginning of"),
    ],
)
def test_constraints_that_make_no_sense(settings_, message):
    with pytest.raises(BadSetting, match=message):
        constraints_for(GenerationConfig(**settings_))
