"""Diverse beam search: what groups owe each other."""

from __future__ import annotations

import numpy as np
import pytest

from pegasus.generation.processors.logits_processors import Diversity, LogitsProcessors
from pegasus.generation.search.beam import Beam
from pegasus.generation.search.groups import GroupBeam, of_rows
from pegasus.generation.search.search_settings import SearchSettings
from pegasus.generation.session import Edit, run_search
from pegasus.generation.table_session import TableSession

EOS = 1


def logits_of(text, written):
    return (np.random.default_rng([9, text, *written]).standard_normal(8) * 2).astype(np.float32)


def search(texts, beams, groups, penalty, **more):
    processors = LogitsProcessors([Diversity(penalty)])
    search_settings = SearchSettings(
        max_length=9, eos=(EOS,), beams=beams, groups=groups, returned=beams, processors=processors, **more
    )
    return run_search(
        GroupBeam(np.zeros((texts, 1), dtype=np.int64), search_settings), TableSession(8, texts, logits_of)
    )


def test_without_a_penalty_groups_repeat_a_smaller_search():
    found = search(3, 4, 2, penalty=0.0)
    search_settings = SearchSettings(max_length=9, eos=(EOS,), beams=2, returned=2)
    small = run_search(
        Beam(np.zeros((3, 1), dtype=np.int64), search_settings), TableSession(8, 3, logits_of)
    )
    for text in range(3):
        both = sorted(map(tuple, found.sequences_NT[text * 4 : text * 4 + 4].tolist()))
        once = [tuple(row) for row in small.sequences_NT[text * 2 : text * 2 + 2].tolist()]
        assert [row[: len(once[0])] for row in both] == sorted(once * 2)


@pytest.mark.parametrize(("beams", "groups"), [(4, 2), (6, 3), (4, 4)])
def test_a_high_penalty_makes_groups_begin_differently(beams, groups):
    found = search(3, beams, groups, penalty=100.0)
    assert found.beams_NT is not None
    for text in range(3):
        rows = slice(text * beams, text * beams + beams)
        first_words = found.sequences_NT[rows, 1]
        owners = found.beams_NT[rows, 0] % beams // (beams // groups)
        by_group = [set(first_words[owners == group].tolist()) for group in range(groups)]
        assert sum(map(len, by_group)) == len(set().union(*by_group)), "two groups began with the same word"
        assert len(set(map(tuple, found.sequences_NT[rows].tolist()))) == beams


def test_edits_of_some_rows():
    edit = Edit("add", np.array([7, 8, 9]), np.array([0, 2, 3]), np.array([0.1, 0.2, 0.3]))
    (cut,) = of_rows([edit], np.array([2, 3]), 4)
    assert cut.rows_N.tolist() == [0, 1]
    assert cut.tokens_N.tolist() == [8, 9]
    assert cut.values_N.tolist() == [0.2, 0.3]
    (everywhere,) = of_rows([Edit("ban", np.array([1]))], np.array([2, 3]), 4)
    assert everywhere.rows_N is None
