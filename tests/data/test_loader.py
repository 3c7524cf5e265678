from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pegasus.data.collate import collate
from pegasus.data.loader import Loader, make_batch, once, padding_share
from pegasus.data.permutation import permuted
from pegasus.data.read import read_pairs
from pegasus.data.records import Example, Rows
from pegasus.data.sources import BlockSource, PairSource
from pegasus.errors import BadData, BadSetting
from pegasus.spec.batch import Batch


def source(rows: int, seed: int = 0) -> PairSource:
    """Row r is [r + 1000] repeated; its label is [r + 1000]."""
    lengths = np.random.default_rng(seed).integers(1, 60, rows)
    inputs = Rows.join([[row + 1000] * int(length) for row, length in enumerate(lengths)])
    return PairSource(inputs, Rows.join([[row + 1000] for row in range(rows)]))


def rows_of(batch: Batch) -> list[int]:
    return (batch["labels"][:, 0] - 1000).tolist()


def taken(loader: Loader, batches: int) -> Iterator[list[int]]:
    return (rows_of(batch) for batch in itertools.islice(loader, batches))


def test_collate_pads_on_the_right() -> None:
    rows = [np.array(row, np.int32) for row in ([5, 6, 1], [7, 1], [8], [9, 9, 9, 9])]
    batch = collate([Example(rows[0], rows[2]), Example(rows[1], rows[3])])
    assert batch["input_ids"].tolist() == [[5, 6, 1], [7, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[8, -100, -100, -100], [9, 9, 9, 9]]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}
    assert "mlm_labels" not in batch
    assert collate([Example(rows[0], rows[2], rows[0])], multiple=4)["mlm_labels"].tolist() == [
        [5, 6, 1, -100]
    ]
    assert set(collate([Example(None, rows[3])])) == {"labels"}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 1000, 4096])
def test_a_permutation_holds_each_row_once(size: int) -> None:
    places = np.arange(size)
    assert sorted(permuted(places, size, (0, 1)).tolist()) == places.tolist()
    if size > 16:
        assert permuted(places, size, (0, 1)).tolist() != permuted(places, size, (0, 2)).tolist()


def test_a_permutation_has_no_visible_order() -> None:
    rows = permuted(np.arange(100_000), 100_000, (3,))
    assert abs(np.corrcoef(np.arange(100_000), rows)[0, 1]) < 0.02
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 0.02
    # as many fixed neighbours as chance has: about two in any order
    assert (np.abs(np.diff(rows)) == 1).sum() < 15


def test_each_epoch_has_each_row_once_whatever_the_batch() -> None:
    # 32 epochs of 70 rows are 280 updates of 8: updates reach over the border of epochs, none is cut short
    seen = Counter(row for rows in taken(Loader(source(70), 8), 280) for row in rows)
    assert set(seen.values()) == {32}
    assert len(seen) == 70


def test_fewer_rows_than_a_batch() -> None:
    assert sorted(next(taken(Loader(source(3), 6), 1))) == [0, 0, 1, 1, 2, 2]


def test_order_depends_on_the_seed_and_nothing_else() -> None:
    first = list(taken(Loader(source(500), 8, seed=1), 40))
    assert first == list(taken(Loader(source(500), 8, seed=1), 40))
    assert first != list(taken(Loader(source(500), 8, seed=2), 40))


def test_without_shuffling_the_order_is_that_of_the_source() -> None:
    assert list(taken(Loader(source(5), 2, shuffle=False), 4)) == [[0, 1], [2, 3], [4, 0], [1, 2]]


@pytest.mark.parametrize("stop", [0, 1, 7, 63, 64, 200])
def test_it_goes_on_exactly_where_it_stood(stop: int) -> None:
    whole = list(taken(Loader(source(500), 8, update_rows=32), 220))
    loader = Loader(source(500), 8, update_rows=32)
    assert list(taken(loader, stop)) == whole[:stop]
    state = json.loads(json.dumps(loader.state()))
    again = Loader(source(500), 8, update_rows=32)
    again.restore(state)
    assert list(taken(again, 20)) == whole[stop : stop + 20]
    assert again.state()["epoch"] == (stop + 20) * 8 // 500


