from __future__ import annotations

import itertools

from hypothesis import given, strategies as st

from pegasus.summarizer.batches import pack
from pegasus.summarizer.chunks import balance, split_units

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=9)


@given(sizes=SIZES, limit=st.integers(9, 20))
def test_runs_fit_are_fewest_and_as_even_as_any_cut(sizes: list[int], limit: int) -> None:
    runs = balance(sizes, limit)
    assert [index for run in runs for index in run] == list(range(len(sizes)))
    largest = max(sum(sizes[run.start : run.stop]) for run in runs)
    assert largest <= limit
    for parts in range(1, len(runs) + 1):
        for cut in itertools.combinations(range(1, len(sizes)), parts - 1):
            borders = [0, *cut, len(sizes)]
            other = max(sum(sizes[a:b]) for a, b in itertools.pairwise(borders))
            assert other > limit if parts < len(runs) else other >= largest


def test_a_unit_above_the_limit_is_alone() -> None:
    assert balance([1, 50, 1, 1], 10) == [range(1), range(1, 2), range(2, 4)]
    assert balance([], 10) == []


@given(
    sentences=st.lists(st.text(alphabet="ab \n", min_size=1, max_size=60), max_size=6),
    limit=st.integers(1, 9),
)
def test_units_fit_and_are_the_sentences_again(sentences: list[str], limit: int) -> None:
    units, sizes = split_units(sentences, limit, lambda texts: [len(text) for text in texts])
    assert "".join(units) == "".join(sentences)
    assert sizes == [len(unit) for unit in units]
    assert max(sizes, default=0) <= limit


def test_long_sentences_are_cut_at_white_space() -> None:
    units, _ = split_units(
        ["one two three four five six"], 3, lambda texts: [len(text.split()) for text in texts]
    )
    assert units == ["one two three ", "four five six"]


@given(
    lengths=st.lists(st.integers(0, 50), max_size=30), texts=st.integers(1, 8), tokens=st.integers(1, 120)
)
def test_batches_hold_each_index_once_within_limits(lengths: list[int], texts: int, tokens: int) -> None:
    batches = pack(lengths, texts, tokens)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        widest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or (len(batch) <= texts and widest * len(batch) <= tokens)
