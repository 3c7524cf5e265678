"""Batches counted in tokens: as many in each, every row once an epoch, whatever the number of processes."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from pegasus.data.loader import TokenLoader
from pegasus.data.records import Rows
from pegasus.data.sources import PairSource
from pegasus.errors import BadSetting


def source(rows: int, longest: int = 60) -> PairSource:
    """Row r is [r + 1000] repeated; its label is [r + 1000]."""
    lengths = np.random.default_rng(3).integers(1, longest, rows)
    inputs = Rows.join([[row + 1000] * int(length) for row, length in enumerate(lengths)])
    return PairSource(inputs, Rows.join([[row + 1000] for row in range(rows)]))


def rows_of(batch):
    return (batch["labels"][:, 0] - 1000).tolist()


def tokens(batch):
    return int(batch["attention_mask"].sum() + (batch["labels"] >= 0).sum())


@pytest.mark.parametrize("update_batches", [1, 4])
def test_each_batch_has_about_the_tokens_and_rows_of_like_length(update_batches):
    loader = TokenLoader(source(5000), 800, update_batches=update_batches)
    batches = list(itertools.islice(loader, 120))
    found = [tokens(batch) for batch in batches]
    assert max(found) < 1.15 * 800
    assert min(found) > 0.85 * 800
    assert len({len(batch["labels"]) for batch in batches}) > 5
    filled = sum(int(batch["attention_mask"].sum()) for batch in batches)
    assert filled > 0.93 * sum(batch["input_ids"].size for batch in batches)


def test_every_row_comes_once_an_epoch():
    loader = TokenLoader(source(300), 500, update_batches=2)
    seen = Counter()
    while loader.state()["epoch"] < 3:
        seen.update(rows_of(next(loader)))
    assert set(seen.values()) == {3}
    assert len(seen) == 300


def test_the_order_is_shuffled_by_the_seed():
    first, again, other = (
        [
            rows_of(batch)
            for batch in itertools.islice(TokenLoader(source(500), 300, update_batches=2, seed=s), 40)
        ]
        for s in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_processes_share_the_batches_of_one():
    alone = itertools.islice(TokenLoader(source(400), 300, update_batches=4), 24)
    two = [TokenLoader(source(400), 300, update_batches=4, rank=rank, world=2) for rank in range(2)]
    together = [rows_of(next(loader)) for _ in range(12) for loader in two]
    assert [rows_of(batch) for batch in alone] == together


@pytest.mark.parametrize("workers", [0, 1])
def test_it_goes_on_where_a_state_says(workers):
    whole = TokenLoader(source(300), 300, update_batches=2)
    expected = [rows_of(batch) for batch in itertools.islice(whole, 90)]
    first = TokenLoader(source(300), 300, update_batches=2)
    list(itertools.islice(first, 62))
    again = TokenLoader(source(300), 300, update_batches=2, workers=workers)
    again.restore(first.state())
    assert [rows_of(batch) for batch in itertools.islice(again, 28)] == expected[62:]
    again.close()


def test_another_number_of_tokens_is_another_order():
    state = TokenLoader(source(300), 300, update_batches=2).state()
    with pytest.raises(BadSetting, match="update_tokens 600 and would go on with 800"):
        TokenLoader(source(300), 400, update_batches=2).restore(state)


@pytest.mark.parametrize("batch_tokens", [1, 10**9])
def test_more_or_fewer_tokens_than_there_are(batch_tokens):
    loader = TokenLoader(source(7), batch_tokens, update_batches=2)
    seen = Counter()
    while loader.state()["epoch"] < 2:
        batch = next(loader)
        assert len(batch["labels"]) >= 1
        seen.update(rows_of(batch))
    assert set(seen.values()) == {2}


def test_fewer_rows_than_batches_are_refused():
    with pytest.raises(BadSetting, match="8 batches and there are 3 rows"):
        TokenLoader(source(3), 100, update_batches=8)