def test_another_number_of_ranks_sees_the_same_rows_in_each_update() -> None:
    def updates(world: int, size: int, count: int, state: dict | None = None) -> list[list[int]]:
        ranks = [Loader(source(300), size, update_rows=24, rank=rank, world=world) for rank in range(world)]
        for rank in ranks:
            if state is not None:
                rank.restore(state)
        rounds = 24 // (world * size)
        return [
            sorted(row for _ in range(rounds) for rank in ranks for row in rows_of(next(rank)))
            for _ in range(count)
        ]

    whole = updates(1, 24, 30)
    assert updates(2, 6, 30) == updates(3, 8, 30) == updates(4, 2, 30) == whole
    half = Loader(source(300), 6, update_rows=24, world=2)
    list(itertools.islice(half, 2 * 10))
    assert updates(4, 6, 20, half.state()) == whole[10:]


def test_ranks_share_no_row_of_a_round() -> None:
    ranks = [Loader(source(64), 4, rank=rank, world=4) for rank in range(4)]
    for _ in range(4):
        rows = [row for rank in ranks for row in rows_of(next(rank))]
        assert len(set(rows)) == 16


def test_states_of_another_order_are_refused() -> None:
    state = Loader(source(50), 4, seed=3).state()
    for other in (
        Loader(source(50), 4, seed=4),
        Loader(source(51), 4, seed=3),
        Loader(source(50), 8, seed=3),
        Loader(source(50), 4, seed=3, shuffle=False),
    ):
        with pytest.raises(BadSetting, match="another order"):
            other.restore(state)
    loader = Loader(source(50), 4, seed=3, update_rows=8)
    next(loader)
    with pytest.raises(BadSetting, match="whole number"):
        Loader(source(50), 8, seed=3, update_rows=8).restore(loader.state())
    with pytest.raises(BadSetting, match="multiple of 6"):
        Loader(source(50), 3, world=2, update_rows=8)


def test_workers_make_the_same_batches() -> None:
    loader = Loader(source(200), 4, workers=2)
    try:
        assert list(taken(loader, 60)) == list(taken(Loader(source(200), 4), 60))
        state = Loader(source(200), 4)
        ahead = list(taken(state, 9))
        loader.restore({**state.state(), "rows": 4 * 5})
        assert list(taken(loader, 4)) == ahead[5:]
    finally:
        loader.close()


@pytest.mark.parametrize("world", [1, 2])
def test_once_yields_every_row_of_all_ranks_once(world: int) -> None:
    seen = [
        row
        for rank in range(world)
        for batch in once(source(53), 8, rank=rank, world=world)
        for row in rows_of(batch)
    ]
    assert sorted(seen) == list(range(53))


def test_nothing_to_learn_from() -> None:
    with pytest.raises(BadData, match="no row"):
        source(0)
    with pytest.raises(BadData, match="5 tokens"):
        BlockSource(np.arange(5, dtype=np.int32), 6)


def test_blocks_of_running_text() -> None:
    blocks = BlockSource(np.arange(11, dtype=np.int32), 4)
    assert len(blocks) == 2
    assert make_batch(blocks, [(0, 1), (0, 0)])["labels"].tolist() == [[4, 5, 6, 7], [0, 1, 2, 3]]


class Words:
    """A tokenizer of one id a word."""

    eos_token_id, pad_token_id = 1, 0

    def encode_ids(self, texts: list[str]) -> list[np.ndarray]:
        return [np.array([*(105 + len(word) for word in text.split()), 1], np.int32) for text in texts]


def test_a_cut_keeps_the_eos_or_loses_it_as_the_authors_do() -> None:
    from pegasus.data.records import Pair

    pairs = [Pair("a b c d e", ("a b c",)), Pair("a b", ("a",))]
    kept = PairSource.encode(pairs, Words(), 4, 3)
    assert [row.tolist() for row in kept.inputs] == [[106, 106, 106, 1], [106, 106, 1]]
    assert [row.tolist() for row in kept.labels] == [[106, 106, 1], [106, 1]]
    lost = PairSource.encode(pairs, Words(), 4, 3, keep_eos=False)
    assert [row.tolist() for row in lost.inputs] == [[106, 106, 106, 106], [106, 106, 1]]
    assert [row.tolist() for row in lost.labels] == [[106, 106, 106], [106, 1]]


@pytest.mark.parametrize(("name", "batch"), [("aeslc", 8), ("aeslc", 64), ("dialogsum", 16)])
def test_padding_of_real_pairs_is_under_a_tenth(shared: Path, name: str, batch: int) -> None:
    pairs = itertools.islice(read_pairs([shared / "data" / name / "train.jsonl.xz"]), 8000)
    words = PairSource.encode(pairs, Words(), 512, 64)
    shares = [padding_share(one) for one in itertools.islice(Loader(words, batch), 8000 // batch)]
    assert np.mean(shares) < 0.1
